"""The three built images: their content, their user, and that one commit always gives the same files."""

import functools
import itertools
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.launch.image import PROJECT_IN_IMAGE as PROJECT
from tools.docker_engine import BASE, Engine
from tools.installation import REPOSITORY

pytestmark = pytest.mark.slow

MEGABYTE = 10**6


@pytest.fixture(params=["submit_image", "cpu_image", "gpu_image"])
def image(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def run(engine: Engine, image: str, *command: str, entrypoint: str = "python", options: tuple[str, ...] = ()) -> str:
    """Output of a command in a container without network, in which only /tmp is writable."""
    return engine.must(
        "run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp:mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        *options, "--entrypoint", entrypoint, image, *command,
    )  # fmt: skip


def size(engine: Engine, image: str) -> int:
    return int(engine.must("image", "inspect", "--format={{.Size}}", image))


@functools.cache
def files(engine: Engine, image: str, *folders: str) -> dict[str, tuple[str, int, int, int]]:
    """Digest, mode and owner of every file below the folders, read by root. The digest of a link is that of its target."""
    listing = """
import hashlib, json, os, sys
found = {}
for top in sys.argv[1:]:
    for folder, names, others in os.walk(top):
        for name in [*names, *others]:
            path = os.path.join(folder, name)
            facts = os.lstat(path)
            if os.path.islink(path): content = os.readlink(path).encode()
            elif os.path.isdir(path): content = b""
            else: content = open(path, "rb").read()
            found[path] = (hashlib.sha256(content).hexdigest(), facts.st_mode, facts.st_uid, facts.st_gid)
print(json.dumps(found))
"""
    return {path: tuple(facts) for path, facts in json.loads(run(engine, image, "-c", listing, *folders, options=("--user=0:0",))).items()}


def added_layers(engine: Engine, image: str, folder: Path) -> Iterator[tarfile.TarFile]:
    """The image's layers above the base."""
    archive = folder / "image.tar"
    engine.must("save", "--output", str(archive), image)
    with tarfile.open(archive) as saved:
        (manifest,) = json.load(saved.extractfile("manifest.json"))
        for layer in manifest["Layers"][1:]:
            with tarfile.open(fileobj=saved.extractfile(layer)) as content:
                yield content
    archive.unlink()


class TestContent:
    def test_labels_user_and_working_folder(self, docker_engine: Engine, image: str):
        (facts,) = json.loads(docker_engine.must("image", "inspect", image))
        config = facts["Config"]

        assert config["Labels"]["org.opencontainers.image.title"] == "gregory-train"
        assert config["Labels"]["org.opencontainers.image.revision"] == "tested"
        assert re.fullmatch(r"\d+:\d+", config["User"])
        assert (config["WorkingDir"], config["Entrypoint"][:2]) == (PROJECT, ["dumb-init", "--"])
        assert {"HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1"} <= set(config["Env"])

    def test_training_image_starts_a_run(self, docker_engine: Engine, cpu_image: str, gpu_image: str):
        for image in (cpu_image, gpu_image):
            entrypoint = json.loads(docker_engine.must("image", "inspect", "--format={{json .Config.Entrypoint}}", image))
            assert entrypoint == ["dumb-init", "--", "python", "-m", "job"]
            done = docker_engine.docker("run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", image)
            assert (done.returncode, done.stderr) == (
                2,
                "GREGORY_RUN_SPEC is empty, and a runner sets it: start runs with train_models or predict_articles\n",
            )

    def test_submit_image_is_small_and_has_no_tensorflow(self, docker_engine: Engine, submit_image: str):
        assert size(docker_engine, submit_image) - size(docker_engine, BASE) < 330 * MEGABYTE
        assert run(docker_engine, submit_image, "-c", "import importlib.util as u; print(u.find_spec('tensorflow'))") == "None\n"
        done = docker_engine.docker("run", "--rm", "--network=none", "--entrypoint=python", submit_image, "-c", "import tensorflow")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ModuleNotFoundError: No module named 'tensorflow'")

    def test_submit_image_compares_two_versions(self, docker_engine: Engine, submit_image: str):
        code = "from gregory.ml import comparer; from gregory.ml.stages import __main__; print('loaded')"
        assert run(docker_engine, submit_image, "-c", code) == "loaded\n"

    def test_submit_image_has_every_command(self, docker_engine: Engine, submit_image: str):
        for command in ("train_models", "reconcile_runs", "verify_models"):
            output = run(docker_engine, submit_image, "--", "python", "manage.py", command, "--help", entrypoint="dumb-init")
            assert f"manage.py {command}" in output

    def test_submit_image_serves_the_operator_pages(self, docker_engine: Engine, submit_image: str):
        """As its own user, behind a proxy that ends TLS. The style comes from a package."""
        code = """
import os, subprocess, sys, time, urllib.error, urllib.request
os.environ |= {"GREGORY_WEB_URL": "https://models.example.org", "SECRET_KEY": "k" * 60}
subprocess.Popen([sys.executable, "-m", "gregory.web"])
def status(path):
    headers = {} if path == "/healthz" else {"Host": "models.example.org", "X-Forwarded-Proto": "https"}
    with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8000" + path, headers=headers), timeout=120) as page:
        return page.status, page.headers.get_content_type()
for _ in range(3000):
    try: status("/healthz"); break
    except urllib.error.URLError: time.sleep(0.1)
print([status(path) for path in ("/healthz", "/login/", "/static/admin/css/base.css", "/static/web/pages.css")])
"""

        found = [(200, "text/plain"), (200, "text/html"), (200, "text/css"), (200, "text/css")]
        assert run(docker_engine, submit_image, "-c", code) == f"{found}\n"

    def test_training_image_computes(self, docker_engine: Engine, cpu_image: str):
        code = (
            "from gregory.ml import _keras; import ctranslate2, lightgbm, matplotlib.font_manager; "
            "print(_keras.tf.reduce_sum(_keras.tf.ones((3, 4))).numpy(), _keras.device().name)"
        )

        assert run(docker_engine, cpu_image, "-c", code) == "12.0 CPU\n"

    def test_only_the_driver_of_a_gpu_is_missing_in_the_training_image(self, docker_engine: Engine, cpu_image: str):
        """The check that the build of `train` makes. This image has no CUDA libraries."""
        check = (REPOSITORY / "images" / "check.py").read_text(encoding="utf-8")

        done = docker_engine.docker("run", "--rm", "--network=none", "--entrypoint=python", cpu_image, "-c", check, "/opt/venv")

        total, *problems = done.stdout.splitlines()[20:]
        assert "MB in total, of 4330.0; CTranslate2" in total
        assert (done.returncode, problems) == (1, ["TensorFlow cannot open its CUDA libraries and would find no GPU"])

    def test_a_commit_costs_less_than_5_megabytes(self, docker_engine: Engine, cpu_image: str, gpu_image: str):
        """The lists of the software change with a lock file. All above them can change with each commit."""
        for image in (cpu_image, gpu_image):
            layers = docker_engine.must("history", "--no-trunc", "--human=false", "--format={{.Size}}|{{.CreatedBy}}", image).splitlines()
            changed = list(itertools.takewhile(lambda layer: "/opt/sbom" not in layer, layers))

            assert any(f"COPY {PROJECT}/ ./" in layer for layer in changed)
            assert sum(int(layer.partition("|")[0]) for layer in changed) < 5 * MEGABYTE

    def test_bundle_is_a_separate_layer(self, docker_engine: Engine, cpu_image: str, gpu_image: str):
        for image, bundle in ((cpu_image, True), (gpu_image, False)):
            layers = docker_engine.must("history", "--no-trunc", "--human=false", "--format={{.CreatedBy}}|{{.Size}}", image).splitlines()
            ((line, size),) = [layer.split("|") for layer in layers if "/opt/base-models" in layer and layer.startswith("COPY")]

            assert line == "COPY /opt/base-models /opt/base-models # buildkit"
            assert (int(size) > 50 * MEGABYTE) is bundle


class TestSafety:
    def test_only_root_can_change_files(self, docker_engine: Engine, image: str):
        found = dict(files(docker_engine, image, "/opt", PROJECT))
        models = found.pop(f"{PROJECT}/models")

        assert [path for path, (_, mode, *_) in found.items() if mode & 0o022 and (mode & 0o170000) != 0o120000] == []
        assert {(uid, gid) for _, _, uid, gid in found.values()} == {(0, 0)}
        assert models[2:] == (10001, 10001)

    def test_every_user_can_read_the_project(self, docker_engine: Engine, image: str):
        found = files(docker_engine, image, "/opt", PROJECT)

        # Process 1 has the password of the database, and Linux shows its variables to a user who can read its program.
        assert [path for path, (_, mode, *_) in found.items() if mode & 0o444 != 0o444] == ["/opt/venv/bin/dumb-init"]

    def test_no_setuid_program_and_no_world_writable_file(self, docker_engine: Engine, image: str):
        def find(*tests: str) -> str:
            return run(docker_engine, image, "/", "-xdev", *tests, entrypoint="find", options=("--user=0:0",))

        setuid = find("-type", "f", "-perm", "/6000")
        writable = find("-perm", "-0002", "!", "-type", "l", "!", "-perm", "-1000")

        assert (setuid, writable) == ("", "")

    def test_no_layer_contains_a_secret(self, docker_engine: Engine, submit_image: str, tmp_path: Path):
        """This includes files that a later layer removes. The same lines of Dockerfile.train make the other images."""
        suspects = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|hf_[A-Za-z]{34}")
        names, hits = [], []
        for layer in added_layers(docker_engine, submit_image, tmp_path):
            for member in layer:
                names.append(member.name)
                if member.isfile() and suspects.search(layer.extractfile(member).read()):
                    hits.append(member.name)

        assert hits == []
        assert [
            name for name in names if re.search(r"(^|/)(\.env|\.git|\.netrc|\.pypirc|id_rsa|db\.sqlite3|run/secrets/.+)(/|$)", name)
        ] == []

    def test_no_secret_is_in_settings_or_history(self, docker_engine: Engine, image: str):
        output = docker_engine.must("image", "inspect", image) + docker_engine.must("history", "--no-trunc", image)

        assert re.findall(r"(?i)\b\w*(?:password|secret_key|token)\w*=\S+", output) == []

    def test_packages_are_consistent(self, docker_engine: Engine, image: str):
        """Checked by the pip of the base image, because the images have none."""
        check = "python3 -m venv /tmp/pip && /tmp/pip/bin/python -m pip --disable-pip-version-check --python /opt/venv/bin/python check"

        assert run(docker_engine, image, "-c", check, entrypoint="sh") == "No broken requirements found.\n"

    def test_build_context_has_only_needed_files(self, docker_engine: Engine, tmp_path: Path):
        """Build an image of everything that the ignore file permits."""
        dockerfile = f"FROM {docker_engine.base()}\nCOPY . /context\n"
        docker_engine.must(
            "build", "--network=none", "--tag", "gregory-context", "--file", "-", str(REPOSITORY), input=dockerfile
        )  # fmt: skip

        listed = run(docker_engine, "gregory-context", "-c", "import os; print(*sorted(os.listdir('/context')))", entrypoint="python3")

        needed = {"base_models", "gregory", "images", "job", "locks", "manage.py", "requirements-demo-encoder.txt"}
        assert set(listed.split()) <= needed
        docker_engine.must("image", "rm", "gregory-context")


class TestReproducible:
    def test_two_builds_of_the_submit_image_have_the_same_files(self, docker_engine: Engine, submit_image: str, tmp_path: Path):
        """Compares project and dependencies. The second build uses only downloaded wheels again."""
        again = docker_engine.build("submit", "gregory-tested:submit-again", "--no-cache", REVISION="tested")

        first, second = (files(docker_engine, image, "/opt", PROJECT) for image in (submit_image, again))

        assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()
        assert sum(path.endswith(".pyc") for path in first) > 1000
        docker_engine.must("image", "rm", again)

    def test_bytecode_does_not_depend_on_time_stamps(self, docker_engine: Engine, image: str):
        """Flags in the header define how Python checks a file (PEP 552). Time stamps would differ in every build."""
        code = """
import pathlib, sys
stamped = [path for top in sys.argv[1:] for path in pathlib.Path(top).rglob("*.pyc") if path.read_bytes()[4:8] == bytes(4)]
print(*stamped)
"""

        assert run(docker_engine, image, "-c", code, "/opt", PROJECT) == "\n"

    def test_project_does_not_depend_on_the_checkout(self, docker_engine: Engine, submit_image: str, tmp_path: Path):
        """Another umask, other times, and bytecode of another Python."""
        checkout = tmp_path / "checkout"
        for name in ("Dockerfile.train", ".dockerignore", "manage.py"):
            copy(REPOSITORY / name, checkout / name)
        for folder in ("gregory", "job", "locks", "images"):
            for path in (REPOSITORY / folder).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    copy(path, checkout / path.relative_to(REPOSITORY))
        (checkout / "job" / "__pycache__").mkdir(mode=0o700)
        (checkout / "job" / "__pycache__" / "events.cpython-312.pyc").write_bytes(b"of another Python")

        again = docker_engine.build("submit", "gregory-tested:submit-elsewhere", context=checkout, REVISION="tested")

        first, second = (files(docker_engine, image, PROJECT) for image in (submit_image, again))
        assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()
        docker_engine.must("image", "rm", again)


def copy(source: Path, target: Path) -> None:
    """Copy a file as a checkout with umask 077 has it."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.write_bytes(source.read_bytes())
    target.chmod(0o700 if source.stat().st_mode & 0o100 else 0o600)
