"""preflight: a line per finding, with its remedy, and an exit code."""

import json

from tools.installation import Installation


def test_each_finding_is_a_line_and_an_error_is_exit_code_1(installation: Installation):
    done = installation.manage("preflight", "--only", "models", "base-models", "--output", "json", GREGORY_BASE_MODELS="/nowhere")

    findings = json.loads(done.stdout)
    assert [(finding["area"], finding["verdict"]) for finding in findings] == [("models", "ok"), ("base-models", "error")]
    assert "prepare_base_models" in findings[1]["words"]
    assert done.returncode == 1
    assert "1 of 2 findings are errors" in done.stderr
