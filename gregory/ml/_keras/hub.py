"""KerasHub. Its import takes a second, and only BERT needs it."""

import keras_hub as keras_hub
