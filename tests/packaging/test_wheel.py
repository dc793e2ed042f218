"""Content and metadata of the wheel."""

import tomllib
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tools.installation import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(archive.read(name))


def test_the_wheel_holds_the_two_packages_and_their_data_and_nothing_else(wheel: Path):
    expected = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("gregory", "job")
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }

    with ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected


def test_the_wheel_holds_the_licence(wheel: Path):
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
        assert archive.read(name) == (REPOSITORY / "LICENSE").read_bytes()


def test_the_metadata_names_version_licence_extras_and_readme(metadata: Message):
    assert metadata["Name"] == "gregory-train"
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata["Requires-Python"].split(",")) == set(PROJECT["requires-python"].split(","))
    assert metadata.get_all("Provides-Extra") == ["score-lgbm", "score", "submit", "train"]
    assert metadata.get_payload() == (REPOSITORY / "README.md").read_text(encoding="utf-8")


def extra(name: str) -> dict[str, Requirement]:
    """The requirements of an extra, of the extras that it includes, and of the project itself."""
    found = {}
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][name]):
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            for included in requirement.extras:
                found |= extra(included)
        else:
            found[requirement.name] = requirement
    return found


def pins(file: str) -> dict[str, Requirement]:
    """The pinned requirements of a file and of the files that it includes."""
    found = {}
    for line in (REPOSITORY / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= pins(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            found[Requirement(line).name] = Requirement(line)
    return found


# dumb-init is process 1 of the images.
@pytest.mark.parametrize(("name", "file"), [("train", "requirements.txt"), ("submit", "requirements-submit.txt")])
def test_an_extra_has_the_packages_of_its_requirements_file(name: str, file: str):
    assert extra(name).keys() == pins(file).keys() - {"dumb-init"}


def test_every_pin_is_in_the_range_of_its_extra():
    ranges, pinned = extra("train"), pins("requirements.txt")

    for package, requirement in ranges.items():
        (pin,) = pinned[package].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), package
        assert requirement.extras == pinned[package].extras, package


def test_loading_a_lightgbm_model_needs_few_packages():
    assert extra("score-lgbm").keys() == {"joblib", "lightgbm", "numpy", "pydantic", "pyyaml", "scikit-learn"}
