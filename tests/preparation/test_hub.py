"""Downloads from a hub: selection, checks, continuation and errors. The server belongs to the tests."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from json import dumps
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from gregory.ml.errors import BundleError
from gregory.ml.preparation.pins import Pin
from tests.preparation import fetching
from tests.preparation.hub_server import Hub, serving
from tools.installation import REPOSITORY

MODEL, REVISION = "somebody/tiny-bert", "0123456789abcdef0123456789abcdef01234567"
# The client reads blocks of ten megabytes. Before the first block there is no partial download.
CHUNK = 10 * 1024 * 1024
WEIGHTS = bytes(range(256)) * (5 * CHUNK // 2 // 256)
KNOWN = {"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()}
SMALL = {"config.json": b'{"model_type": "bert"}', "vocab.txt": b"[PAD]\n"}
REMEDY = "without a network give the model's folder with --encoder-dir"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with one model in all formats."""
    others = {
        "tf_model.h5": b"tf",
        "flax_model.msgpack": b"flax",
        "model.onnx": b"onnx",
        "README.md": b"# read me",
        "pytorch_model.bin": b"bin",
    }
    with serving({MODEL: {REVISION: {**SMALL, **others, "model.safetensors": WEIGHTS}}}) as hub:
        yield hub


def pin(**changes: object) -> dict[str, object]:
    return {"repository": MODEL, "revision": REVISION, "licence": "MIT", "part": "encoder", "sha256": KNOWN, **changes}


def command() -> list[str]:
    return [sys.executable, "-m", "tests.preparation.fetching", dumps(pin())]


def environment(hub: Hub, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and not name.lower().endswith("_proxy")}
    return {**kept, "HF_ENDPOINT": hub.url, "HF_HOME": str(home)}


def fetch(hub: Hub, home: Path, **changes: object) -> tuple[list[str], str]:
    """The messages of a download, with its folder as the last, and the error. The library reads the variables when it is imported."""
    given = {
        "ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "HF_HUB_OFFLINE": False,
    }  # fmt: skip
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        for name, value in given.items():
            patch.setattr(constants, name, value)
        close_session()
        try:
            folder = fetching.fetch(Pin(**pin(**changes)), report=lambda progress: said.append(progress.message))
        except BundleError as error:
            return said, str(error)
        finally:
            close_session()
    return [*said, str(folder)], ""


def kept(home: Path) -> Path:
    return home / "gregory" / "somebody--tiny-bert" / REVISION


def test_only_the_needed_files_are_downloaded_and_reported(hub: Hub, tmp_path: Path):
    """As a process, with HF_ENDPOINT and HF_HOME."""
    done = subprocess.run(command(), cwd=REPOSITORY, env=environment(hub, tmp_path), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert hub.downloads() == [("config.json", ""), ("vocab.txt", ""), ("model.safetensors", "")]
    assert done.stdout.splitlines() == [
        f"downloading config.json of {MODEL}, 22 bytes",
        f"checking config.json of {MODEL}, 22 bytes",
        f"config.json has the sha256 {hashlib.sha256(SMALL['config.json']).hexdigest()}, which this release does not compare",
        f"downloading vocab.txt of {MODEL}, 6 bytes",
        f"checking vocab.txt of {MODEL}, 6 bytes",
        f"vocab.txt has the sha256 {hashlib.sha256(SMALL['vocab.txt']).hexdigest()}, which this release does not compare",
        f"downloading model.safetensors of {MODEL}, 26,214,400 bytes",
        f"checking model.safetensors of {MODEL}, 26,214,400 bytes",
        str(kept(tmp_path)),
    ]
    assert {path.name: path.read_bytes() for path in kept(tmp_path).iterdir()} == {**SMALL, "model.safetensors": WEIGHTS}


def test_weights_without_a_known_checksum_are_not_downloaded(hub: Hub, tmp_path: Path):
    expected = (
        f"model.safetensors of {MODEL} at {REVISION} was not downloaded: {hub.url} states the sha256 {KNOWN['model.safetensors']}, "
        f"which this release does not know; compare it with https://huggingface.co/{MODEL}/blob/{REVISION}/model.safetensors "
        "and give --encoder-sha256 with that value"
    )
    assert fetch(hub, tmp_path, sha256={})[1] == expected
    assert hub.downloads() == []


def test_weights_with_the_checksum_of_the_operator_are_downloaded(hub: Hub, tmp_path: Path):
    assert fetch(hub, tmp_path, sha256={}, given=KNOWN["model.safetensors"])[1] == ""
    assert hub.downloads()[-1] == ("model.safetensors", "")


def test_a_pickle_of_a_mirror_is_not_downloaded(hub: Hub, tmp_path: Path):
    """The mirror offers only the file of torch, and states its own checksum of it."""
    del hub.models[MODEL][REVISION]["model.safetensors"]

    refusal = fetch(hub, tmp_path)[1]

    assert refusal.startswith(f"pytorch_model.bin of {MODEL} at {REVISION} was not downloaded: {hub.url} states the sha256 ")
    assert hub.downloads() == []


def test_the_file_of_torch_is_used_with_a_known_checksum(hub: Hub, tmp_path: Path):
    assert fetch(hub, tmp_path, sha256={"pytorch_model.bin": hashlib.sha256(b"bin").hexdigest()})[1] == ""
    assert hub.downloads()[-1] == ("pytorch_model.bin", "")


def test_without_weights_for_torch_the_model_is_refused(hub: Hub, tmp_path: Path):
    for name in ("model.safetensors", "pytorch_model.bin"):
        del hub.models[MODEL][REVISION][name]

    assert fetch(hub, tmp_path)[1] == f"{MODEL} at {REVISION} holds none of model.safetensors, pytorch_model.bin"


def test_a_second_time_nothing_is_downloaded(hub: Hub, tmp_path: Path):
    fetch(hub, tmp_path)
    hub.asked.clear()

    assert fetch(hub, tmp_path)[1] == ""
    assert hub.downloads() == []


def test_files_in_the_cache_of_the_library_are_not_downloaded(hub: Hub, tmp_path: Path):
    snapshot = tmp_path / "hub" / "models--somebody--tiny-bert" / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(WEIGHTS)

    assert fetch(hub, tmp_path)[1] == ""
    assert [name for name, _ in hub.downloads()] == ["config.json", "vocab.txt"]
    assert (kept(tmp_path) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_dropped_connection_continues_at_the_same_byte(hub: Hub, tmp_path: Path):
    hub.drop_after["model.safetensors"] = CHUNK + 5

    assert fetch(hub, tmp_path)[1] == ""
    assert hub.downloads()[-2:] == [("model.safetensors", ""), ("model.safetensors", f"bytes={CHUNK}-")]
    assert (kept(tmp_path) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_killed_download_is_continued_by_the_next_one(hub: Hub, tmp_path: Path):
    hub.stall_after["model.safetensors"] = 2 * CHUNK + 5
    partial = kept(tmp_path) / "model.safetensors.partial"
    with subprocess.Popen(command(), cwd=REPOSITORY, env=environment(hub, tmp_path), stdout=subprocess.DEVNULL) as process:
        assert hub.stalled.wait(300)
        while not partial.exists() or partial.stat().st_size < 2 * CHUNK:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert not (kept(tmp_path) / "model.safetensors").exists()
    hub.asked.clear()

    said, refusal = fetch(hub, tmp_path)

    assert refusal == ""
    assert hub.downloads() == [("model.safetensors", f"bytes={2 * CHUNK}-")]
    assert f"downloading model.safetensors of {MODEL}, 26,214,400 bytes, continuing at byte 20,971,520" in said
    assert (kept(tmp_path) / "model.safetensors").read_bytes() == WEIGHTS


def test_weights_of_another_checksum_are_refused_and_removed(hub: Hub, tmp_path: Path):
    """The hub states the known checksum, and sends other bytes."""
    hub.claimed_sha256["model.safetensors"] = "0" * 64

    expected = (
        f"model.safetensors of {MODEL} at {REVISION} has the checksum {KNOWN['model.safetensors']} instead of {'0' * 64}: "
        "the file was removed, run the command again"
    )
    assert fetch(hub, tmp_path, sha256={"model.safetensors": "0" * 64})[1] == expected
    assert not (kept(tmp_path) / "model.safetensors").exists()


def test_a_hub_that_states_another_checksum_than_the_known_one_is_named(hub: Hub, tmp_path: Path):
    expected = (
        f"model.safetensors of {MODEL} at {REVISION} was not downloaded: {hub.url} states the sha256 {KNOWN['model.safetensors']} "
        f"instead of {'1' * 64}; check HF_ENDPOINT; {REMEDY}"
    )
    assert fetch(hub, tmp_path, sha256={"model.safetensors": "1" * 64})[1] == expected
    assert hub.downloads() == []


def test_a_known_checksum_of_a_small_file_is_compared_with_its_bytes_only(hub: Hub, tmp_path: Path):
    """A mirror states what it likes, also the checksum of the file that it sends."""
    hub.claimed_blob["vocab.txt"] = hashlib.sha256(SMALL["vocab.txt"]).hexdigest()

    refusal = fetch(hub, tmp_path, sha256={**KNOWN, "vocab.txt": "2" * 64})[1]

    assert refusal.startswith(
        f"vocab.txt of {MODEL} at {REVISION} has the checksum {hub.claimed_blob['vocab.txt']} instead of {'2' * 64}: "
    )


def test_a_small_file_that_was_changed_is_refused(hub: Hub, tmp_path: Path):
    fetch(hub, tmp_path)
    (kept(tmp_path) / "vocab.txt").write_bytes(b"[BAD]\n")

    refusal = fetch(hub, tmp_path)[1]

    assert refusal.startswith(f"vocab.txt of {MODEL} at {REVISION} has the checksum ")
    assert fetch(hub, tmp_path)[1] == ""


def test_an_unknown_revision_is_named(hub: Hub, tmp_path: Path):
    assert fetch(hub, tmp_path, revision="f" * 40)[1] == f"{MODEL} has no revision {'f' * 40} on {hub.url}: check HF_ENDPOINT; {REMEDY}"


def test_an_unknown_model_is_named(hub: Hub, tmp_path: Path):
    expected = f"nobody/nothing at {REVISION} is not on {hub.url}: check HF_ENDPOINT; {REMEDY}"
    assert fetch(hub, tmp_path, repository="nobody/nothing")[1] == expected


def test_another_revision_of_the_hub_is_refused(hub: Hub, tmp_path: Path):
    hub.claimed_revision = "e" * 40

    assert fetch(hub, tmp_path)[1] == f"the hub returned the revision {'e' * 40} for {MODEL} at {REVISION}"
    assert hub.downloads() == []


def test_without_a_network_the_remedy_is_named(tmp_path: Path):
    with serving({}) as closed:
        pass

    cause = "[Errno 111] Connection refused; run the command again to continue the download"
    expected = f"{MODEL} at {REVISION} cannot be downloaded from {closed.url}: {cause}; {REMEDY}"
    assert fetch(closed, tmp_path)[1] == expected


def test_a_folder_that_cannot_be_written_is_named(hub: Hub, tmp_path: Path):
    (tmp_path / "home").write_text("", encoding="utf-8")

    expected = f"{MODEL} at {REVISION} cannot be stored in {tmp_path / 'home'}: Not a directory; free space there or set HF_HOME"
    assert fetch(hub, tmp_path / "home")[1] == expected
