"""What only the local runner does: files of the run's folder."""

import sys
from pathlib import Path

from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Rendered
from tests.launch.example_run import at_once
from tools.launch_installation import installation


def test_the_log_files_of_every_attempt_stay_until_the_run_is_forgotten(spec, tmp_path: Path):
    runner = LocalRunner(installation(tmp_path))
    speaks = "import sys; print('attempt', sys.argv[1], flush=True); sys.exit('end of ' + sys.argv[1])"
    for attempt in (1, 2):
        again = spec.model_copy(update={"attempt": attempt})
        handle = runner.submit(Rendered(spec=again, request={"command": [sys.executable, "-c", speaks, str(attempt)], "environment": {}}))
        list(runner.logs(again, handle, waiting=at_once))
        assert runner.observe([handle])[0].text.endswith(f"its log:\nend of {attempt}")

    folder = tmp_path / ".runs" / spec.run_id
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "events-1.jsonl": "attempt 1\n",
        "stderr-1.log": "end of 1\n",
        "events-2.jsonl": "attempt 2\n",
        "stderr-2.log": "end of 2\n",
    }

    runner.cleanup(spec)

    assert list((tmp_path / ".runs").iterdir()) == []


def test_a_run_is_python_m_job_on_a_lifeline(spec, tmp_path: Path):
    request = LocalRunner(installation(tmp_path)).render(spec).request

    assert request["command"] == [sys.executable, "-m", "job"]
    assert (request["environment"]["GREGORY_EVENT_FORMAT"], request["environment"]["GREGORY_LIFELINE"]) == ("json", "1")
