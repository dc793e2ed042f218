"""The model card: one HTML page about a trained model, made from its manifest and its evaluation."""
