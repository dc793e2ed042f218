"""The page of a model and the page of a subject in Chromium: on a screen and on a phone, light and dark."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from gregory.ml.catalogue import Entry
from gregory.ml.config import ALGORITHMS
from gregory.ml.consensus import Member, consensus
from gregory.ml.model_card.mistakes import Mistake, Mistakes
from gregory.ml.model_card.page import render
from gregory.ml.model_card.subject import SubjectPage, render_subject
from gregory.ml.predictions import Prediction, text_hash
from gregory.ml.promotion import Selection
from tests.conftest import BROWSER_MILLISECONDS
from tests.ml.test_model_card import EPOCHS, card_of

pytestmark = pytest.mark.slow
AT = datetime(2026, 1, 2, tzinfo=UTC)
TITLE = "Comparative effectiveness of antihistamines in seasonal allergic rhinoconjunctivitis"
LEAST_PIXELS = 12
# The least height of letters, also in a drawing that is scaled. Elements without own text do not count.
SMALLEST = """() => Math.min(...[...document.body.querySelectorAll('*')]
  .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .filter(one => !['TITLE', 'DESC', 'STYLE'].includes(one.tagName.toUpperCase()) && one.getBoundingClientRect().width)
  .map(one => [parseFloat(getComputedStyle(one).fontSize), one.getScreenCTM ? one.getScreenCTM() : {a: 1, b: 0}])
  .map(([size, scale]) => size * Math.hypot(scale.a, scale.b)))"""


def model_page() -> str:
    mistakes = tuple(Mistake(article_id=number, title=TITLE, probability=0.5) for number in range(10_000_000, 10_000_005))
    return render(replace(card_of(EPOCHS), mistakes=Mistakes(missed=mistakes, all_missed=7, false_alarms=mistakes)))


def subject_page() -> str:
    predictions = [
        Prediction(
            article_id=number,
            part="test",
            label=number % 2,
            pseudo_label=False,
            probability=(number * 7 % 60) / 60,
            text_hash=text_hash(str(number)),
        )
        for number in range(60)
    ]
    members = [
        Member(algorithm=algorithm, version="20260101", threshold=0.2 + 0.3 * place, predictions=predictions)
        for place, algorithm in enumerate(ALGORITHMS)
    ]
    versions = [
        Entry(
            team="neurology",
            subject="ms",
            algorithm=algorithm,
            version=version,
            folder=Path(version),
            promoted=version == "20260101",
            used=version == "20260101",
            created_at=AT,
            labelled=1800,
            metrics={"test_roc_auc": 0.9, "test_pr_auc": 0.8, "test_f1": 0.7, "prob_threshold": 0.8},
            gate="worse than 20260101 by more than 0.02: ROC AUC -0.100 (-0.200 to -0.050)" if version == "20260102" else "",
        )
        for algorithm in ALGORITHMS
        for version in ("20260102", "20260101")
    ]
    selection = Selection(version="20260101", at=AT, by="ann@host.example.org", reason="better on the articles of the last quarter")
    page = SubjectPage(
        team="neurology",
        subject="ms",
        versions=versions,
        together=consensus(members),
        selections=[(algorithm, selection) for algorithm in ALGORITHMS],
        problems=["lstm 20250101: an older release trained it and kept no predictions"],
    )
    return render_subject(page, made_at=AT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("content", [model_page, subject_page], ids=["model", "subject"])
def test_a_page_is_readable_for_everybody(chromium: Browser, content, width: int, scheme):
    # The page allows no script, and axe is one.
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    context.set_default_timeout(BROWSER_MILLISECONDS)
    page = context.new_page()
    page.set_content(content())

    violations = Axe().run(page).response["violations"]

    assert [(one["id"], one["impact"]) for one in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(SMALLEST) >= LEAST_PIXELS
    context.close()


@pytest.mark.parametrize("content", [model_page, subject_page], ids=["model", "subject"])
def test_a_page_asks_for_no_other_file(chromium: Browser, tmp_path: Path, content):
    (tmp_path / "report.html").write_text(content(), encoding="utf-8")
    page = chromium.new_page()
    page.set_default_timeout(BROWSER_MILLISECONDS)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: requests.append(message.text))

    page.goto(f"file://{tmp_path}/report.html")

    assert requests == [f"file://{tmp_path}/report.html"]
    page.close()
