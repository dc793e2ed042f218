"""The house holds: import contracts, and an operator's side that works without the training libraries."""

import subprocess
import sys
from pathlib import Path

from tools.installation import REPOSITORY, Installation

HEAVY = (
    "tensorflow",
    "keras",
    "keras_hub",
    "transformers",
    "lightgbm",
    "sklearn",
    "numpy",
    "pandas",
    "matplotlib",
    "ctranslate2",
    "jinja2",
)

# A finder that refuses them proves more than looking into sys.modules afterwards: a guarded import would hide there.
WITHOUT_HEAVY = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError("the operator's side must not import " + name)
sys.meta_path.insert(0, Refuse())
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv[1:])
"""


def test_the_import_contracts_hold():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_the_operators_side_loads_no_training_library(installation: Installation):
    installation.must("load_demo")

    for command in (
        ["train_models", "--all-teams", "--dry-run"],
        ["reconcile_runs", "--once"],
        ["training_runs", "list"],
        ["verify_models"],
        ["models", "list"],
        ["prepare_base_models", "--demo"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_HEAVY, "manage.py", *command],
            cwd=REPOSITORY,
            env=installation.environment,
            capture_output=True,
            text=True,
        )

        assert done.returncode == 0, (command, done.stderr)


def test_the_probe_itself_refuses():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HEAVY.replace("from django", "import numpy\nfrom django")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )

    assert "must not import numpy" in done.stderr


def test_the_environment_is_read_in_one_module_only():
    readers = [
        path.relative_to(REPOSITORY).as_posix()
        for package in ("gregory", "job")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        if "os.environ.get" in path.read_text() or "getenv" in path.read_text()
    ]

    assert readers == []
