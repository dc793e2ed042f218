"""Texts -> probabilities, streamed: the memory depends on TEXTS_AT_ONCE and not on the number of texts."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from gregory.ml.dataset import Prediction, UnlabelledText
from gregory.ml.errors import ArtifactError
from gregory.ml.progress import Progress, Report
from gregory.ml.progress_log import ProgressLog
from gregory.ml.trainers.base import TrainedModel

# A network sorts them by length, so that its batches need little padding.
TEXTS_AT_ONCE = 2_000


def predict(
    model: TrainedModel, texts: Iterable[UnlabelledText], *, total: int, report: Report, done: ProgressLog | None = None
) -> Iterator[Prediction]:
    """One prediction per text, in the same order. total: the number of texts, for the progress.

    done: the log of the completed parts, with which an interrupted stage continues. Raises ArtifactError for a probability that is none.
    """
    log = done or ProgressLog(None, work="")
    count = 0
    for part in log.entries:
        yield from (Prediction(article_id=article_id, probability=probability) for article_id, probability in part)
        count += len(part)
    if count:
        report(Progress(message=f"continuing after {count} of {total} articles"))
    remaining = islice(texts, count, None)
    while chunk := list(islice(remaining, TEXTS_AT_ONCE)):
        probabilities = model.predict_proba([text.text for text in chunk])
        if not np.all((probabilities >= 0) & (probabilities <= 1)):
            raise ArtifactError("the model gives values that are no probabilities; train the subject again")
        part = [(text.article_id, float(probability)) for text, probability in zip(chunk, probabilities, strict=True)]
        if done is not None:
            done.append(part)
        yield from (Prediction(article_id=article_id, probability=probability) for article_id, probability in part)
        count += len(part)
        report(Progress(message=f"predicted {count} of {total} articles", fraction=count / total))
