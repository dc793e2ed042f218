"""Tiny models as Hugging Face lays them out, and what transformers makes of them. Run with torch, in the preparation's environment.

`python -m tests.preparation.hugging_face encoder DIR`, `... summariser DIR SEED`, `... summaries DIR REQUEST`.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration, BertConfig, BertForMaskedLM, GenerationConfig

from gregory.ml.preparation.bart import Converter
from tests.ml.tiny_bart import END_BIAS, tiny_tokenizer
from tests.ml.tiny_models import tiny_encoder

GENERATION = {
    "num_beams": 4,
    "length_penalty": 2.0,
    "no_repeat_ngram_size": 3,
    "min_length": 8,
    "max_length": 20,
    "early_stopping": True,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "decoder_start_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


def encoder(folder: Path) -> None:
    """A masked language model as pytorch_model.bin: every weight under `bert.`, no pooler, a vocab.txt and no tokenizer.json."""
    tiny_encoder(folder)
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).unlink()
    torch.manual_seed(7)
    config = BertConfig.from_pretrained(folder, initializer_range=0.3)
    model = BertForMaskedLM(config)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    settings = {"model_type": "bert", "architectures": ["BertForMaskedLM"], **json.loads((folder / "config.json").read_text())}
    (folder / "config.json").write_text(json.dumps(settings))


def summariser(folder: Path, seed: str) -> None:
    """A BART of two layers and sixteen dimensions whose nonsense ends at some point and differs from text to text."""
    folder.mkdir(parents=True)
    tokenizer = tiny_tokenizer()
    torch.manual_seed(int(seed))
    config = BartConfig(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=1024,
        init_std=0.6,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    model = BartForConditionalGeneration(config)
    model.final_logits_bias[0, :4] = torch.tensor([-20, -20, END_BIAS, -20])
    model.generation_config = GenerationConfig(**GENERATION)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BartTokenizer", "model_max_length": 1024, **names}))


def summaries(folder: Path, request: str) -> None:
    """Print as JSON what transformers' generate says of request["texts"], in batches of four, in float32, for each of request["options"].

    Also writes the model for CTranslate2 in float32 to request["float32"], where that is given.
    """
    asked = json.loads(Path(request).read_text())
    torch.set_grad_enabled(False)
    model = BartForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True)
    said = []
    for options in asked["options"]:
        made = []
        for start in range(0, len(asked["texts"]), 4):
            batch = tokenizer(asked["texts"][start : start + 4], return_tensors="pt", padding=True, truncation=True, max_length=1024)
            ids = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], **options)
            made += [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)]
        said.append(made)
    if "float32" in asked:
        Converter(str(folder)).convert(asked["float32"])
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    {"encoder": encoder, "summariser": summariser, "summaries": summaries}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
