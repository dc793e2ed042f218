"""Models small enough for a test: a BERT of two layers and width eight in the layout of a Hugging Face folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
RELEVANT = ("myelin", "lesion", "relapse", "sclerosis", "interferon")
IRRELEVANT = ("tax", "harvest", "weather", "football", "railway")
NEUTRAL = ("a", "the", "of", "in", "study", "##s", "new", "patient")
LAYERS, WIDTH, HEADS, INNER, POSITIONS = 2, 8, 2, 16, 512


def tiny_encoder(folder: Path, *, more_words: Sequence[str] = (), **settings: object) -> Path:
    """Write config.json, model.safetensors, tokenizer.json, tokenizer_config.json and vocab.txt into `folder` and return it.

    settings: other values of config.json. With other sizes the encoder is as large as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = (*SPECIAL, *RELEVANT, *IRRELEVANT, *NEUTRAL, *more_words)
    _write_tokenizer(folder, words)
    config: dict[str, Any] = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_weights(config), folder / "model.safetensors", metadata={"format": "np"})
    return folder


def _write_tokenizer(folder: Path, words: tuple[str, ...]) -> None:
    tokenizer = Tokenizer(WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", words.index("[SEP]")), ("[CLS]", words.index("[CLS]")))
    tokenizer.add_special_tokens(list(SPECIAL))
    # Published small encoders have these limits. They reveal a trainer that does not set its own.
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": POSITIONS, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _weights(config: dict[str, Any]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(7)
    width, inner = config["hidden_size"], config["intermediate_size"]

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.5, shape).astype(np.float32)

    def dense(name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        return {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": normal(outputs)}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": 1 + normal(width) / 5, f"{name}.bias": normal(width)}

    weights = {
        "embeddings.word_embeddings.weight": normal(config["vocab_size"], width),
        "embeddings.position_embeddings.weight": normal(config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": normal(config["type_vocab_size"], width),
        **norm("embeddings.LayerNorm"),
        **dense("pooler.dense", width, width),
    }
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            weights |= dense(f"{layer}.attention.{part}", width, width)
        weights |= norm(f"{layer}.attention.output.LayerNorm")
        weights |= dense(f"{layer}.intermediate.dense", width, inner)
        weights |= dense(f"{layer}.output.dense", inner, width)
        weights |= norm(f"{layer}.output.LayerNorm")
    return weights
