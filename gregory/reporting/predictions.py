"""The plan of predict_articles and its summary table, as text or JSON."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gregory.reporting.summary import Outcome, planned, result
from gregory.runs.spec import AlgorithmSpec, PredictSpec
from gregory.runs.store import TrainingRecord


def plan_rows(
    specs: Sequence[PredictSpec], waiting: Mapping[tuple[int, str], int], refusals: Mapping[int, str], *, runner: str
) -> list[dict[str, Any]]:
    """The content of --dry-run: one dictionary per prediction. waiting, refusals: as the plan and the command know them."""
    return [
        {
            **planned(spec, algorithm, runner),
            "articles": waiting.get((spec.subject.id, algorithm.algorithm)),
            "threshold": spec.config.threshold,
            "refused": refusals.get(spec.subject.id),
        }
        for spec in specs
        for algorithm in spec.algorithms
    ]


def summary_rows(outcomes: Sequence[Outcome], idle: Sequence[PredictSpec]) -> list[dict[str, Any]]:
    """One dictionary per prediction. idle: subjects without an article to predict."""
    rows = [_of_outcome(outcome) for outcome in outcomes]
    rows += [_row(spec.team.slug, spec.subject.slug, one, "success") for spec in idle for one in spec.algorithms]
    return rows


def _of_outcome(outcome: Outcome) -> dict[str, Any]:
    training = outcome.training
    seconds, failed = training.record.resources.get("seconds", 0), training.success is False
    facts = training.record.metrics
    return _row(outcome.team, outcome.subject, training, result(training), facts=facts, failed=failed, seconds=seconds)


def _row(
    team: str,
    subject: str,
    model: AlgorithmSpec | TrainingRecord,
    result: str,
    *,
    facts: Mapping[str, float] = MappingProxyType({}),
    failed: bool = False,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """The first seven columns are those of GregoryAI's table."""
    return {
        "team": team,
        "subject": subject,
        "algorithm": model.algorithm,
        "processed": int(facts.get("predicted", 0)),
        "skipped": int(facts.get("gone", 0)),
        "new predictions": int(facts.get("new", 0)),
        "failures": int(failed),
        "version": model.version,
        "result": result,
        "relevant": int(facts.get("relevant", 0)),
        "threshold": facts.get("prob_threshold"),
        "seconds": round(seconds, 1),
    }
