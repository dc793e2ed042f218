"""The real bundle with tiny models: from folders, from a hub, its content, its use, and refused sources."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gregory.ml.base_models import verify_bundle
from gregory.ml.config import SummariserConfig
from gregory.ml.files import sha256
from gregory.ml.preparation.pins import ENCODER, PICKLE, SAFETENSORS, SUMMARISER
from gregory.ml.summarise import load_summariser
from tests.preparation.fetching import Run
from tests.preparation.hub_server import serving
from tests.tiny_bundle import tiny_bundle
from tools.installation import REPOSITORY

FILES = {
    "encoder": {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"},
    "summariser": {
        *(f"{stored}/{name}" for stored in ("float16", "int8") for name in ("config.json", "model.bin", "shared_vocabulary.json")),
        "generation.json",
        "summariser.json",
        "tokenizer.json",
    },
}


@pytest.fixture(scope="module")
def prepared(
    with_torch: Run, encoder_source: Path, summariser_source: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """The bundle from two folders, and the output of the command."""
    root = tmp_path_factory.mktemp("prepared") / "base_models"
    folders = ["--encoder-dir", encoder_source, "--summariser-dir", summariser_source, "--encoder-sha256", sha256(encoder_source / PICKLE)]
    # A hub that does not exist, so a request to it fails.
    done = with_torch("manage.py", "prepare_base_models", *folders, GREGORY_BASE_MODELS=root, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    return root, done.stdout.splitlines()


def without_torch(*arguments: object, root: Path) -> subprocess.CompletedProcess[str]:
    """The command in the environment of the project."""
    command = [sys.executable, "manage.py", "prepare_base_models", *map(str, arguments)]
    environment = {**os.environ, "GREGORY_BASE_MODELS": str(root), "HF_ENDPOINT": "http://127.0.0.1:9"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


# The content


def test_a_bundle_from_folders_has_both_models_and_their_origin(prepared: tuple[Path, list[str]]):
    root, _ = prepared
    description = verify_bundle(root).description

    assert {"encoder": set(description.encoder.files), "summariser": set(description.summariser.files)} == FILES
    assert description.name == "gregory"
    assert (description.encoder.source, description.encoder.revision, description.encoder.licence) == (
        "the folder tiny-bert",
        "unknown",
        "unknown",
    )
    assert list(root.parent.iterdir()) == [root]


def test_each_step_and_the_result_of_the_checks_are_reported(prepared: tuple[Path, list[str]]):
    root, said = prepared

    assert [line for line in said if not line.startswith("checked")] == [
        "converting the encoder to safetensors",
        "converting the summariser to int8",
        "converting the summariser to float16",
        f"the gregory bundle is ready in {root}",
    ]
    difference = re.fullmatch(r"checked: the encoder differs from torch by (\S+) at most", said[3])
    assert difference is not None
    assert float(difference[1]) < 1e-5
    assert re.fullmatch(r"checked: the summariser wrote \d+ words", said[4])


def test_every_file_has_the_permissions_of_the_umask(prepared: tuple[Path, list[str]]):
    umask = os.umask(0)
    os.umask(umask)

    assert {path.stat().st_mode & 0o777 for path in prepared[0].rglob("*") if path.is_file()} == {0o666 & ~umask}


def test_the_summariser_has_the_settings_of_its_own_configuration(prepared: tuple[Path, list[str]]):
    assert json.loads((prepared[0] / "summariser" / "generation.json").read_text()) == {
        "num_beams": 4,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "min_length": 8,
        "forced_bos_token": "<s>",
        "forced_eos_token": "</s>",
        "positions": 1024,
    }


def test_the_trainer_s_code_loads_the_encoder_without_torch(prepared: tuple[Path, list[str]]):
    from gregory.ml.trainers.bert import encode
    from gregory.ml.trainers.bert_encoder import load_backbone, load_tokenizer, require_match

    folder = prepared[0] / "encoder"
    backbone, tokenizer = load_backbone(folder), load_tokenizer(folder)
    require_match(tokenizer, backbone, folder)

    assert backbone.num_layers == 2
    # No limit of 128 in tokenizer.json, the two special tokens, and the words.
    assert len(encode(tokenizer, ["lesion " * 200], 512)[0]) == 202


def test_the_stage_s_code_loads_the_summariser_without_torch(prepared: tuple[Path, list[str]]):
    summariser = load_summariser(prepared[0] / "summariser", SummariserConfig(), threads=1)

    assert all(summariser.summarise(["relapse lesion fatigue", "dose and risk were reduced"]))


# From the hub


def test_a_bundle_from_the_hub_has_the_same_bytes_and_the_pinned_origin(
    with_torch: Run, sources: Path, encoder_source: Path, summariser_source: Path, prepared: tuple[Path, list[str]], tmp_path: Path
):
    encoder = {path.name: path.read_bytes() for path in encoder_source.iterdir()}
    summariser = {path.name: path.read_bytes() for path in summariser_source.iterdir()}
    root = tmp_path / "base_models"
    checksums = ["--encoder-sha256", sha256(encoder_source / PICKLE), "--summariser-sha256"]
    with serving({ENCODER.repository: {ENCODER.revision: encoder}, SUMMARISER.repository: {SUMMARISER.revision: summariser}}) as hub:
        variables = {"GREGORY_BASE_MODELS": root, "HF_ENDPOINT": hub.url, "HF_HOME": tmp_path / "hub"}
        tiny = sha256(summariser_source / SAFETENSORS)
        done = with_torch("manage.py", "prepare_base_models", *checksums, tiny, **variables)
        # A checksum of the release has precedence over that of the operator.
        assert f"states the sha256 {tiny} instead of {SUMMARISER.sha256[SAFETENSORS]}; check HF_ENDPOINT; " in done.stderr
        assert not root.exists()
        summariser[PICKLE] = (sources / PICKLE).read_bytes()
        del summariser[SAFETENSORS]
        hub.asked.clear()
        done = with_torch("manage.py", "prepare_base_models", *checksums, hashlib.sha256(summariser[PICKLE]).hexdigest(), **variables)
        assert done.returncode == 0, done.stderr
        # The first attempt has stored the encoder.
        assert {name for name, _ in hub.downloads()} == summariser.keys()
    assert "\r" not in done.stdout
    made, folders = verify_bundle(root).description, verify_bundle(prepared[0]).description
    assert (made.encoder.source, made.encoder.revision, made.encoder.licence) == (ENCODER.repository, ENCODER.revision, "MIT")
    assert made.summariser.revision == "37f520fa929c961707657b28798b30c003dd100b"
    assert made.encoder.note.startswith(
        f"Converted from {PICKLE}, sha256 {sha256(encoder_source / PICKLE)}, to safetensors by transformers"
    )
    assert made.encoder.files == folders.encoder.files
    assert made.summariser.files == folders.summariser.files


# A present bundle


def test_an_intact_bundle_is_not_changed_and_needs_no_torch(prepared: tuple[Path, list[str]]):
    done = without_torch(root=prepared[0])

    assert (done.returncode, done.stdout) == (0, f"{prepared[0]} holds an intact bundle, gregory: nothing to do\n")


def test_without_torch_the_remedy_comes_before_any_download(tmp_path: Path):
    done = without_torch(root=tmp_path / "base_models")

    assert done.returncode == 1
    assert done.stderr == (
        "CommandError: torch is not installed, and the conversion of the models needs it: run make base-models, "
        "or pip install --require-hashes -r locks/requirements-prepare.lock\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_demo_bundle_is_replaced_only_with_the_flag(tmp_path: Path):
    root = tiny_bundle(tmp_path / "base_models")
    (root / "bundle.json").write_text((root / "bundle.json").read_text().replace('"tiny"', '"demo"'))

    done = without_torch(root=root)

    assert done.returncode == 1
    assert done.stderr == f"CommandError: {root} holds the demo bundle: give --replace-demo to put the gregory bundle in its place\n"
    # Then the preparation starts, and the next missing part is torch.
    assert "torch is not installed" in without_torch("--replace-demo", root=root).stderr
    assert verify_bundle(root).description.name == "demo"


# Errors


def test_wrong_sources_are_named(with_torch: Run, encoder_source: Path, summariser_source: Path, tmp_path: Path):
    def changed(source: Path, name: str, file: str, change: dict[str, object]) -> Path:
        folder = shutil.copytree(source, tmp_path / name)
        settings = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**settings, **change}))
        return folder

    eager = changed(summariser_source, "eager", "generation_config.json", {"early_stopping": False})
    diverse = changed(summariser_source, "diverse", "generation_config.json", {"repetition_penalty": 1.5})
    larger = changed(encoder_source, "larger", "config.json", {"num_hidden_layers": 3})
    broken = shutil.copytree(encoder_source, tmp_path / "broken")
    (broken / "pytorch_model.bin").write_bytes(b"<html>not found</html>")
    no_words = shutil.copytree(encoder_source, tmp_path / "no_words")
    (no_words / "vocab.txt").unlink()
    attempts = [["encoder", path] for path in (summariser_source, larger, broken, no_words)]
    attempts += [["bart", path] for path in (encoder_source, eager, diverse)]
    code = f"""
import json, sys
from pathlib import Path
from gregory.ml.errors import BundleError
from gregory.ml.preparation import bart, encoder
from gregory.ml.progress import silent
said = []
for number, (kind, source) in enumerate({[[kind, str(path)] for kind, path in attempts]!r}):
    target = Path({str(tmp_path)!r}, f"out{{number}}")
    targets = [target, target] if kind == "encoder" else [target]
    try:
        {{"encoder": encoder, "bart": bart}}[kind].convert(Path(source), *targets, report=silent)
    except BundleError as error:
        said.append(str(error))
print(json.dumps(said))
"""
    done = with_torch("-c", code)

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said[0] == f"{summariser_source} holds a model of the type bart: the encoder must be a BERT"
    assert (
        said[1] == f"{larger} holds no complete BERT: 16 weights are missing, the first is encoder.layer.2.attention.output.LayerNorm.bias"
    )
    assert said[2].startswith(f"{broken} holds no BERT that torch can read: ")
    assert said[3] == f"{no_words} holds neither tokenizer.json nor vocab.txt"
    assert said[4] == f"{encoder_source} holds a model of the type bert: the summariser must be a BART"
    assert said[5] == f"{eager}: early_stopping is False, but CTranslate2's beams stop as with true"
    assert said[6] == f"{diverse}: the generation setting repetition_penalty = 1.5 has no counterpart in CTranslate2"


@pytest.mark.parametrize("option", ["--encoder-dir", "--summariser-dir"])
def test_a_missing_folder_is_named(with_torch: Run, encoder_source: Path, tmp_path: Path, option: str):
    other = {"--encoder-dir": "--summariser-dir", "--summariser-dir": "--encoder-dir"}[option]
    arguments = [option, tmp_path / "absent", other, encoder_source, "--encoder-sha256", sha256(encoder_source / PICKLE)]
    done = with_torch("manage.py", "prepare_base_models", *arguments, GREGORY_BASE_MODELS=tmp_path / "base_models")

    assert done.returncode == 1
    assert done.stderr == f"CommandError: {option}: there is no folder {tmp_path / 'absent'}\n"
