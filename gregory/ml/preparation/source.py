"""Read a model from a Hugging Face folder, or refuse it if a part is missing. Needs torch."""

import pickle
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer

from gregory.ml.errors import BundleError
from gregory.ml.preparation.pins import SAFETENSORS


def require_kind(source: Path, kind: str, *, role: str) -> None:
    """Raise BundleError if the model type in config.json is not `kind`."""
    try:
        found = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
    except (OSError, ValueError) as error:
        raise BundleError(f"{source}: config.json cannot be read: {_first_line(error)}") from error
    if found != kind:
        raise BundleError(f"{source} holds a model of the type {found}: the {role} must be a {kind.upper()}")


def read_model(model_class: Any, source: Path, *, kind: str, dispensable: str | None = None, **how: Any) -> Any:
    """The model in evaluation mode, from safetensors if the folder has them.

    dispensable: prefix of the weights that may be missing; they become zero.
    Raises BundleError.
    """
    try:
        model, loading = model_class.from_pretrained(
            source, output_loading_info=True, use_safetensors=(source / SAFETENSORS).is_file(), weights_only=True, **how
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise BundleError(f"{source} holds no {kind.upper()} that torch can read: {_first_line(error)}") from error
    missing = sorted(loading["missing_keys"])
    needed = [name for name in missing if dispensable is None or not name.startswith(dispensable)]
    if needed:
        raise BundleError(f"{source} holds no complete {kind.upper()}: {len(needed)} weights are missing, the first is {needed[0]}")
    for name in missing:
        # transformers has filled it with random numbers.
        model.get_parameter(name).data.zero_()
    return model.eval()


def read_tokenizer(source: Path, *vocabulary: str) -> Any:
    """The fast tokenizer from tokenizer.json or from the files `vocabulary`. Raises BundleError."""
    # Without both, transformers creates a tokenizer with an empty vocabulary.
    if not (source / "tokenizer.json").is_file() and not all((source / name).is_file() for name in vocabulary):
        raise BundleError(f"{source} holds neither tokenizer.json nor {' with '.join(vocabulary)}")
    try:
        return AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise BundleError(f"{source} holds no tokenizer that can be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
