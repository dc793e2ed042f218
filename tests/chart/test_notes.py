"""The text that helm prints after an installation, without a cluster: the images, and those without a digest."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.chart.helm import CHART, must

pytestmark = pytest.mark.usefixtures("each_helm")

DIGEST = f"sha256:{'7' * 64}"
IMAGE = {"repository": "registry.test/runs", "tag": "1"}
COMMANDS = {"repository": "registry.test/commands", "tag": "1"}
REPLACED = (
    "WARNING: {0} has no digest, so the registry can replace the image behind its tag. Set {0}.digest to the value that docker push prints."
)


def notes(folder: Path, values: Mapping[str, Any]) -> str:
    """`helm template` does not render this text. So a copy of the chart has it in an object."""
    chart = Path(shutil.copytree(CHART, folder / "chart"))
    (chart / "templates" / "NOTES.txt").rename(chart / "NOTES.txt")
    (chart / "templates" / "notes.yaml").write_text('notes: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}\n')
    (folder / "values.yaml").write_text(json.dumps(dict(values)))
    rendered = must("template", "any", str(chart), "--values", str(folder / "values.yaml"), "--show-only", "templates/notes.yaml")
    return str(yaml.safe_load(rendered)["notes"])


def warnings_about_digests(text: str) -> list[str]:
    return re.findall(r"^WARNING: .*digest.*$", text, re.MULTILINE)


def test_images_without_a_digest_are_named(tmp_path: Path):
    text = notes(tmp_path, {"job": {"image": IMAGE}, "controller": {"image": COMMANDS}})

    assert "Images:\n  runs      registry.test/runs:1\n  commands  registry.test/commands:1\n" in text
    assert warnings_about_digests(text) == [REPLACED.format("controller.image"), REPLACED.format("job.image")]


def test_images_with_digests_are_printed_with_them(tmp_path: Path):
    models = f"registry.test/models@{DIGEST}"
    job = {"image": {**IMAGE, "digest": DIGEST}, "volumes": {"baseModels": {"image": {"reference": models}}}}

    text = notes(tmp_path, {"job": job, "controller": {"image": {**COMMANDS, "digest": DIGEST}}})

    assert f"Images:\n  runs      registry.test/runs@{DIGEST}\n  commands  registry.test/commands@{DIGEST}\n" in text
    assert warnings_about_digests(text) == []


def test_base_models_without_a_digest_are_named(tmp_path: Path):
    job = {"image": {**IMAGE, "digest": DIGEST}, "volumes": {"baseModels": {"image": {"reference": "registry.test/models:1"}}}}

    text = notes(tmp_path, {"job": job, "controller": {"image": {**COMMANDS, "digest": DIGEST}}})

    assert warnings_about_digests(text) == [
        "WARNING: job.volumes.baseModels.image.reference is registry.test/models:1, without a digest, so the registry can replace the "
        "base models. Append @ and the digest that docker push prints."
    ]
