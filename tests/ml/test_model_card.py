"""The model card: one page without other files, reproducible, with all texts escaped."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from gregory.ml.evaluation import Evaluation
from gregory.ml.evaluator import evaluate
from gregory.ml.model_card.mistakes import Mistake, Mistakes
from gregory.ml.model_card.page import FactSection, ModelCard, render

EPOCHS = [{"loss": 0.9 * 0.8**number, "val_loss": 0.9 * 0.85**number} for number in range(10)]
ROUNDS = [{"loss": 0.7 * 0.97**number, "val_loss": 0.7 * 0.98**number} for number in range(100)]
SCRIPT = "<script>alert(1)</script>"
VOID = {"meta", "br"}


def evaluation(history: list[dict[str, float]], *, n: int = 120, threshold: float = 0.8) -> Evaluation:
    random = np.random.default_rng(1)
    labels = (np.arange(n) % 4 == 0).astype(np.int8)
    validation, test = (np.clip(random.normal(0.25 + 0.7 * labels, spread), 0, 1) for spread in (0.3, 0.2))
    return evaluate(validation=(labels, validation), test=(labels, test), threshold=threshold, history=history)


def card_of(history: list[dict[str, float]], *, n: int = 120, step: str = "epoch") -> ModelCard:
    return ModelCard(
        team="Team Clinical",
        subject="multiple-sclerosis",
        subject_name="Multiple Sclerosis",
        algorithm="pubmed_bert",
        version="20250614_2",
        trained_at=datetime(2025, 6, 14, 13, 5, tzinfo=UTC),
        run_id="7f3c2a1e",
        run_log_id=1234,
        evaluation=evaluation(history, n=n),
        train_counts={"relevant": 140, "not_relevant": 1420},
        sections=[
            FactSection(heading="Data", facts=[("labelled articles", "1,800"), ("window", "all articles")]),
            FactSection(heading="Which weights", facts=[("encoder", "microsoft/BiomedBERT, revision e1354b7")]),
        ],
        step=step,
    )


class Page(HTMLParser):
    """The content of a page: elements with their attributes, texts, and the check that every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.texts.append(" ".join(data.split()))

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def bert() -> str:
    return render(card_of(EPOCHS))


@pytest.fixture(scope="module")
def page(bert: str) -> Page:
    return Page(bert)


def test_two_renders_are_equal(bert: str) -> None:
    assert render(card_of(EPOCHS)) == bert


def test_every_element_is_closed(page: Page) -> None:
    assert page.open == []


def test_ids_are_unique(page: Page) -> None:
    assert [name for name, count in Counter(page.attributes("id")).items() if count > 1] == []


def test_references_point_to_ids_of_the_page(bert: str, page: Page) -> None:
    references = [value for name in ("aria-labelledby", "aria-describedby") for value in page.attributes(name)]
    references += [value.removeprefix("#") for value in page.attributes("href")] + re.findall(r"url\(#([^)]+)\)", bert)
    assert len(references) > 20
    assert set(references) <= set(page.attributes("id"))


def test_page_loads_and_runs_nothing(bert: str, page: Page) -> None:
    assert page.count("script") == page.count("link") == page.count("img") == page.count("iframe") == 0
    assert not re.search(r"https?:|@import|src=|javascript:|\son\w+=", bert)
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.attributes("content")


def test_page_has_light_dark_narrow_and_printed_forms(bert: str) -> None:
    assert re.findall(r"@media ([^{]+?) \{", bert) == ["(prefers-color-scheme: dark)", "(max-width: 36rem)", "print"]


def test_drawings_have_the_colours_of_the_page(page: Page) -> None:
    styles = " ".join(page.attributes("style"))
    assert not re.search(r"#[0-9a-f]{6}", styles)
    assert set(re.findall(r"var\((--\w+)\)", styles)) == {"--ink", "--grid", "--train", "--validation", "--test"}


def test_drawings_have_no_font_and_no_style_sheet(bert: str, page: Page) -> None:
    assert page.count("style") == 1
    assert "DejaVu" not in bert


def test_there_are_six_drawings_each_with_a_title_and_a_description(page: Page) -> None:
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert [(drawing["role"], drawing["aria-labelledby"], drawing["aria-describedby"]) for drawing in drawings] == [
        ("img", f"{key}-title", f"{key}-description") for key in ("histogram", "confusion", "roc", "pr", "calibration", "training-1")
    ]


def test_tables_have_captions_and_row_headers(page: Page) -> None:
    assert page.count("table") == page.count("caption") == 6
    assert Counter(page.attributes("scope")) == {"col": 28, "row": 24, "rowgroup": 3}


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


@pytest.mark.parametrize(
    "text",
    [
        "Team Clinical / multiple-sclerosis",
        "Multiple Sclerosis",
        "pubmed_bert, version 20250614_2",
        "2025-06-14 13:05 UTC",
        "7f3c2a1e",
        "1234",
    ],
)
def test_header_names_the_model(page: Page, text: str) -> None:
    assert text in page.texts


def test_time_is_in_utc() -> None:
    lisbon = datetime(2025, 6, 14, 14, 5, tzinfo=timezone(timedelta(hours=1)))
    assert "2025-06-14 13:05 UTC" in Page(render(replace(card_of([]), trained_at=lisbon))).texts


def test_a_run_without_a_row_has_the_run_log_none() -> None:
    texts = Page(render(replace(card_of([]), run_log_id=None))).texts
    assert texts[texts.index("Run log") + 1] == "none"


def test_twelve_metrics_are_in_the_table(page: Page) -> None:
    figures = card_of(EPOCHS).evaluation
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc"):
        at = page.texts.index(name, page.texts.index("Metrics of the class “relevant”"))
        assert page.texts[at + 1 : at + 3] == [f"{part.metrics[name]:.3f}" for part in (figures.validation, figures.test)]


def test_figures_at_one_half_are_below(page: Page) -> None:
    at = page.texts.index("at 0.5, for comparison")
    validation, test = (part.at_half for part in (card_of(EPOCHS).evaluation.validation, card_of(EPOCHS).evaluation.test))
    assert page.texts[at + 1 : at + 10] == [
        text for name in ("precision", "recall", "f1") for text in (name, f"{validation[name]:.3f}", f"{test[name]:.3f}")
    ]


def test_class_counts_of_each_part(page: Page) -> None:
    at = page.texts.index("training", page.texts.index("Articles per part"))
    assert page.texts[at : at + 15] == [
        *("training", "140", "1,420", "1,560", "9.0%"),
        *("validation", "30", "90", "120", "25.0%"),
        *("test", "30", "90", "120", "25.0%"),
    ]


def test_facts_are_in_the_given_order(page: Page) -> None:
    at = page.texts.index("Data")
    assert page.texts[at : at + 8] == [
        *("Data", "labelled articles", "1,800", "window", "all articles"),
        *("Which weights", "encoder", "microsoft/BiomedBERT, revision e1354b7"),
    ]


def test_no_facts_no_section() -> None:
    assert "Origin" not in Page(render(replace(card_of([]), sections=()))).texts


def test_warnings_are_at_the_top() -> None:
    card = card_of([])
    warned = replace(card, evaluation=card.evaluation.model_copy(update={"warnings": ("first thing", "second thing")}))
    texts = Page(render(warned)).texts
    at = texts.index("Before you use this model")
    assert texts[at + 1 : at + 3] == ["First thing.", "Second thing."]
    assert at < texts.index("Test ROC AUC")


def test_no_warnings_no_box(page: Page) -> None:
    assert card_of(EPOCHS).evaluation.warnings == ()
    assert "Before you use this model" not in page.texts


def test_the_threshold_has_the_given_digits() -> None:
    card = replace(card_of([]), evaluation=evaluation([], threshold=0.65))
    texts = Page(render(card)).texts
    assert {"Test f1 at 0.65", "Confusion at 0.65", "dashed: threshold 0.65", "at the threshold 0.65"} <= set(texts)


def test_text_of_the_manifest_is_escaped() -> None:
    card = replace(
        card_of([{SCRIPT: 0.5, f"val_{SCRIPT}": 0.6}, {SCRIPT: 0.4, f"val_{SCRIPT}": 0.5}]),
        team=SCRIPT,
        subject=SCRIPT,
        subject_name=SCRIPT,
        algorithm=SCRIPT,
        version=SCRIPT,
        run_id=SCRIPT,
        sections=[FactSection(heading=SCRIPT, facts=[(SCRIPT, SCRIPT)])],
        mistakes=Mistakes(false_alarms=(Mistake(article_id=1, title=SCRIPT, probability=0.9),)),
        step=SCRIPT,
    )
    warned = replace(card, evaluation=card.evaluation.model_copy(update={"warnings": (SCRIPT,)}))
    html = render(warned)
    page = Page(html)
    assert page.count("script") == 0
    assert "<script" not in html
    assert page.texts.count(SCRIPT) == 7


def test_operating_points_come_before_every_other_figure(page: Page) -> None:
    at = page.texts.index("How many articles to read")
    assert at < page.texts.index("Test ROC AUC")
    assert [text for text in page.texts[at:] if text in ("0.8", "0.5", "best f1", "recall 90 %", "recall 95 %", "recall 99 %")][:6] == [
        *("0.8", "0.5", "best f1", "recall 90 %", "recall 95 %", "recall 99 %")
    ]


def test_an_operating_point_has_its_figures_with_intervals(page: Page) -> None:
    (point,) = [one for one in card_of(EPOCHS).evaluation.operating_points if one.choice == "best-f1"]
    at = page.texts.index("best f1")
    assert page.texts[at + 1 : at + 7] == [
        *(f"{point.selected.value:.0f}", f"{point.selected.low:.0f} to {point.selected.high:.0f}"),
        *(f"{point.found.value:.0f}", f"{point.found.low:.0f} to {point.found.high:.0f}"),
        *(f"{point.recall.value:.3f}", f"{point.recall.low:.3f} to {point.recall.high:.3f}"),
    ]


def test_the_articles_to_read_are_told_in_a_sentence(page: Page) -> None:
    ranking = card_of(EPOCHS).evaluation.ranking
    assert ranking is not None
    assert (
        f"The {ranking.read.value:.0f} articles with the highest probabilities, of 120 in the test part, "
        "contain 29 of its 30 relevant articles (95 % or more)."
    ) in page.texts


def test_few_relevant_articles_are_told() -> None:
    (note,) = [text for text in Page(render(card_of([], n=40))).texts if text.startswith("The thresholds")]
    assert "Only 10 articles of the validation part and 10 articles of the test part are relevant, so the intervals are wide." in note


def test_enough_relevant_articles_need_no_words(page: Page) -> None:
    assert not any("wide" in text for text in page.texts)


def test_the_baseline_is_beside_the_model() -> None:
    labels = (np.arange(60) % 3 == 0).astype(np.int8)
    probabilities = np.linspace(0, 1, 60)
    part = (labels, probabilities)
    compared = evaluate(validation=part, test=part, threshold=0.8, history=[], baseline=labels * 0.9)
    texts = Page(render(replace(card_of([]), evaluation=compared))).texts
    at = texts.index("TF-IDF and logistic regression")
    assert texts[at + 1 : at + 6 : 2] == ["1.000", "1.000", "20"]


def test_the_evaluation_of_an_older_release_has_no_operating_points() -> None:
    card = card_of([])
    older = card.evaluation.model_copy(update={"operating_points": (), "ranking": None})
    assert "How many articles to read" not in Page(render(replace(card, evaluation=older))).texts


def test_the_base_rate_is_below_accuracy(page: Page) -> None:
    at = page.texts.index("accuracy of always the larger class")
    assert page.texts[at - 3] == "accuracy"
    assert page.texts[at + 1 : at + 3] == ["0.750", "0.750"]


def test_missed_articles_and_false_alarms_are_listed() -> None:
    mistakes = Mistakes(
        missed=(Mistake(article_id=7, title="A missed one", probability=0.01),),
        all_missed=4,
        false_alarms=(Mistake(article_id=8, title="", probability=0.97),),
    )
    texts = Page(render(replace(card_of([]), mistakes=mistakes))).texts
    assert "1 of 4 relevant test articles below the threshold 0.8, the lowest probability first." in texts
    for expected in (["A missed one", "7", "0.010"], ["without title", "8", "0.970"]):
        at = texts.index(expected[0])
        assert texts[at : at + 3] == expected


def test_a_model_without_mistakes_has_no_list(page: Page) -> None:
    assert "Articles to look at" not in page.texts


def test_calibration_leaves_out_bins_with_few_articles() -> None:
    labels = np.array([1, 0] * 5 + [1], dtype=np.int8)
    part = (labels, np.array([0.25] * 10 + [0.95]))
    card = replace(card_of([]), evaluation=evaluate(validation=part, test=part, threshold=0.8, history=[]))
    (description,) = [text for text in Page(render(card)).texts if text.startswith("Test part, predicted probability")]
    assert description == "Test part, predicted probability and share of relevant articles: 0.25: 0.50."


def test_one_article_of_a_large_class_has_a_bar() -> None:
    labels = np.array([1] * 5 + [0] * 2000, dtype=np.int8)
    part = (labels, np.array([0.9] * 5 + [0.01] * 1999 + [0.6]))
    texts = Page(render(replace(card_of([]), evaluation=evaluate(validation=part, test=part, threshold=0.8, history=[])))).texts
    at = texts.index("not relevant (2,000)")
    assert {"1", "10", "100", "1,000"} <= set(texts[at - 12 : at + 12])


def test_letters_of_drawings_are_large_enough(bert: str) -> None:
    assert {float(size) for size in re.findall(r"font-size: ([\d.]+)px", bert)} == {10.5, 18}


def test_dollar_signs_are_no_formulas() -> None:
    assert "Training: $x^2$" in Page(render(card_of([{"$x^2$": 0.5}, {"$x^2$": 0.4}]))).texts


def test_boosting_rounds_are_drawn_as_rounds() -> None:
    texts = Page(render(card_of(ROUNDS, step="round"))).texts
    assert "round" in texts
    assert "By round: training from 0.7 to 0.0343, validation from 0.7 to 0.0947." in texts


def test_epochs_are_drawn_as_epochs(page: Page) -> None:
    assert "By epoch: training from 0.9 to 0.121, validation from 0.9 to 0.208." in page.texts


def test_no_history_no_training_curve() -> None:
    page = Page(render(card_of([])))
    assert page.count("svg") == 5
    assert not any(text.startswith("Training:") for text in page.texts)


def test_a_history_without_a_number_is_not_drawn() -> None:
    nan = float("nan")
    page = Page(render(card_of([{"loss": nan, "val_loss": 0.5}, {"loss": nan, "val_loss": nan}, {"loss": nan, "val_loss": 0.4}])))
    assert "By epoch: validation from 0.5 to 0.4." in page.texts
    assert Page(render(card_of([{"loss": nan}]))).count("svg") == 5


def test_each_training_figure_has_its_own_drawing() -> None:
    page = Page(render(card_of([{"loss": 0.5, "accuracy": 0.7, "val_loss": 0.6, "val_accuracy": 0.6}] * 3)))
    assert [text for text in page.texts if text.startswith("Training:")] == ["Training: loss", "Training: accuracy"]


def test_page_shows_no_nan(bert: str) -> None:
    assert not re.search(r"\b(nan|inf|None)\b", bert)


def test_the_page_of_large_parts_is_small() -> None:
    assert len(render(card_of(ROUNDS, n=20_000)).encode()) <= 300 * 1024


@pytest.mark.filterwarnings("error")
def test_model_that_predicts_nothing_is_drawn_too() -> None:
    labels = np.array([1, 0, 0], dtype=np.int8)
    flat = (labels, np.full(3, 0.2))
    card = replace(card_of([{"loss": 0.5}]), evaluation=evaluate(validation=flat, test=flat, threshold=0.8, history=[{"loss": 0.5}]))
    assert Page(render(card)).count("svg") == 6
