"""The stage report: the folder of a subject -> its page."""

from datetime import UTC, datetime
from pathlib import Path

from gregory.ml.artifacts import MODEL_CARD
from gregory.ml.progress import Report
from gregory.ml.stages.contract import REQUEST, ReportRequest, ReportResult


def make_report(source: Path, target: Path, report: Report, resume_dir: Path) -> ReportResult:
    """The page of a subject."""
    from gregory.ml.model_card.subject import read_page, render_subject

    request = ReportRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    page = read_page(request.subject_dir)
    (target / MODEL_CARD).write_text(render_subject(page, made_at=datetime.now(UTC)), encoding="utf-8")
    return ReportResult(compared=page.together.articles)
