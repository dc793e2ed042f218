"""docs/monitoring.md: the command serves what its table lists."""

import shlex
import time
from urllib.error import URLError
from urllib.request import urlopen

from tests.docs.markdown import blocks, read, table
from tests.measurements import labels_of_metrics
from tools.installation import Installation
from tools.ports import free_port

DOCUMENT = "docs/monitoring.md"


def test_the_command_serves_metrics(installation: Installation):
    (command,) = [block.text for block in blocks(DOCUMENT) if "GREGORY_METRICS_PORT" in block.text]
    setting, _, *arguments = [word for word in shlex.split(command) if word != "python"]
    documented = setting.removeprefix("GREGORY_METRICS_PORT=")
    assert f"http://127.0.0.1:{documented}/metrics" in read(DOCUMENT)
    port = free_port()

    with installation.start(*arguments, GREGORY_METRICS_PORT=str(port)) as process:
        until = time.monotonic() + 300
        text = ""
        while "gregory_unknown_runs" not in text:
            assert process.poll() is None
            assert time.monotonic() < until, text
            try:
                with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    text = answer.read().decode()
            except (URLError, ConnectionError):
                time.sleep(0.2)


def test_the_table_lists_every_metric_with_its_labels():
    rows = table(DOCUMENT, "metric")

    assert {name.strip("`"): {label.strip("`") for label in labels.split(", ") if label} for name, labels, _ in rows} == labels_of_metrics()
