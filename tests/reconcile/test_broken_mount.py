"""A real mount without a working server under `reconcile_runs`: first it does not answer, then it gives ENOTCONN."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gregory.runs.volume import Volume, VolumeUnavailable
from tests.broken_mount import broken_mount
from tools.installation import REPOSITORY, Installation

pytestmark = pytest.mark.root


def test_a_server_that_ended_gives_an_error_and_no_absence(tmp_path: Path):
    with broken_mount(tmp_path) as server:
        server.end_server()

        with pytest.raises(VolumeUnavailable, match=r"\[Errno 107\] Transport endpoint is not connected"):
            Volume(tmp_path).is_folder(tmp_path / ".runs")


def test_a_process_with_a_hung_read_goes_on_and_obeys_sigterm(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from gregory.runs import volume; volume.SILENCE_SECONDS = 1.0\n"
        "models = volume.Volume(Path(sys.argv[1]))\n"
        "for _ in range(2):\n"
        "    try: print(models.is_folder(Path(sys.argv[1], '.runs')), flush=True)\n"
        "    except volume.VolumeUnavailable as error: print(error, flush=True)\n"
        "if sys.argv[2] == 'wait': time.sleep(600)\n"
    )
    silent = f"the models volume {tmp_path} does not answer\n"
    with broken_mount(tmp_path):
        argv = [sys.executable, "-c", code, str(tmp_path)]
        # A process that ends by itself, and one that is terminated, although a thread of each still waits for the server.
        done = subprocess.run([*argv, "end"], cwd=REPOSITORY, capture_output=True, text=True, timeout=3000, check=True)
        assert done.stdout == silent * 2
        with subprocess.Popen([*argv, "wait"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert [process.stdout.readline(), process.stdout.readline()] == [silent, silent]
            process.terminate()
            assert process.wait(timeout=300) == -signal.SIGTERM


def test_a_reconciler_survives_its_volume_and_closes_the_run_afterwards(tmp_path: Path):
    installation = Installation(tmp_path)
    installation.must("migrate", "--verbosity", "0")
    # A run whose process is this one of the shell, which has ended when the reconciler begins.
    code = (
        "import os; from gregory.launch import processes; from gregory.runs import store; from tests import database_rows as rows\n"
        "subject = rows.make_subject(rows.make_team('team'), 'subject'); here = processes.handle_of(os.getpid())\n"
        "spec = store.open_run(rows.planned(subject), runner='local', handle=here, triggered_by='a test')\n"
        "store.claim(spec, here, image_digest='')\n"
    )
    installation.must("shell", "--no-imports", "-c", code)
    run_id = installation.rows()[0]["run_id"]

    with broken_mount(installation.models) as server, installation.start("reconcile_runs", "--interval", "1") as process:
        assert process.stdout is not None
        lines = (line for line in process.stdout if line.startswith(run_id))
        waits = f"{run_id} team/subject: left alone: its end waits, because its results are not known: the models volume "
        assert next(lines) == f"{waits}{installation.models} does not answer\n"

        server.end_server()
        assert next(lines).startswith(f"{waits}cannot be used: [Errno 107] Transport endpoint is not connected: ")

        server.unmount()
        assert next(lines).startswith(f"{run_id} team/subject: closed (lost): ")
        process.terminate()
        assert process.wait(timeout=3000) == 0
    assert {(row["success"], row["reason"]) for row in installation.rows()} == {(False, "lost")}
