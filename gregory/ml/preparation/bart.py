"""Convert a BART from a Hugging Face folder to the summariser: CTranslate2 files for CPU and GPU, tokenizer, generation settings.

This step uses torch, and `worker` runs it as a process. A generation setting without a counterpart in CTranslate2 is refused, because
it would change the summaries silently.
"""

import json
import sys
from pathlib import Path
from typing import Any

from ctranslate2.converters import TransformersConverter
from transformers import BartForConditionalGeneration

from gregory.ml.errors import BundleError
from gregory.ml.preparation import worker
from gregory.ml.preparation.source import read_model, read_tokenizer, require_kind
from gregory.ml.progress import Progress, Report

_VOCABULARY = ("vocab.json", "merges.txt")
# The first is for CPUs and the second for GPUs. Every other precision is converted from the second.
STORED_TYPES = ("int8", "float16")

# The settings of a generation config: used ones, ids of special tokens, and settings without effect on the text.
_USED = {
    "num_beams",
    "length_penalty",
    "no_repeat_ngram_size",
    "min_length",
    "early_stopping",
    "forced_bos_token_id",
    "forced_eos_token_id",
}
_IDS = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}
_SILENT = {"max_length", "max_new_tokens", "use_cache", "_from_model_config", "transformers_version"}


class Converter(TransformersConverter):  # type: ignore[misc]
    """CTranslate2's converter with a setting that newer configurations lack."""

    def load_model(self, model_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
        model = read_model(BartForConditionalGeneration, Path(model_name_or_path), kind="bart")
        # A BART normalises after each block. Newer libraries do not write this setting.
        model.config.normalize_before = getattr(model.config, "normalize_before", False)
        return model

    def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
        return read_tokenizer(Path(model_name_or_path), *_VOCABULARY)


def convert(source: Path, folder: Path, *, report: Report) -> None:
    """Write the summariser of `source` to `folder`. Raises BundleError."""
    require_kind(source, "bart", role="summariser")
    model = read_model(BartForConditionalGeneration, source, kind="bart")
    generation = _generation(model, source)
    tokenizer = read_tokenizer(source, *_VOCABULARY)
    words = {name: tokenizer.convert_ids_to_tokens(generation.pop(f"{name}_id")) for name in ("forced_bos_token", "forced_eos_token")}
    settings = {**generation, **words, "positions": model.config.max_position_embeddings}
    del model  # the converter loads the model again, and the memory is sufficient for one
    folder.mkdir(parents=True)
    for name, value in (("summariser.json", {"kind": "bart_ctranslate2"}), ("generation.json", settings)):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    for stored in STORED_TYPES:
        report(Progress(message=f"converting the summariser to {stored}"))
        Converter(str(source)).convert(str(folder / stored), quantization=stored)


def _generation(model: Any, source: Path) -> dict[str, Any]:
    asked = {name: value for name, value in model.generation_config.to_diff_dict().items() if value is not None}
    unknown = sorted(asked.keys() - _USED - _IDS - _SILENT)
    if unknown:
        raise BundleError(f"{source}: the generation setting {unknown[0]} = {asked[unknown[0]]!r} has no counterpart in CTranslate2")
    beams = asked.get("num_beams", 1)
    if beams > 1 and asked.get("early_stopping") is not True:
        raise BundleError(f"{source}: early_stopping is {asked.get('early_stopping', False)!r}, but CTranslate2's beams stop as with true")
    return {
        "num_beams": beams,
        "length_penalty": float(asked.get("length_penalty", 1.0)),
        "no_repeat_ngram_size": asked.get("no_repeat_ngram_size", 0),
        "min_length": max(asked.get("min_length", 0), 1),
        "forced_bos_token_id": asked.get("forced_bos_token_id"),
        "forced_eos_token_id": asked.get("forced_eos_token_id"),
    }


if __name__ == "__main__":
    sys.exit(worker.step(convert, sys.argv[1:]))
