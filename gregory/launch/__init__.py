"""How a run reaches a machine. No Django and no TensorFlow."""
