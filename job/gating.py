"""The gate of a run: promote a published version if it is not worse than the one in use. It never fails the training.

The decision is in the log, in an event of the run, in gate.json beside the versions, and among the warnings if it is a refusal.
"""

import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from gregory.ml import artifacts, gate, promoting, versions
from gregory.ml.comparison import Comparison, same_texts
from gregory.ml.errors import ArtifactError, TrainingError
from gregory.ml.evaluation import Evaluation
from gregory.ml.files import read_text
from gregory.ml.gate import Decision, GateConfig
from gregory.ml.promotion import Promotion, chosen_version, complete_versions, read_promotion
from gregory.ml.stages import contract
from gregory.output import one_line
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, TrainSpec
from job.event_log import EventLogger
from job.fence import Fence
from job.stage_runner import StageRunner, add_file, read_result
from job.supervise import StageFailed


class Gate:
    """Decides about the versions of one run. Without a gate in its specification, nothing is promoted."""

    def __init__(self, spec: TrainSpec, log: EventLogger, stages: StageRunner, *, models_dir: Path, fence: Fence) -> None:
        self._spec = spec
        self._log = log
        self._stages = stages
        self._models_dir = models_dir
        self._fence = fence

    def decide(self, outcome: AlgorithmOutcome, algorithm: AlgorithmSpec, examples: Path) -> AlgorithmOutcome:
        """Promote the published version of an outcome, or not. Returns the outcome with the reason of a refusal among its warnings.

        examples: the texts of this run. Raises Superseded.
        """
        config, published = self._spec.gate, self._models_dir / outcome.artifact
        if config is None:
            return outcome
        try:
            promoted, reason = self._decide(config, published, algorithm, examples)
            decision = Decision(version=outcome.version, promoted=promoted, at=datetime.now(UTC), reason=reason)
            with self._fence.held():
                gate.keep_decision(published.parent, decision)
        except (TrainingError, ValidationError, OSError) as error:
            promoted, reason = False, f"the gate failed: {one_line(str(error))}"
        sentence = f"version {outcome.version} was {'promoted' if promoted else 'not promoted'}: {reason}"
        best_effort(partial(store.record_event, self._spec.run_id, "promotion", f"row {outcome.run_log_id}: {sentence}"), otherwise=None)
        close_connection()
        if promoted:
            self._log.info(sentence, algorithm=outcome.algorithm, stage="compare", tone="good")
            return outcome
        return outcome.model_copy(update={"warnings": (*outcome.warnings, sentence)})

    def _decide(self, config: GateConfig, published: Path, algorithm: AlgorithmSpec, examples: Path) -> tuple[bool, str]:
        folder, seen = published.parent, read_promotion(published.parent)
        used = _used(folder, published.name, seen)
        if cause := gate.unfit(Evaluation.model_validate_json(read_text(published / artifacts.EVALUATION))):
            decided = False, cause
        elif used is None:
            decided = True, "it is the first version"
        else:
            decided = self._compared(config, folder / used, published, algorithm, examples)
        promoted, reason = decided
        if promoted:
            self._promote(folder, published.name, seen, reason)
        elif seen is None:
            # Without a promoted version the newest counts, which is the refused one.
            if used is None or promoting.defects(folder, used):
                return False, f"{reason}; predictions use it, because there is no other version without defects"
            self._promote(folder, used, seen, f"it stays in use, because the gate refused {published.name}")
        return promoted, reason

    def _compared(self, config: GateConfig, used: Path, published: Path, algorithm: AlgorithmSpec, examples: Path) -> tuple[bool, str]:
        if not same_texts(*(artifacts.read_manifest(one) for one in (used, published))):
            return False, f"the texts of {used.name} have another summariser or text version, so the two cannot be compared"
        stage = self._stages.prepare(f"compare-{algorithm.algorithm}")
        try:
            add_file(examples, stage / "in")
            first, second = (contract.ModelFolder(folder=one, digest=artifacts.digest(one)) for one in (used, published))
            request = contract.CompareRequest(first=first, second=second, minimum=config.minimum)
            out = self._stages.run("compare", stage, request, algorithms=(algorithm,))
            return gate.compared(read_result(out, Comparison), config, used=used.name)
        # A signal that ends the stage ends the run at its next stage.
        except (StageFailed, TrainingError, ValidationError, OSError) as error:
            return False, f"the comparison with {used.name} failed: {one_line(str(error))}"
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _promote(self, folder: Path, version: str, seen: Promotion | None, reason: str) -> None:
        with self._fence.held():
            promoting.promote(folder, version, seen=seen, at=datetime.now(UTC), by=f"gate of run {self._spec.run_id}", reason=reason)


def _used(folder: Path, version: str, promotion: Promotion | None) -> str | None:
    """The version that predictions used before this one was published. Raises ArtifactError if the promoted one is gone."""
    if promotion is None:
        return max((name for name in complete_versions(folder) if name != version), key=versions.age_key, default=None)
    chosen = chosen_version(folder.parent, folder.name)
    if chosen is None or chosen.name == version:
        raise ArtifactError(f"{version} was promoted while its row was open")
    return chosen.name
