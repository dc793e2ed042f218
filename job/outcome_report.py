"""What became of an attempt, in the run's own words, beside the rows: for whoever closes them where the database was out of reach.

Two copies: whole in the run's folder, and as much as 4,096 bytes hold where the machine keeps it when the pod is gone.
"""

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from gregory.ml import artifacts
from gregory.ml.files import flush
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunOutcome, RunSpec

# Kubernetes cuts a container's termination message there.
MAXIMUM_BYTES = 4_096
# How much of a text is kept, tried in this order until all fits: its end says what happened. Metrics always fit.
_LENGTHS = (2_000, 1_000, 500, 250, 100, 30, 0)


class OutcomeReport:
    """Grows by one algorithm at a time; `write` leaves what is known so far."""

    def __init__(self, spec: RunSpec, *, models_dir: Path, termination_log: Path | None) -> None:
        self._spec = spec
        self._outcomes: dict[int, AlgorithmOutcome] = {}
        self._interrupted = ""
        self._file = artifacts.outcome_file(models_dir, spec.run_id)
        self._termination_log = termination_log

    def add(self, outcome: AlgorithmOutcome) -> None:
        """One algorithm has ended."""
        self._outcomes[outcome.run_log_id] = outcome

    def fail_the_rest(self, *, reason: Reason | None, error: str) -> None:
        """What stopped the run is the end of every algorithm that has none."""
        for algorithm in self._spec.algorithms:
            if algorithm.run_log_id not in self._outcomes:
                self.add(AlgorithmOutcome(**dict(algorithm), success=False, reason=reason, error=error))

    def give_up(self, why: str) -> None:
        """The run ends before its time, and what has no end yet may go on in another attempt."""
        self._interrupted = why

    def write(self) -> None:
        """Leave both copies. A disk that takes neither must not end a training: the rows come first."""
        outcome = RunOutcome(
            run_id=self._spec.run_id,
            attempt=self._spec.attempt,
            algorithms=tuple(self._outcomes.values()),
            interrupted=self._interrupted,
        )
        with suppress(OSError):
            self._replace(outcome)
        # In the place of a report the machine keeps the log's end, which tells more than one with nothing in it.
        if self._termination_log is not None and (self._outcomes or self._interrupted):
            with suppress(OSError):
                # In place: the machine has mounted this very file, and reads it when the run is over.
                self._termination_log.write_bytes(compact(outcome))

    def remove(self) -> None:
        """Every row has its end: nobody will ask for the copy in the run's folder."""
        self._file.unlink(missing_ok=True)

    def _replace(self, outcome: RunOutcome) -> None:
        if self._later_attempt_wrote():
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._file.with_suffix(".partial")
        unfinished.write_text(outcome.model_dump_json(), encoding="utf-8")
        flush(unfinished)
        unfinished.replace(self._file)

    def _later_attempt_wrote(self) -> bool:
        """An attempt that was taken for dead, and woke up, must not cover what the one in its place has to say."""
        try:
            return RunOutcome.model_validate_json(self._file.read_text(encoding="utf-8")).attempt > self._spec.attempt
        except (OSError, ValidationError):
            return False


def compact(outcome: RunOutcome) -> bytes:
    """The outcome as JSON in at most MAXIMUM_BYTES: texts are cut at their heads, warnings left out if they must be; metrics stay."""
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
        # Who gave up must still say so where its words do not fit.
        interrupted = _end_of(outcome.interrupted, max(length, 30))
        cut = outcome.model_copy(update={"algorithms": algorithms, "interrupted": interrupted})
        text = cut.model_dump_json(exclude_defaults=True).encode("utf-8")
        if len(text) <= MAXIMUM_BYTES:
            break
    return text


def _end_of(text: str, length: int) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= length else f"[...]{text[len(text) - length :]}" if length else ""
