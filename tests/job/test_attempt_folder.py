"""The next attempt begins with the finished work of the last one, and nothing that an old process writes reaches it."""

from pathlib import Path

import pytest

from gregory.ml.run_folder import RunFolder
from job import attempt_folder
from job.attempt_folder import take_over
from tests.file_systems import exfat


def of_run(models: Path) -> RunFolder:
    return RunFolder(models_dir=models, team="team", subject="subject", run_id="0123456789ab")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return finished_work(tmp_path)


def finished_work(models: Path) -> Path:
    """Attempt 1: one finished stage, one interrupted stage."""
    folder = of_run(models).stages()
    files = {
        "summarise/in/articles.jsonl": "articles",
        "summarise/in/request.json": "request",
        "summarise/out/examples.jsonl": "examples",
        "summarise/out/result.json": "result",
        "summarise/usage.json": "usage",
        "summarise/stderr.log": "log",
        "train-lstm/in/request.json": "request",
        "train-lstm/in/articles.partial": "unfinished",
        "train-lstm/out.kept/fit.npz": "epoch 3",
        "train-lstm/out.kept/fit.partial": "unfinished",
        "train-lstm/out.kept/rounds.jsonl": "round 1\n",
        "train-lstm/out.partial/weights": "unfinished",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


TAKEN = {
    "summarise/in/articles.jsonl": "articles",
    "summarise/in/request.json": "request",
    "summarise/out/examples.jsonl": "examples",
    "summarise/out/result.json": "result",
    "summarise/usage.json": "usage",
    "train-lstm/in/request.json": "request",
    "train-lstm/out.kept/fit.npz": "epoch 3",
    "train-lstm/out.kept/rounds.jsonl": "round 1\n",
}


def test_the_next_attempt_has_a_folder_of_its_own_with_the_finished_work(first: Path, tmp_path: Path):
    large = {name: (first / name).stat().st_ino for name in ("summarise/out/examples.jsonl", "train-lstm/out.kept/fit.npz")}

    second = take_over(of_run(tmp_path), 2)

    assert (second.name, content(second)) == ("stages-2", TAKEN)
    assert {name: (second / name).stat().st_ino for name in large} == large
    assert [path.name for path in of_run(tmp_path).path.iterdir()] == ["stages-2"]


def test_an_old_process_that_still_writes_changes_nothing(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It has files open, truncates small files, and replaces its checkpoint."""
    monkeypatch.setattr(attempt_folder.shutil, "rmtree", lambda *args, **options: None)
    rounds = (first / "train-lstm/out.kept/rounds.jsonl").open("a")
    second = take_over(of_run(tmp_path), 2)

    with rounds:
        rounds.write("round 2 of the old process\n")
    for name in ("summarise/in/request.json", "summarise/usage.json"):
        (first / name).write_text("of the old process")
    (first / "train-lstm/out.kept/fit.partial").replace(first / "train-lstm/out.kept/fit.npz")
    (first / "summarise/out/examples.jsonl").unlink()

    assert content(second) == TAKEN


def test_an_attempt_that_begins_again_keeps_its_folder(first: Path, tmp_path: Path):
    second = take_over(of_run(tmp_path), 2)
    (second / "summarise/out/result.json").unlink()
    (second / "summarise/out/result.json").write_text("its own")

    assert content(take_over(of_run(tmp_path), 2))["summarise/out/result.json"] == "its own"


def test_the_latest_attempt_is_continued_however_many_lie_between(first: Path, tmp_path: Path):
    take_over(of_run(tmp_path), 2)

    assert content(take_over(of_run(tmp_path), 11)) == TAKEN


def test_a_takeover_that_was_killed_is_repeated(first: Path, tmp_path: Path):
    unfinished = of_run(tmp_path).path / "stages-2.partial" / "summarise" / "out"
    unfinished.mkdir(parents=True)
    (unfinished / "examples.jsonl").write_text("half")

    assert content(take_over(of_run(tmp_path), 2)) == TAKEN


def test_a_stage_that_its_old_process_removes_meanwhile_is_left_out(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    link_or_copy = attempt_folder.link_or_copy

    def vanishes(source: Path, target: Path) -> None:
        if source.parent.name == "out":
            source.unlink()
        link_or_copy(source, target)

    monkeypatch.setattr(attempt_folder, "link_or_copy", vanishes)

    assert content(take_over(of_run(tmp_path), 2)) == {name: text for name, text in TAKEN.items() if "/out/" not in name}


def test_links_and_pipes_are_not_taken(first: Path, tmp_path: Path):
    (first / "summarise/out/link").symlink_to("/dev/zero")
    attempt_folder.os.mkfifo(first / "train-lstm/out.kept/pipe")

    assert content(take_over(of_run(tmp_path), 2)) == TAKEN


def test_the_first_attempt_begins_with_nothing(tmp_path: Path):
    assert content(take_over(of_run(tmp_path), 1)) == {}


def test_all_folders_of_a_run_are_removed(first: Path, tmp_path: Path):
    of_run(tmp_path).stages(3).mkdir()

    attempt_folder.remove_all(of_run(tmp_path))

    assert list(of_run(tmp_path).path.iterdir()) == []


@pytest.mark.root
def test_on_a_file_system_without_links_the_work_is_copied(tmp_path: Path):
    models = tmp_path / "models"
    models.mkdir()
    with exfat(models):
        first = finished_work(models)
        times = (first / "summarise/out/examples.jsonl").stat().st_mtime_ns

        second = take_over(of_run(models), 2)

        assert content(second) == TAKEN
        assert (second / "summarise/out/examples.jsonl").stat().st_mtime_ns == times
        assert [path.name for path in of_run(models).path.iterdir()] == ["stages-2"]
