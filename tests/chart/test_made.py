"""What is made from something else is up to date: the schema's part `job`, the chart's README, k8s/, and the golden default."""

import yaml

from tools.chart import plain, readme, schema
from tools.chart.helm import CHART, DEFAULT, template


def test_the_schema_of_job_is_the_cluster_file_s():
    assert schema.FILE.read_text(encoding="utf-8") == schema.generated(), "make chart"


def test_the_readme_says_what_the_comments_say():
    assert readme.FILE.read_text(encoding="utf-8") == readme.generated(), "make chart"


def test_every_value_says_what_it_is_for():
    told = {key for key, _, _ in readme.values()}

    def untold(value: object, where: str) -> list[str]:
        if where in told:
            return []
        if isinstance(value, dict) and value:
            return [one for key, inner in value.items() for one in untold(inner, f"{where}.{key}".lstrip("."))]
        return [where]

    assert untold(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), "") == []


def test_the_plain_manifests_are_the_chart_s():
    found = {path.name: path.read_text(encoding="utf-8") for path in plain.FOLDER.iterdir() if path.name != "README.md"}

    assert found == plain.generated(), "make chart"


def test_the_default_is_as_it_was_reviewed():
    assert template() == list(yaml.safe_load_all(DEFAULT.read_text(encoding="utf-8"))), "make chart, and look at the difference"
