"""An image that really runs `python -m job`, made without an engine: this checkout, what it needs of this environment, no TensorFlow.

It trains `lgbm_tfidf` as any image of Dockerfile.train does. What the other algorithms need is in the image that tests/docker builds.
"""

import sys
import tarfile
import tempfile
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gregory.launch.image import BASE_MODELS_IN_IMAGE, PROJECT_IN_IMAGE
from gregory.ml.stages.work import LIBRARIES
from tests.strict import need
from tools.cluster import images
from tools.cluster.images import Image
from tools.docker_engine import base_archive
from tools.installation import REPOSITORY

NAME = "gregory.test/slim:1"
# The same run that ends with code 1 whatever it reports, and one that reports nothing and ends with code 0.
LIAR, MUTE = "gregory.test/liar:1", "gregory.test/mute:1"
# The operator's side, as the target `submit` has it.
SUBMIT = "gregory.test/submit:1"
PACKAGES = "/usr/local/lib/python3.11/dist-packages"
NEEDED = ("django", "django-organizations", "psycopg[binary]", "pydantic", "pydantic-settings", "pyyaml", "psutil", "tabulate", "tqdm",
          "kubernetes", "dumb-init", "pandas", "lightgbm", "scikit-learn", "jinja2", "matplotlib", "safetensors")  # fmt: skip
RUN = ["/usr/local/bin/dumb-init", "--", "python3", "-m", "job"]
COMMAND = ["/usr/local/bin/dumb-init", "--", "python3", "manage.py"]
VARIABLES = {
    "HOME": "/tmp", "USER": "gregory", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "LD_LIBRARY_PATH": "/usr/local/lib/openmp",
    "GREGORY_BASE_MODELS": BASE_MODELS_IN_IMAGE, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
}  # fmt: skip


def write(archive: Path, bundle: Path) -> None:
    """The image and the two that do not tell how they ended; `bundle`: the base models in them."""
    need(sys.version_info[:2] == (3, 11), what="Python 3.11", remedy="the tests' base image has it, and takes its packages from here")
    commands = {NAME: RUN, LIAR: ["sh", "-c", f"{' '.join(RUN)}; exit 1"], MUTE: ["true"], SUBMIT: COMMAND}
    written = [Image(name=name, entrypoint=command, folder=PROJECT_IN_IMAGE, variables=VARIABLES) for name, command in commands.items()]
    with tempfile.TemporaryDirectory(dir=archive.parent) as place:
        packages, project = Path(place) / "packages.tar", Path(place) / "project.tar"
        _pack_libraries(packages)
        _pack_project(project, bundle)
        images.write_all(archive, *written, layers=[base_archive(), packages, project])


def _pack_libraries(archive: Path) -> None:
    installed = _closure(NEEDED)
    with tarfile.open(archive, "w") as tar:
        for distribution in installed.values():
            for file in distribution.files or []:
                # Programs lie outside, and tests are most of some packages.
                if ".." not in file.parts and "tests" not in file.parts:
                    _add_compiled(tar, Path(str(file.locate())), Path(PACKAGES, file))
        # A manifest names the version of every library, also of those that this image lacks.
        for name in LIBRARIES:
            distribution = metadata.distribution(name)
            if canonicalize_name(name) not in installed:
                (file,) = (file for file in distribution.files or [] if file.name == "METADATA")
                tar.add(file.locate(), f"{PACKAGES}/{file}")
        tar.add(Path(sys.prefix) / "bin" / "dumb-init", "usr/local/bin/dumb-init")
        # As in a virtual environment, which Dockerfile.train's images have.
        python = tarfile.TarInfo("usr/local/bin/python")
        python.type, python.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
        tar.addfile(python)
        # LightGBM leaves OpenMP to the system, and scikit-learn brings it.
        (openmp,) = (file for file in installed["scikit-learn"].files or [] if file.name.startswith("libgomp"))
        link = tarfile.TarInfo("usr/local/lib/openmp/libgomp.so.1")
        link.type, link.linkname = tarfile.SYMTYPE, f"{PACKAGES}/{openmp}"
        tar.addfile(link)


def _add_compiled(tar: tarfile.TarFile, file: Path, name: Path) -> None:
    """With its bytecode, which no container can keep: without it every process would compile pandas and all the rest again."""
    tar.add(file, str(name))
    bytecode = Path(cache_from_source(str(file)))
    if file.suffix == ".py" and bytecode.exists():
        tar.add(bytecode, str(name.parent / "__pycache__" / bytecode.name))


def _pack_project(archive: Path, bundle: Path) -> None:
    with tarfile.open(archive, "w") as tar:
        for part in ("manage.py", "gregory", "job"):
            tar.add(REPOSITORY / part, f"{PROJECT_IN_IMAGE}/{part}")
        tar.add(bundle, BASE_MODELS_IN_IMAGE)


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
