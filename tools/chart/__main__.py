"""Writes the generated files again: part `job` of the schema, the chart's README, k8s/ and the golden objects."""

import yaml

from tools.chart import monitoring, plain, readme, schema
from tools.chart.helm import DEFAULT, PAGES, PREDICTIONS, default, pages, predictions

schema.FILE.write_text(schema.generated(), encoding="utf-8")
readme.FILE.write_text(readme.generated(), encoding="utf-8")
for name, text in plain.generated().items():
    (plain.FOLDER / name).write_text(text, encoding="utf-8")
DEFAULT.write_text(default(), encoding="utf-8")
PREDICTIONS.write_text(predictions(), encoding="utf-8")
PAGES.write_text(pages(), encoding="utf-8")
monitoring.FILE.write_text(yaml.safe_dump_all(monitoring.objects(), sort_keys=False, width=140), encoding="utf-8")
