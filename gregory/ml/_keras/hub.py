"""KerasHub. Its import takes a second, and only BERT needs it."""

from gregory.ml.imports import hidden

# They are for tokenizers and downloads. The first has 120 MiB of libraries.
with hidden("tensorflow_text", "kagglehub"):
    import keras_hub as keras_hub
