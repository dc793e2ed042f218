"""A real BART of one layer and sixteen dimensions for CTranslate2, with random weights from a seed.

It has BART's every particular (post-norm, a norm on the embeddings, learned positions, GELU, one matrix for both
embeddings and the projection, `</s>` as first decoder token). So its text has no meaning, but the calls are real.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import attention_spec, common_spec, transformer_spec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
WIDTH = 16
HEADS = 2
GENERATION = {
    "num_beams": 4,
    "length_penalty": 2.0,
    "no_repeat_ngram_size": 3,
    "min_length": 8,
    "forced_bos_token": "<s>",
    "forced_eos_token": "</s>",
    "positions": 64,
}
END_BIAS = 4.0
WORDS = (
    "relapse lesion fatigue trial placebo dose patient therapy outcome risk "
    "treated treatment measured improved reduced was were the and of in with"
)


def tiny_bart(
    folder: Path,
    *,
    width: int = WIDTH,
    layers: int = 1,
    heads: int = HEADS,
    vocabulary_size: int = 0,
    precision: str = "float32",
    **generation: object,
) -> Path:
    """Write the model, its tokenizer and its settings into the new folder `folder` and return it.

    vocabulary_size: if larger than that of the tokenizer, tokens that no text contains fill it. generation: replaces settings.
    """
    settings: dict[str, Any] = {**GENERATION, **generation}
    tokenizer = tiny_tokenizer()
    vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    vocabulary += [f"<unused{number}>" for number in range(len(vocabulary), vocabulary_size)]
    spec = transformer_spec.TransformerSpec.from_config(
        (layers, layers), heads, pre_norm=False, activation=common_spec.Activation.GELU, layernorm_embedding=True
    )
    _fill(spec, len(vocabulary), width, settings["positions"])
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "<s>", "</s>", "<unk>"
    spec.config.decoder_start_token = "</s>"
    spec.validate()
    if precision != "float32":
        spec.optimize(quantization=precision)
    model = folder / precision
    model.mkdir(parents=True)
    spec.save(str(model))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "generation.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "summariser.json").write_text(json.dumps({"kind": "bart_ctranslate2"}), encoding="utf-8")
    return folder


def tiny_tokenizer() -> Tokenizer:
    """A byte-level tokenizer with BART's special tokens at BART's ids, and with other limits."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [*WORDS.split(), *(f" {word}" for word in WORDS.split())]
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=240, special_tokens=SPECIALS, show_progress=False))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    # Converters of hubs write such limits. The summariser must reset them.
    tokenizer.enable_truncation(max_length=5)
    tokenizer.enable_padding(length=5, pad_id=1, pad_token="<pad>")
    return tokenizer


def _fill(spec: transformer_spec.TransformerSpec, words: int, width: int, positions: int) -> None:
    rng = np.random.default_rng(69)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.6, size=shape).astype(np.float32)

    def linear(target: common_spec.LinearSpec, outputs: int, inputs: int) -> None:
        target.weight, target.bias = weights(outputs, inputs), weights(outputs)

    def norm(target: common_spec.LayerNormSpec) -> None:
        target.gamma, target.beta = np.ones(width, np.float32), np.zeros(width, np.float32)

    def attention(target: attention_spec.MultiHeadAttentionSpec) -> None:
        # Self-attention combines query, key and value. Attention to the source combines only key and value.
        for part, outputs in zip(target.linear, (3 * width, width) if len(target.linear) == 2 else (width, 2 * width, width), strict=True):
            linear(part, outputs, width)
        norm(target.layer_norm)

    shared = weights(words, width)
    for side, embeddings in ((spec.encoder, spec.encoder.embeddings[0]), (spec.decoder, spec.decoder.embeddings)):
        side.scale_embeddings = 1.0
        embeddings.weight = shared
        side.position_encodings.encodings = weights(positions, width)
        norm(side.layernorm_embedding)
        for layer in side.layer:
            attention(layer.self_attention)
            if hasattr(layer, "attention"):
                attention(layer.attention)
            linear(layer.ffn.linear_0, 4 * width, width)
            linear(layer.ffn.linear_1, width, 4 * width)
            norm(layer.ffn.layer_norm)
    spec.decoder.projection.weight = shared
    # BART has no bias here. With it the text ends at some point, and it contains no special tokens before.
    spec.decoder.projection.bias = np.array([-20, -20, END_BIAS, -20] + [0] * (words - 4), np.float32)
