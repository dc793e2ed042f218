"""Generated files are current: the part `job` of the schema, the chart's README, k8s/, and the expected objects of the default values."""

from pathlib import Path

import pytest
import yaml

from tests.docs.markdown import blocks
from tools.chart import plain, readme, schema
from tools.chart.helm import CHART, DEFAULT, PAGE_VALUES, PAGES, PREDICTION_VALUES, PREDICTIONS, pages, predictions, template


def test_the_schema_of_job_is_that_of_the_cluster_file():
    assert schema.FILE.read_text(encoding="utf-8") == schema.generated(), "make chart"


def test_the_readme_has_the_comments_of_the_values():
    assert readme.FILE.read_text(encoding="utf-8") == readme.generated(), "make chart"


def test_every_value_has_a_comment():
    commented = {key for key, _, _ in readme.values()}

    def without_comment(value: object, where: str) -> list[str]:
        if where in commented:
            return []
        if isinstance(value, dict) and value:
            return [one for key, inner in value.items() for one in without_comment(inner, f"{where}.{key}".lstrip("."))]
        return [where]

    assert without_comment(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), "") == []


def test_the_plain_manifests_are_those_of_the_chart():
    found = {path.name: path.read_text(encoding="utf-8") for path in plain.FOLDER.iterdir() if path.name != "README.md"}

    assert found == plain.generated(), "make chart"


def test_the_default_objects_are_the_reviewed_ones():
    assert template() == list(yaml.safe_load_all(DEFAULT.read_text(encoding="utf-8"))), "make chart, and review the difference"


def test_the_objects_of_predictions_are_the_reviewed_ones():
    assert predictions() == PREDICTIONS.read_text(encoding="utf-8"), "make chart, and review the difference"


def test_the_objects_of_the_pages_are_the_reviewed_ones():
    assert pages() == PAGES.read_text(encoding="utf-8"), "make chart, and review the difference"


@pytest.mark.parametrize(("name", "file"), [("predictions.yaml", PREDICTION_VALUES), ("pages.yaml", PAGE_VALUES)])
def test_the_values_are_those_of_the_document(name: str, file: Path):
    (block,) = [block for block in blocks("docs/kubernetes.md") if block.name == name]

    assert yaml.safe_load(file.read_text(encoding="utf-8")) == yaml.safe_load(block.text)
