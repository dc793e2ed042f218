"""The stage `predict`: texts and one model -> probabilities."""

from pathlib import Path

from gregory.ml.dataset import read_unlabelled, write_predictions
from gregory.ml.progress import Progress, Report
from gregory.ml.progress_log import ProgressLog, work_digest
from gregory.ml.stages.contract import PREDICTIONS, REQUEST, TEXTS, PredictRequest, PredictResult


def predict_texts(source: Path, target: Path, report: Report, resume_dir: Path) -> PredictResult:
    """Predict every text with the model of a version folder. Raises ArtifactError if that is not the expected model."""
    from gregory.ml.load import load_model
    from gregory.ml.prediction import predict

    request = PredictRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    report(Progress(message="loading the model"))
    model = load_model(request.folder, digest=request.digest)
    total = sum(1 for _ in read_unlabelled(source / TEXTS))
    work = work_digest(request.digest, texts=(text.text for text in read_unlabelled(source / TEXTS)))
    done = ProgressLog(resume_dir / "predictions.jsonl", work=work)
    predictions = predict(model, read_unlabelled(source / TEXTS), total=total, report=report, done=done)
    return PredictResult(predicted=write_predictions(target / PREDICTIONS, predictions))
