"""Replaces `gregory.ml.stages.work` in the image of the chaos runs: each stage takes time and writes marks.

`check` compares the marks with the rows. The marks are on the models volume, in a folder that the product does not read. A patch of the
pod template mounts it, because a run sees only the folder of its subject:
`.chaos/<run id>/<attempt>-<algorithm>.begun`, and `.done` as soon as the result is complete. Each worker holds the lock of
its run until it ends. A worker that finds the lock taken writes `<attempt>.overlap` or `summarise.overlap`.
"""

import atexit
import fcntl
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from gregory.ml import artifacts
from gregory.ml.manifest import DataFacts, Manifest, Probe
from gregory.ml.progress import Progress, Report
from gregory.ml.stages.contract import (
    EXAMPLES,
    MODEL_FOLDER,
    POOL,
    REQUEST,
    GpuResult,
    PseudoLabelResult,
    SummariseResult,
    TrainRequest,
    TrainResult,
)
from gregory.ml.text import TEXT_VERSION

MARKS, SECONDS = ".chaos", "seconds.json"
MOUNTED = Path("/chaos")
PATCH = {"spec": {"containers": [{"name": "run", "volumeMounts": [{"name": "models", "mountPath": str(MOUNTED), "subPath": MARKS}]}]}}
# Length of a training without a script.
DEFAULT_SECONDS = 4.0
STEP_SECONDS = 0.2
METRICS = {"test_roc_auc": 0.75, "test_f1": 0.5, "prob_threshold": 0.8}
# Open until the process ends.
_held: list[int] = []


def find_gpu(source: Path, target: Path, report: Report, resume_dir: Path) -> GpuResult:
    """Never called."""
    raise NotImplementedError


def pseudo_label(source: Path, target: Path, report: Report, resume_dir: Path) -> PseudoLabelResult:
    """Never called."""
    raise NotImplementedError


def summarise(source: Path, target: Path, report: Report, resume_dir: Path) -> SummariseResult:
    """Two empty files."""
    _be_alone(_marks(_run_id(source)), name="summarise")
    for name in (EXAMPLES, POOL):
        (target / name).touch()
    report(Progress(message="summarised", fraction=1.0))
    return SummariseResult(labelled=2, title_only=0, pool=0)


def train(source: Path, target: Path, report: Report, resume_dir: Path) -> TrainResult:
    """Takes the scripted time and writes a complete model folder."""
    request = TrainRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    facts = request.provenance
    marks = _marks(facts.run_id)
    _be_alone(marks, name=str(facts.attempt))
    name = f"{facts.attempt}-{request.algorithm}"
    # Append: a suspended attempt begins several times.
    with (marks / f"{name}.begun").open("a") as begun:
        begun.write(f"{time.time()}\n")
    seconds = _scripted(MOUNTED / SECONDS).get(f"{facts.subject}/{request.algorithm}", DEFAULT_SECONDS)
    steps = max(1, round(seconds / STEP_SECONDS))
    for step in range(steps):
        time.sleep(STEP_SECONDS)
        report(Progress(message=f"step {step + 1} of {steps}", fraction=(step + 1) / steps))
    _write_model(target / MODEL_FOLDER, request)
    # At exit the result is complete. A worker that is killed before leaves no mark.
    atexit.register((marks / f"{name}.done").touch)
    data = artifacts.read_manifest(target / MODEL_FOLDER).data
    return TrainResult(metrics=METRICS, warnings=(), data=data, compute={"device": "cpu"})


def _scripted(file: Path) -> dict[str, float]:
    return json.loads(file.read_text()) if file.exists() else {}


def _run_id(source: Path) -> str:
    """The id of the run, from the input folder of a stage."""
    runs = next(parent for parent in source.parents if parent.name == artifacts.RUNS_FOLDER)
    return source.relative_to(runs).parts[0]


def _marks(run_id: str) -> Path:
    marks = MOUNTED / run_id
    marks.mkdir(parents=True, exist_ok=True)
    return marks


def _be_alone(marks: Path, *, name: str) -> None:
    descriptor = os.open(marks / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    _held.append(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (marks / f"{name}.overlap").touch()


def _write_model(folder: Path, request: TrainRequest) -> None:
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(os.urandom(4096))
    (folder / artifacts.METRICS).write_text(json.dumps(METRICS))
    (folder / artifacts.EVALUATION).write_text("{}")
    facts = request.provenance
    data = DataFacts(
        cutoff=facts.cutoff, window=facts.window, labelled=2, title_only=0, duplicates=0, conflicts=0, pseudo_labelled=0, parts={},
        fingerprint="scripted", text_version=TEXT_VERSION,
    )  # fmt: skip
    manifest = Manifest(
        algorithm=request.algorithm,
        provenance=facts,
        created_at=datetime.now(UTC),
        config=request.config,
        data=data,
        base_models={},
        libraries={},
        threads=request.threads,
        warnings=(),
        probe=Probe(texts=(), probabilities=()),
    )
    artifacts.write_manifest(folder, manifest)
