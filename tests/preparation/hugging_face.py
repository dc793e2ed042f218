"""Tiny models in the layout of Hugging Face, and the output of transformers for them. It needs torch.

`python -m tests.preparation.hugging_face sources ENCODER SUMMARISER BIN` makes both sources of a bundle.
`... summaries REQUESTS` makes the model of each request, prepares it, and prints the summaries of transformers as JSON.
"""

import json
import random
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration, BertConfig, BertForMaskedLM, GenerationConfig

from gregory.ml.preparation import bart
from gregory.ml.progress import silent
from tests.ml.tiny_bart import END_BIAS, WORDS, tiny_tokenizer
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

# The numbers of words of the texts for the taught model, and of their summaries.
TAUGHT_LENGTH, TAUGHT_SUMMARY = 24, 12


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


def summariser(folder: Path, seed: int) -> None:
    """A BART of two layers and sixteen dimensions. Its meaningless output ends at some point and differs between texts."""
    torch.manual_seed(seed)
    model = _bart(layers=2, width=16, init_std=0.6)
    model.final_logits_bias[0, :4] = torch.tensor([-20, -20, END_BIAS, -20])
    _save(model, folder)


def taught(folder: Path, *, steps: int = 400, batch: int = 32) -> None:
    """A BART that has learned a summary: the first words of a text. So its predictions are confident, as those of a real model."""
    # The steps are small, so a second thread would only wait.
    torch.set_num_threads(1)
    torch.manual_seed(1)
    chance, words = random.Random(1), WORDS.split()
    tokenizer = tiny_tokenizer()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = _bart(layers=1, width=64, init_std=0.1)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        texts = [[chance.choice(words) for _ in range(chance.randint(1, TAUGHT_LENGTH))] for _ in range(batch)]
        ids = _padded([tokenizer.encode(" ".join(text)).ids for text in texts], 1)
        targets = _padded([tokenizer.encode(" ".join(text[:TAUGHT_SUMMARY])).ids for text in texts], -100)
        optimiser.zero_grad()
        model(input_ids=ids, attention_mask=(ids != 1).long(), labels=targets).loss.backward()
        optimiser.step()
    _save(model, folder)


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def _bart(*, layers: int, width: int, init_std: float) -> BartForConditionalGeneration:
    config = BartConfig(
        vocab_size=tiny_tokenizer().get_vocab_size(),
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        max_position_embeddings=1024,
        init_std=init_std,
        dropout=0.0,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    return BartForConditionalGeneration(config)


def _save(model: BartForConditionalGeneration, folder: Path) -> None:
    folder.mkdir(parents=True)
    model.generation_config = GenerationConfig(**GENERATION)
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BartTokenizer", "model_max_length": 1024, **names}))


def sources(encoder_folder: str, summariser_folder: str, weights: str) -> None:
    """Both sources of a bundle. weights: a file with the weights of the summariser in the format of torch."""
    encoder(Path(encoder_folder))
    summariser(Path(summariser_folder), 1)
    torch.save(load_file(Path(summariser_folder) / "model.safetensors"), weights)


def summaries(requests: str) -> None:
    """Print the summaries for each request in this file.

    A request has the folder `source` of a model that is made there, its `seed` or null for a taught one, and the folder `prepared` of its
    preparation, with `float32` for CTranslate2. `texts` are summarised in batches of four, in float32, with each of `options`.
    """
    said = []
    for request in json.loads(Path(requests).read_text()):
        source, prepared = Path(request["source"]), Path(request["prepared"])
        taught(source) if request["seed"] is None else summariser(source, request["seed"])
        bart.convert(source, prepared, report=silent)
        bart.Converter(str(source)).convert(str(prepared / "float32"))
        said.append(_summaries(source, request["texts"], request["options"]))
    sys.stdout.write(json.dumps(said))


def _summaries(folder: Path, texts: list[str], options: list[dict[str, object]]) -> list[list[str]]:
    model = BartForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True)
    said = []
    for chosen in options:
        made = []
        for start in range(0, len(texts), 4):
            batch = tokenizer(texts[start : start + 4], return_tensors="pt", padding=True, truncation=True, max_length=1024)
            with torch.no_grad():
                ids = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], **chosen)
            made += [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)]
        said.append(made)
    return said


if __name__ == "__main__":
    {"sources": sources, "summaries": summaries}[sys.argv[1]](*sys.argv[2:])
