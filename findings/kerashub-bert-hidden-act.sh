#!/usr/bin/env bash
# Subject:   a BERT in the Hugging Face layout, read by KerasHub
# Versions:  keras-hub 0.32.0, keras 3.15.1, jax 0.10.2, safetensors 0.8.0
# Guess:     BertBackbone.from_preset computes the activation that hidden_act of config.json names: "gelu" is the exact GELU.
# Behaviour: from_preset does not read hidden_act. It computes the tanh approximation of GELU for every value, "relu" too.
# Control:   The same equations in float64 by NumPy, with each activation: only the tanh approximation agrees.
# Input:     A BERT of one layer with random weights, three folders that differ in hidden_act alone.
# Output seen with these versions:
#   GUESS   hidden_act 'gelu': exact GELU
#   SEEN    hidden_act 'gelu': tanh GELU; exact GELU 4e-04 off, tanh GELU 4e-07 off, ReLU 4e-01 off
#   GUESS   hidden_act 'gelu_new': tanh GELU
#   SEEN    hidden_act 'gelu_new': tanh GELU; exact GELU 4e-04 off, tanh GELU 4e-07 off, ReLU 4e-01 off
#   GUESS   hidden_act 'relu': ReLU
#   SEEN    hidden_act 'relu': tanh GELU; exact GELU 4e-04 off, tanh GELU 4e-07 off, ReLU 4e-01 off
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  absl-py==2.5.1 h5py==3.14.0 jax==0.10.2 jaxlib==0.10.2 keras==3.15.1 keras-hub==0.32.0 markdown-it-py==4.3.0 mdurl==0.1.2 \
  ml-dtypes==0.6.0 namex==0.1.0 numpy==2.4.6 opt-einsum==3.4.0 optree==0.20.0 packaging==26.3 pygments==2.21.0 \
  regex==2026.11.15 rich==15.0.0 safetensors==0.8.0 scipy==1.17.1 sentencepiece==0.2.3 tokenizers==0.23.3 typing-extensions==4.16.0

cd "$folder"
HOME="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import json
import math
import sys
from pathlib import Path

import keras_hub
import numpy as np
from safetensors.numpy import save_file

WORDS, WIDTH, HEADS, INNER = 12, 8, 2, 16
TEXT = [2, 5, 7, 9, 3]
random = np.random.default_rng(7)


def normal(*shape):
    return random.normal(0, 0.5, shape).astype(np.float32)


def dense(name, inputs, outputs):
    return {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": normal(outputs)}


def norm(name):
    return {f"{name}.weight": 1 + normal(WIDTH) / 5, f"{name}.bias": normal(WIDTH)}


LAYER = "encoder.layer.0"
weights = {
    "embeddings.word_embeddings.weight": normal(WORDS, WIDTH),
    "embeddings.position_embeddings.weight": normal(32, WIDTH),
    "embeddings.token_type_embeddings.weight": normal(2, WIDTH),
    **norm("embeddings.LayerNorm"),
    **dense(f"{LAYER}.attention.self.query", WIDTH, WIDTH),
    **dense(f"{LAYER}.attention.self.key", WIDTH, WIDTH),
    **dense(f"{LAYER}.attention.self.value", WIDTH, WIDTH),
    **dense(f"{LAYER}.attention.output.dense", WIDTH, WIDTH),
    **norm(f"{LAYER}.attention.output.LayerNorm"),
    **dense(f"{LAYER}.intermediate.dense", WIDTH, INNER),
    **dense(f"{LAYER}.output.dense", INNER, WIDTH),
    **norm(f"{LAYER}.output.LayerNorm"),
    **dense("pooler.dense", WIDTH, WIDTH),
}


def by_kerashub(hidden_act):
    folder = Path(hidden_act)
    folder.mkdir()
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "hidden_act": hidden_act, "max_position_embeddings": 32,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "np"})
    backbone = keras_hub.models.BertBackbone.from_preset(str(folder))
    ids = np.array([TEXT])
    batch = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    return np.asarray(backbone.predict(batch, verbose=0)["sequence_output"][0])


def by_numpy(activation):
    def dense(name, x):
        return x @ weights[f"{name}.weight"].astype(np.float64).T + weights[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(name):
        return dense(f"{LAYER}.attention.self.{name}", x).reshape(len(x), HEADS, -1).transpose(1, 0, 2)

    embedded = weights["embeddings.word_embeddings.weight"][TEXT] + weights["embeddings.position_embeddings.weight"][: len(TEXT)]
    x = norm("embeddings.LayerNorm", (embedded + weights["embeddings.token_type_embeddings.weight"][0]).astype(np.float64))
    query, key, value = map(heads, ("query", "key", "value"))
    scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS))
    mixed = (scores / scores.sum(axis=-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(x.shape)
    x = norm(f"{LAYER}.attention.output.LayerNorm", x + dense(f"{LAYER}.attention.output.dense", mixed))
    inner = activation(dense(f"{LAYER}.intermediate.dense", x))
    return norm(f"{LAYER}.output.LayerNorm", x + dense(f"{LAYER}.output.dense", inner))


equations = {
    "exact GELU": by_numpy(lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2),
    "tanh GELU": by_numpy(lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    "ReLU": by_numpy(lambda x: np.maximum(x, 0)),
}
named = {"gelu": "exact GELU", "gelu_new": "tanh GELU", "relu": "ReLU"}
errors = {}
for hidden_act, wanted in named.items():
    computed = by_kerashub(hidden_act)
    off = errors[hidden_act] = {name: float(abs(computed - output).max()) for name, output in equations.items()}
    nearest = min(off, key=off.get)
    print(f"GUESS   hidden_act {hidden_act!r}: {wanted}")
    print(f"SEEN    hidden_act {hidden_act!r}: {nearest}; " + ", ".join(f"{name} {error:.0e} off" for name, error in off.items()))
if not all(found["tanh GELU"] < 1e-5 and min(found["exact GELU"], found["ReLU"]) > 1e-4 for found in errors.values()):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
