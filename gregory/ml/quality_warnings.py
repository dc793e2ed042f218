"""The warnings about a model, made from its evaluation."""

from decimal import ROUND_DOWN, Decimal

from gregory.ml.evaluation import HALF, Figure, PartEvaluation, Ranking
from gregory.ml.stratification import FEW_ARTICLES
from gregory.output import counted

# Below one percentage point no threshold separates the articles. LightGBM measured .20 to .41 on four screening subjects,
# and .013 on one with 46 relevant of 1,855 articles and a ROC AUC of .71.
LEAST_DEVIATION = 0.01


def shown(value: float) -> str:
    """A figure with the three digits that warnings and pages have."""
    return f"{value:.3f}"


def shown_highest(value: float) -> str:
    """A highest probability with three digits, rounded down: 0.7996 must not appear as 0.800 below a threshold of 0.8."""
    return str(Decimal(repr(value)).quantize(Decimal("0.001"), ROUND_DOWN))


def quality_warnings(test: PartEvaluation, threshold: float, ranking: Ranking, baseline: Ranking | None) -> tuple[str, ...]:
    """Warnings for an operator before the use of the model, the most important first. ranking, baseline: of the test part.

    They depend only on the test part, because its figures are the quoted ones.
    """
    found = [_at_threshold(test, threshold)]
    if test.deviation < LEAST_DEVIATION:
        found.append(
            f"the probabilities of the test articles hardly vary (standard deviation {test.deviation:.2g}): "
            "the model gives nearly the same probability to every text"
        )
    found += [_beside_chance(ranking.roc_auc), _beside_baseline(ranking.roc_auc, baseline)]
    for name, count in (("relevant", test.relevant), ("not relevant", test.not_relevant)):
        if count < FEW_ARTICLES:
            found.append(f"the test part holds only {counted(count, f'{name} article')}: the test figures are uncertain by several points")
    return tuple(sentence for sentence in found if sentence)


def _beside_chance(auc: Figure) -> str:
    if auc.value < HALF:
        return f"on the test part the ROC AUC is {shown(auc.value)}, worse than chance (0.5)"
    if auc.low <= HALF:
        interval = f"{shown(auc.low)} to {shown(auc.high)}"
        return f"on the test part the ROC AUC is {shown(auc.value)}, and its 95 % interval {interval} includes chance (0.5)"
    return ""


def _beside_baseline(auc: Figure, baseline: Ranking | None) -> str:
    if baseline is None or baseline.roc_auc.value <= auc.high:
        return ""
    return (
        f"TF-IDF and logistic regression rank the test articles better: ROC AUC {shown(baseline.roc_auc.value)} against "
        f"{shown(auc.value)} (95 % interval {shown(auc.low)} to {shown(auc.high)})"
    )


def _at_threshold(test: PartEvaluation, threshold: float) -> str:
    confusion = test.confusion
    reached = confusion.tp + confusion.fp
    auc = f"ROC AUC is {shown(test.metrics['roc_auc'])}"
    if reached == 0:
        return (
            f"no test article reaches the threshold {threshold:g}: the highest probability is {shown_highest(test.highest)}, "
            f"so precision, recall and f1 are 0; {auc}"
        )
    if confusion.tp == 0:
        articles = "article reaches" if reached == 1 else "articles reach"
        return f"{reached} test {articles} the threshold {threshold:g} and none is relevant, so precision, recall and f1 are 0; {auc}"
    if reached == test.n:
        return f"all {reached} test articles reach the threshold {threshold:g}: it excludes no article; {auc}"
    if confusion.tp < confusion.fn:
        at_half = "" if threshold == HALF else f"; at {HALF:g} it is {shown(test.at_half['recall'])}"
        return (
            f"at the threshold {threshold:g} the model finds only {confusion.tp} of {test.relevant} relevant test articles "
            f"(recall {shown(test.metrics['recall'])}{at_half}); {auc}"
        )
    return ""
