"""A killed preparation leaves no bundle, and the next preparation removes its files."""

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gregory.ml.base_models import REMEDY, BundleDescription, BundlePart, describe_files, open_bundle, prepare, verify_bundle
from gregory.ml.errors import BundleError
from gregory.ml.progress import silent
from tests.file_systems import exfat, ext4, tmpfs
from tools.installation import REPOSITORY

BUNDLE = ["bundle.json", "encoder", "summariser"]
FILLING = """
import sys, time
from pathlib import Path
from gregory.ml.base_models import prepare
from gregory.ml.progress import silent

def fill(folder):
    (folder / "encoder").mkdir()
    (folder / "encoder" / "model.safetensors").write_bytes(b"half")
    print("filling", flush=True)
    time.sleep(600)

prepare(Path(sys.argv[1]), name="gregory", fill=fill, report=silent)
"""


def fill(folder: Path) -> BundleDescription:
    """A bundle of two small files."""
    parts = {}
    for name in ("encoder", "summariser"):
        (folder / name / "int8").mkdir(parents=True)
        (folder / name / "int8" / "model.bin").write_bytes(name.encode())
        parts[name] = BundlePart(source="s", revision="r", licence="l", files=describe_files(folder / name))
    return BundleDescription(name="gregory", **parts)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def filling(root: Path) -> subprocess.Popen[str]:
    """A running preparation."""
    process = subprocess.Popen([sys.executable, "-c", FILLING, str(root)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "filling\n"
    return process


def test_after_a_kill_there_is_no_bundle_and_the_next_preparation_cleans_up(tmp_path: Path):
    root = tmp_path / "base_models"
    with filling(root) as process:
        process.send_signal(signal.SIGKILL)
    with pytest.raises(BundleError) as caught:
        open_bundle(root)
    assert str(caught.value) == f"{root / 'bundle.json'} cannot be read: No such file or directory; {REMEDY}"
    assert len(list(root.iterdir())) == 1

    bundle = prepare(root, name="gregory", fill=fill, report=silent)

    assert list(bundle.description.encoder.files) == ["int8/model.bin"]
    assert (list(tmp_path.iterdir()), names(root)) == ([root], BUNDLE)


@pytest.mark.parametrize("moves", range(8))
def test_a_preparation_that_ends_between_two_moves_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int):
    """A damaged bundle is replaced: the trial, three parts away, three parts to their places."""
    root = tmp_path / "base_models"
    prepare(root, name="gregory", fill=fill, report=silent)
    (root / "encoder" / "int8" / "model.bin").write_bytes(b"damaged")
    rename, done = Path.rename, []

    def ends(path: Path, target: Path) -> Path:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(target)
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", ends)
        if moves < 7:
            with pytest.raises(KeyboardInterrupt):
                prepare(root, name="gregory", fill=fill, report=silent)
            with pytest.raises(BundleError):
                verify_bundle(root)
        else:
            prepare(root, name="gregory", fill=fill, report=silent)

    assert prepare(root, name="gregory", fill=fill, report=silent).description.name == "gregory"
    assert (root / "encoder" / "int8" / "model.bin").read_bytes() == b"encoder"
    assert names(root) == BUNDLE


@pytest.mark.root
@pytest.mark.parametrize("volume", [ext4, tmpfs, exfat])
def test_a_bundle_is_made_in_a_mounted_volume(tmp_path: Path, volume: Callable[[Path], AbstractContextManager[None]]):
    root = tmp_path / "base_models"
    root.mkdir()
    with volume(root):
        before = names(root)

        prepare(root, name="gregory", fill=fill, report=silent)
        (root / "encoder" / "int8" / "model.bin").write_bytes(b"damaged")
        prepare(root, name="gregory", fill=fill, report=silent)

        assert verify_bundle(root).description.name == "gregory"
        assert names(root) == sorted([*BUNDLE, *before])
        assert before == (["lost+found"] if volume is ext4 else [])
    assert names(root) == []


@pytest.mark.root
def test_a_part_that_is_a_mount_is_refused_before_any_work(tmp_path: Path):
    root = tmp_path / "base_models"
    (root / "encoder").mkdir(parents=True)
    with tmpfs(root / "encoder"), pytest.raises(BundleError, match=r"a volume is mounted there; mount it one folder higher: '.*/encoder'$"):
        prepare(root, name="gregory", fill=lambda folder: pytest.fail("work"), report=silent)


def test_the_folder_of_a_running_preparation_is_not_removed(tmp_path: Path):
    root = tmp_path / "base_models"
    with filling(root) as process:
        (theirs,) = root.iterdir()

        prepare(root, name="gregory", fill=fill, report=silent)

        assert (theirs / "bundle" / "encoder" / "model.safetensors").read_bytes() == b"half"
        process.send_signal(signal.SIGKILL)


def test_only_the_flag_lets_the_real_bundle_replace_a_demo_bundle(tmp_path: Path):
    root = tmp_path / "base_models"
    prepare(root, name="demo", fill=lambda folder: fill(folder).model_copy(update={"name": "demo"}), report=silent)

    with pytest.raises(BundleError) as caught:
        prepare(root, name="gregory", fill=fill, report=silent)
    assert str(caught.value) == f"{root} holds the demo bundle: give --replace-demo to put the gregory bundle in its place"

    assert prepare(root, name="gregory", fill=fill, report=silent, replace_demo=True).description.name == "gregory"
    # In the other order, an intact bundle is not changed.
    assert prepare(root, name="demo", fill=fill, report=silent).description.name == "gregory"
    assert (list(tmp_path.iterdir()), names(root)) == ([root], BUNDLE)


@pytest.mark.parametrize("replace_demo", [False, True])
def test_only_a_real_bundle_replaces_a_damaged_real_bundle(tmp_path: Path, replace_demo: bool):
    root = tmp_path / "base_models"
    prepare(root, name="gregory", fill=fill, report=silent)
    (root / "encoder" / "int8" / "model.bin").write_bytes(b"eNcoder")

    with pytest.raises(BundleError) as caught:
        prepare(root, name="demo", fill=fill, report=silent, replace_demo=replace_demo)
    expected = f"{root} holds the damaged bundle 'gregory': copy it there again, or remove the folder for the demo bundle"
    assert str(caught.value) == expected
    assert prepare(root, name="gregory", fill=fill, report=silent).description.name == "gregory"
    assert (root / "encoder" / "int8" / "model.bin").read_bytes() == b"encoder"
