"""Writes the generated files again: part `job` of the schema, the chart's README, k8s/ and the golden default."""

from tools.chart import plain, readme, schema
from tools.chart.helm import CHART, DEFAULT, NAMESPACE, RELEASE, must

schema.FILE.write_text(schema.generated(), encoding="utf-8")
readme.FILE.write_text(readme.generated(), encoding="utf-8")
for name, text in plain.generated().items():
    (plain.FOLDER / name).write_text(text, encoding="utf-8")
DEFAULT.write_text(must("template", RELEASE, str(CHART), "--namespace", NAMESPACE), encoding="utf-8")
