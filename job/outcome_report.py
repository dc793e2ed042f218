"""The outcome report of an attempt. A reconciler reads it if the run could not write its rows.

A complete copy is in the run's folder. A copy of at most 4,096 bytes is in the termination log, which outlasts the pod.
"""

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from gregory.ml.errors import DamagedFile
from gregory.ml.files import flush, read_text
from gregory.runs import report_key
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunOutcome, RunSpec

# Kubernetes cuts the termination message of a container to this size.
MAXIMUM_BYTES = 4_096
# Characters that are kept of the end of each text. The first length with which the report fits is used. Metrics always fit.
_LENGTHS = (2_000, 1_000, 500, 250, 100, 30, 0)


class OutcomeReport:
    """Collects the outcomes of the algorithms. `write` writes all that are known so far."""

    def __init__(self, spec: RunSpec, *, key: str, models_dir: Path, termination_log: Path | None) -> None:
        """key: the secret of this process, from `report_key`."""
        self._spec = spec
        self._key = key
        self._outcomes: dict[int, AlgorithmOutcome] = {}
        self._interrupted = ""
        self._publishing: AlgorithmOutcome | None = None
        self._folder = spec.folder(models_dir)
        self._file = self._folder.outcome_file
        self._termination_log = termination_log

    def add(self, outcome: AlgorithmOutcome) -> None:
        """Add the outcome of one algorithm."""
        self._outcomes[outcome.run_log_id] = outcome
        self._publishing = None

    def publishing(self, algorithm: AlgorithmSpec) -> None:
        """Record that the model of this algorithm is about to get its version folder. `add` ends this."""
        negative = algorithm.model_copy(update={"run_log_id": -algorithm.run_log_id})
        self._publishing = AlgorithmOutcome(**dict(negative), success=False, error="its model was being published")

    @property
    def is_publishing(self) -> bool:
        """Whether a model may have got its version folder, and its row has no outcome."""
        return self._publishing is not None

    def fail_the_rest(self, *, reason: Reason | None, error: str) -> None:
        """Add a failure for every algorithm without an outcome."""
        for algorithm in self._spec.algorithms:
            if algorithm.run_log_id not in self._outcomes:
                self.add(AlgorithmOutcome(**dict(algorithm), success=False, reason=reason, error=error))

    def give_up(self, cause: str) -> None:
        """Record that the attempt ends early. Another attempt may continue the algorithms without an outcome."""
        self._interrupted = cause

    def write(self) -> None:
        """Write both copies. A disk error does not end the training, because the rows are more important."""
        known = (*self._outcomes.values(), *([self._publishing] if self._publishing else []))
        outcome = RunOutcome(
            run_id=self._spec.run_id,
            attempt=self._spec.attempt,
            algorithms=known,
            interrupted=self._interrupted,
        )
        with suppress(OSError):
            self._replace(outcome)
        # Without a report, the back end keeps the end of the log. That is worth more than an empty report.
        if self._termination_log is not None and (known or self._interrupted):
            with suppress(OSError):
                # Not replaced by a rename: the back end has mounted this file and reads it after the end of the run.
                self._termination_log.write_bytes(compact(outcome, self._key))

    def remove(self) -> None:
        """Remove the copy in the run's folder. Every row has its result, so no reconciler needs it."""
        self._file.unlink(missing_ok=True)

    def _replace(self, outcome: RunOutcome) -> None:
        if self._later_attempt_wrote():
            return
        self._folder.make()
        unfinished = self._file.with_suffix(".partial")
        unfinished.write_text(report_key.sign(outcome, self._key).model_dump_json(), encoding="utf-8")
        flush(unfinished)
        unfinished.replace(self._file)

    def _later_attempt_wrote(self) -> bool:
        """An earlier attempt that continues after it was superseded must not overwrite the later report."""
        try:
            return RunOutcome.model_validate_json(read_text(self._file)).attempt > self._spec.attempt
        except (OSError, DamagedFile, ValidationError):
            return False


def compact(outcome: RunOutcome, key: str) -> bytes:
    """The signed outcome as JSON in at most MAXIMUM_BYTES. Texts lose their beginning and warnings may be left out. All metrics stay."""
    for length in _LENGTHS:
        algorithms = tuple(
            algorithm.model_copy(
                update={
                    "error": _end_of(algorithm.error, length),
                    "warnings": tuple(_end_of(warning, length) for warning in algorithm.warnings) if length >= 100 else (),
                }
            )
            for algorithm in outcome.algorithms
        )
        # An interrupted attempt must be recognisable, even if its texts do not fit.
        interrupted = _end_of(outcome.interrupted, max(length, 30))
        cut = outcome.model_copy(update={"algorithms": algorithms, "interrupted": interrupted})
        text = report_key.sign(cut, key).model_dump_json(exclude_defaults=True).encode("utf-8")
        if len(text) <= MAXIMUM_BYTES:
            break
    return text


def _end_of(text: str, length: int) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= length else f"[...]{text[len(text) - length :]}" if length else ""
