"""Check a prepared bundle with the code of the trainings, without torch.

`worker` runs this step as a process. It compares the encoder's [CLS] with torch's and requires one summary that is not empty.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from gregory.ml.base_models import read_settings
from gregory.ml.config import SummariserConfig
from gregory.ml.errors import BundleError
from gregory.ml.preparation import worker
from gregory.ml.progress import Progress, Report
from gregory.ml.resources import cpu_count
from gregory.ml.summarise import load_summariser
from gregory.ml.summarisers.generation import GENERATION_FILE, Generation
from gregory.ml.trainers.bert_config import read_config
from gregory.ml.trainers.bert_encoder import load_backbone, load_tokenizer, normalisations, require_match

# Two implementations of the same arithmetic in float32 differ by about 1e-6 after twelve layers.
TOLERANCE = 1e-4
_ASKED = SummariserConfig()
_ABSTRACT = (
    "Background: Relapsing multiple sclerosis is treated with drugs that lower the number of relapses. Methods: In a randomised trial, "
    "240 patients were given interferon or placebo for two years. Results: Patients given interferon had fewer relapses and fewer new "
    "lesions on magnetic resonance imaging. Fatigue did not differ between the groups. Conclusion: Interferon reduces relapses."
)


def check(folder: Path, reference: Path, *, report: Report) -> None:
    """Raise BundleError if the encoder of the bundle `folder` differs from `reference`, or if its summary is empty."""
    difference = _check_encoder(folder / "encoder", reference)
    report(Progress(message=f"checked: the encoder differs from torch by {difference:.1e} at most", figures={"difference": difference}))
    words = _check_summariser(folder / "summariser")
    report(Progress(message=f"checked: the summariser wrote {words} words", figures={"words": words}))


def _check_encoder(folder: Path, reference: Path) -> float:
    backbone, tokenizer = load_backbone(folder), load_tokenizer(folder)
    require_match(tokenizer, backbone, folder)
    _check_settings(backbone, folder)
    with np.load(reference) as expected:
        texts, ids, mask, cls = (expected[name] for name in ("texts", "ids", "mask", "cls"))
    batch = tokenizer(texts.tolist(), truncation=True, max_length=backbone.max_sequence_length, padding=True, return_tensors="np")
    if not np.array_equal(batch["input_ids"], ids):
        raise BundleError(f"{folder}: the tokenizer gives other ids than that of the source")
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": mask}
    found = np.asarray(backbone(inputs)["sequence_output"])[:, 0]
    difference = float(np.abs(found - cls).max())
    if not difference <= TOLERANCE:
        raise BundleError(f"{folder}: the encoder differs from torch by {difference:.1e}, more than {TOLERANCE:.0e}")
    return difference


def _check_settings(backbone: Any, folder: Path) -> None:
    """Compare the settings that [CLS] does not show, because dropout has no effect and a small epsilon nearly none."""
    config = read_config(folder)
    expected = (config.hidden_dropout_prob, {config.layer_norm_eps}, config.type_vocab_size)
    found = (backbone.dropout, {norm.epsilon for norm in normalisations(backbone)}, backbone.num_segments)
    if found != expected:
        raise BundleError(f"{folder}: dropout, epsilon and segments of the encoder are {found}, and of its config.json {expected}")


def _check_summariser(folder: Path) -> int:
    positions = read_settings(folder / GENERATION_FILE, Generation).positions
    limits = SummariserConfig(
        max_source_tokens=min(_ASKED.max_source_tokens, positions), max_new_tokens=min(_ASKED.max_new_tokens, positions)
    )
    summary = load_summariser(folder, limits, threads=cpu_count()).summarise([_ABSTRACT])[0]
    if not summary:
        raise BundleError(f"{folder}: the summariser wrote nothing")
    return len(summary.split())


if __name__ == "__main__":
    sys.exit(worker.step(check, sys.argv[1:]))
