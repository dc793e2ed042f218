"""Connect back ends that execute runs. Imports no Django and no TensorFlow."""
