"""Images that run `python -m job` without TensorFlow, made without a Docker engine.

They contain Debian, the packages of this environment that a run needs, this checkout and one bundle of base models. They
train `lgbm_tfidf` as an image of Dockerfile.train does. In the image `SCRIPTED`, scripted work replaces the stages.
All images share their layers and are one archive.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gregory.launch.image import BASE_MODELS_IN_IMAGE, PROJECT_IN_IMAGE
from gregory.ml.stages.work import LIBRARIES
from tools.cluster import images
from tools.cluster.images import Image
from tools.docker_engine import CACHE, base_archive
from tools.installation import REPOSITORY

NAME = "gregory.test/slim:1"
# The same run with exit code 1 in every case, and a container that exits with code 0 and reports nothing.
EXIT_1, NO_REPORT = "gregory.test/exit-1:1", "gregory.test/no-report:1"
# `manage.py`, as the target `submit` of Dockerfile.train has it.
SUBMIT = "gregory.test/submit:1"
# Scripted work in place of the stages: a training costs no processor time.
SCRIPTED = "gregory.test/scripted:1"
PYTHON = (3, 11)
REMEDY = "the base image contains Python 3.11 and takes its packages from this environment; make setup PYTHON=python3.11"
PACKAGES = "/usr/local/lib/python3.11/dist-packages"
# Those of the commands, and those of the algorithm that trains in the image.
_REQUIREMENTS = (REPOSITORY / "requirements-submit.txt").read_text(encoding="utf-8")
NEEDED = (
    *re.findall(r"^([\w.\[\]-]+)==", _REQUIREMENTS, re.MULTILINE),
    "pandas", "lightgbm", "scikit-learn", "jinja2", "matplotlib", "safetensors",
)  # fmt: skip
RUN = ["/usr/local/bin/dumb-init", "--", "python3", "-m", "job"]
COMMAND = ["/usr/local/bin/dumb-init", "--", "python3", "manage.py"]
VARIABLES = {
    "HOME": "/tmp", "USER": "gregory", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "LD_LIBRARY_PATH": "/usr/local/lib/openmp",
    "GREGORY_BASE_MODELS": BASE_MODELS_IN_IMAGE, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
}  # fmt: skip
SCRIPTED_WORK = Path(__file__).parents[1] / "chaos" / "scripted_work.py"


def usable() -> bool:
    """Whether the packages of this environment fit the Python of the base image."""
    return sys.version_info[:2] == PYTHON


def write(archive: Path, bundle: Path) -> None:
    """Write the archive of all images.

    bundle: the base models in them.
    """
    commands = {NAME: RUN, EXIT_1: ["sh", "-c", f"{' '.join(RUN)}; exit 1"], NO_REPORT: ["true"], SUBMIT: COMMAND}
    with tempfile.TemporaryDirectory(dir=archive.parent) as place:
        project, scripted = Path(place) / "project.tar", Path(place) / "scripted.tar"
        _pack_project(project, bundle)
        with tarfile.open(scripted, "w") as tar:
            tar.add(SCRIPTED_WORK, f"{PROJECT_IN_IMAGE}/gregory/ml/stages/work.py", filter=_public)
        layers = [base_archive(), _packages(), project]
        written = [_image(name, command, layers) for name, command in commands.items()]
        images.write_all(archive, *written, _image(SCRIPTED, RUN, [*layers, scripted]))


def _image(name: str, command: list[str], layers: list[Path]) -> Image:
    return Image(name=name, entrypoint=command, folder=PROJECT_IN_IMAGE, variables=VARIABLES, layers=tuple(layers))


def _packages() -> Path:
    """The layer of the packages, kept in the cache for the versions of this environment."""
    installed = _closure(NEEDED)
    versions = sorted(f"{name} {found.version}" for name, found in installed.items())
    versions += [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    # The name changes with the content of the layer.
    kept = CACHE / f"run-packages-{sha256(' '.join(versions).encode()).hexdigest()[:16]}-2.tar"
    if not kept.exists():
        for older in CACHE.glob("run-packages-*.tar"):
            older.unlink()
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            # One rename at the end: an archive that exists is complete.
            unfinished = Path(folder) / "archive"
            _pack_libraries(unfinished, installed)
            unfinished.rename(kept)
    return kept


def _pack_libraries(archive: Path, installed: Mapping[str, metadata.Distribution]) -> None:
    with tarfile.open(archive, "w") as tar:
        for distribution in installed.values():
            for file in distribution.files or []:
                # Programs are outside, and tests are the largest part of some packages.
                if ".." not in file.parts and "tests" not in file.parts:
                    _add_compiled(tar, Path(str(file.locate())), Path(PACKAGES, file))
        # A manifest contains the version of every library, also of those that this image lacks.
        for name in LIBRARIES:
            distribution = metadata.distribution(name)
            if canonicalize_name(name) not in installed:
                (file,) = (file for file in distribution.files or [] if file.name == "METADATA")
                tar.add(file.locate(), f"{PACKAGES}/{file}")
        tar.add(Path(sys.prefix) / "bin" / "dumb-init", "usr/local/bin/dumb-init", filter=_executable_only)
        # As in a virtual environment, which the images of Dockerfile.train have.
        _link(tar, "usr/local/bin/python", "/usr/bin/python3")
        # LightGBM needs OpenMP from the system, and scikit-learn contains it.
        (openmp,) = (file for file in installed["scikit-learn"].files or [] if file.name.startswith("libgomp"))
        _link(tar, "usr/local/lib/openmp/libgomp.so.1", f"{PACKAGES}/{openmp}")


def _executable_only(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """As `install.sh` leaves it: no user sees the variables of a process whose program the user cannot read."""
    member.uid, member.gid, member.mode = 0, 0, 0o711
    return member


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, target
    tar.addfile(link)


def _add_compiled(tar: tarfile.TarFile, file: Path, name: Path) -> None:
    """Add a file with its bytecode.

    A container cannot keep bytecode. Without it every process would compile pandas and all other packages again.
    """
    tar.add(file, str(name))
    bytecode = Path(cache_from_source(str(file)))
    if file.suffix == ".py" and bytecode.exists():
        tar.add(bytecode, str(name.parent / "__pycache__" / bytecode.name))


def _pack_project(archive: Path, bundle: Path) -> None:
    packages = ("gregory", "job")
    subprocess.run([sys.executable, "-m", "compileall", "-q", *packages], cwd=REPOSITORY, check=True)
    with tarfile.open(archive, "w") as tar:
        for part in ("manage.py", *packages):
            tar.add(REPOSITORY / part, f"{PROJECT_IN_IMAGE}/{part}", filter=_public)
        tar.add(bundle, BASE_MODELS_IN_IMAGE, filter=_public)


def _public(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Readable by every user."""
    member.uid = member.gid = 0
    member.mode |= 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def _closure(names: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    """These distributions and all that they require, by name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found and not wanted.extras:
            continue
        found[name] = metadata.distribution(name)
        for line in found[name].requires or []:
            requirement = Requirement(line)
            extras = wanted.extras or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(requirement)
    return found
