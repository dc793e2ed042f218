"""The image of the runs: Debian, the project, the packages that a run's supervisor needs, and scripted work in the place of the stages."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

from gregory.launch.image import PROJECT_IN_IMAGE
from tools.cluster import images
from tools.docker_engine import CACHE, base_archive
from tools.installation import REPOSITORY

NAME = "gregory.test/chaos:1"
# Of the base image.
PYTHON = "3.11"
PACKAGES = "usr/local/lib/python3.11/dist-packages"
# What `python -m job` imports; their versions are those of the lock file.
REQUIREMENTS = (
    "django", "django-organizations", "psycopg[binary]", "pydantic", "pydantic-settings", "pyyaml", "psutil", "numpy", "tqdm", "tabulate",
    "dumb-init",
)  # fmt: skip
SCRIPTED = Path(__file__).with_name("scripted_work.py")


def write(archive: Path) -> str:
    """What `docker save` would write; the image's name."""
    layer, project = archive.with_suffix(".layer"), archive.with_suffix(".project")
    for package in ("gregory", "job"):
        shutil.copytree(REPOSITORY / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(SCRIPTED, project / "gregory" / "ml" / "stages" / "work.py")
    _compile(project)
    shutil.copyfile(base_archive(), layer)
    with tarfile.open(layer, "a") as tar:
        tar.add(_packages(), f"./{PACKAGES}", filter=_public)
        # `python3 -m job` finds the project wherever it is started.
        _add(tar, f"{PACKAGES}/gregory.pth", f"{PROJECT_IN_IMAGE}\n".encode())
        tar.add(project, f".{PROJECT_IN_IMAGE}", filter=_public)
        for name, content in _bundle().items():
            _add(tar, f"{PROJECT_IN_IMAGE}/base_models/{name}", content)
    images.write(archive, name=NAME, layer=layer, entrypoint=[f"/{PACKAGES}/bin/dumb-init", "--", "python3", "-m", "job"])
    layer.unlink()
    shutil.rmtree(project)
    return NAME


def _packages() -> Path:
    """Installed and compiled once for each lock file."""
    lock = REPOSITORY / "locks" / "requirements.lock"
    folder = CACHE / ("chaos-packages-" + sha256(lock.read_bytes() + " ".join(REQUIREMENTS).encode()).hexdigest()[:12])
    if not folder.exists():
        uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python-version", PYTHON, "--only-binary", ":all:"]
        # One rename at the end: a folder that exists is complete.
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            unfinished = Path(temporary) / "packages"
            subprocess.run([*uv, "--constraints", str(lock), "--target", str(unfinished), *REQUIREMENTS], check=True)
            _compile(unfinished)
            unfinished.rename(folder)
    return folder


def _compile(folder: Path) -> None:
    """No run can write bytecode; without it every start compiles everything."""
    if sys.version.startswith(f"{PYTHON}."):
        options = ["-q", "-j", "0", "-x", "/(tests|gis|locale)/", "--invalidation-mode", "unchecked-hash"]
        subprocess.run([sys.executable, "-m", "compileall", *options, folder], check=True)


def _bundle() -> dict[str, bytes]:
    """Base models that are looked at byte by byte, and that nobody loads."""
    files = {"encoder/nothing": b"nothing", "summariser/nothing": b"nothing"}
    parts = {
        part: {
            "source": "made by the tests",
            "revision": "1",
            "licence": "none needed",
            "files": {"nothing": {"sha256": sha256(files[f"{part}/nothing"]).hexdigest(), "bytes": len(files[f"{part}/nothing"])}},
        }
        for part in ("encoder", "summariser")
    }
    return {**files, "bundle.json": json.dumps({"schema_number": 1, "name": "chaos", **parts}).encode()}


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    header = tarfile.TarInfo(f"./{path.lstrip('/')}")
    header.size, header.mode = len(content), 0o644
    tar.addfile(header, io.BytesIO(content))


def _public(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """For any user to read."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode |= 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
