"""The lists of the software in each built image, compared with the files and packages in the image."""

import functools
import json
from typing import Any

import pytest
from packageurl import PackageURL

from tools.docker_engine import BASE, Engine
from tools.installation import REPOSITORY

pytestmark = pytest.mark.slow

# Python's own folder names differ from the names in the metadata. So the metadata are read, of every folder in the image.
FACTS = """
import hashlib, json, subprocess
from importlib.metadata import Distribution
from pathlib import Path
read = lambda path: Path(path).read_text() if Path(path).exists() else None
digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
found = [entry for top in ("/opt", "/usr", "/home") for entry in Path(top).rglob("*.dist-info")]
# Not the copies that a package has inside.
found = [entry for entry in found if entry.parent.name in ("site-packages", "dist-packages")]
packages = [Distribution.at(entry) for entry in found]
form = "${db:Status-Status} ${binary:Package} ${Version}\\n"
bundle = Path("/opt/base-models")
print(json.dumps({
    "bill": json.loads(read("/opt/sbom/sbom.cdx.json")),
    "licences": read("/opt/sbom/licences.txt"),
    "python": [(package.metadata["Name"], package.version) for package in packages],
    "debian": subprocess.check_output(["dpkg-query", "--show", "--showformat=" + form], text=True).splitlines(),
    "models": {str(file.relative_to(bundle)): digest(file) for file in bundle.rglob("*") if file.is_file()},
}))
"""


@functools.cache
def facts_of(engine: Engine, image: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(
        engine.must("run", "--rm", "--network=none", "--read-only", "--entrypoint=python", image, "-c", FACTS)
    )
    return facts


@pytest.fixture(params=["submit_image", "cpu_image", "gpu_image"])
def facts(docker_engine: Engine, request: pytest.FixtureRequest) -> dict[str, Any]:
    return facts_of(docker_engine, request.getfixturevalue(request.param))


def of_type(facts: dict[str, Any], kind: str) -> list[PackageURL]:
    found = [PackageURL.from_string(component["purl"]) for component in facts["bill"]["components"] if "purl" in component]
    return [purl for purl in found if purl.type == kind]


def test_every_python_package_is_listed_and_no_other(facts: dict[str, Any]):
    listed = {(purl.name, purl.version) for purl in of_type(facts, "pypi")}

    assert listed == {(PackageURL("pypi", None, name, version).name, version) for name, version in facts["python"]}
    assert len(listed) > 40


def test_every_debian_package_is_listed_and_no_other(facts: dict[str, Any]):
    rows = [line.split() for line in facts["debian"]]
    installed = {(package.partition(":")[0], version) for state, package, version in rows if state == "installed"}

    assert {(purl.name, purl.version) for purl in of_type(facts, "deb")} == installed
    assert "libgomp1" in {name for name, _ in installed}


def test_every_component_has_a_licence_or_is_listed_as_unknown(facts: dict[str, Any]):
    without = [component for component in facts["bill"]["components"] if not component.get("licenses")]

    lines = facts["licences"].splitlines()[2:]
    assert len(lines) == len(facts["bill"]["components"])
    assert sum(line.endswith(": unknown") for line in lines) == len(without)
    # Some packages of Debian describe their licence in prose only.
    assert {component["purl"].partition("/")[0] for component in without} <= {"pkg:deb"}


def test_base_models_are_listed_with_the_checksums_of_their_files(docker_engine: Engine, cpu_image: str, gpu_image: str):
    facts = facts_of(docker_engine, cpu_image)
    models = [component for component in facts["bill"]["components"] if component["type"] == "machine-learning-model"]

    listed = {file["bom-ref"]: file["hashes"][0]["content"] for model in models for file in model["components"]}
    assert listed == {name: digest for name, digest in facts["models"].items() if name != "bundle.json"}
    assert all(model["licenses"] for model in models)
    # It has no bundle.
    assert "machine-learning-model" not in {component["type"] for component in facts_of(docker_engine, gpu_image)["bill"]["components"]}


def test_labels_name_the_base_image(docker_engine: Engine, submit_image: str):
    labels = json.loads(docker_engine.must("image", "inspect", "--format={{json .Config.Labels}}", submit_image))

    assert labels["org.opencontainers.image.base.name"] == BASE
    assert labels["org.opencontainers.image.base.digest"] == "unknown"


def test_the_digest_of_the_base_image_is_part_of_its_reference(docker_engine: Engine):
    digest = f"sha256:{'7' * 64}"

    done = docker_engine.docker(
        "build", "--network=none", f"--file={REPOSITORY}/Dockerfile.train", "--target=base", f"--build-arg=BASE_IMAGE=127.0.0.1:9/{BASE}",
        f"--build-arg=BASE_DIGEST={digest}", "--build-arg=CUDA=no", str(REPOSITORY),
    )  # fmt: skip

    assert done.returncode != 0
    assert digest in done.stderr
