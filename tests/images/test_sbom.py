"""The lists of the software in an image: their parts, and the lists of this environment."""

import json
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packageurl import PackageURL

from images import sbom
from tests.tiny_bundle import tiny_bundle

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: some library

Files: *
Copyright: 2001 Somebody
License: GPL-2+

Files: debian/*
License: Expat
 Permission is granted.

License: GPL-2+
 This program is free software.
"""


def component(name: str, **changes: Any) -> dict[str, Any]:
    return {"type": "library", "bom-ref": f"{name}==1", "name": name, "version": "1", "purl": f"pkg:pypi/{name}@1", **changes}


def bill(*components: dict[str, Any]) -> dict[str, Any]:
    dependencies = [{"ref": each["bom-ref"]} for each in components]
    return {"components": list(components), "dependencies": dependencies, "metadata": {"tools": {}}, "bomFormat": "CycloneDX"}


def test_a_copyright_file_of_debian_names_its_licences():
    assert sbom.declared(COPYRIGHT) == ["Expat", "GPL-2+"]


def test_a_copyright_file_in_prose_names_the_common_licences_that_it_refers_to():
    prose = "License: see the files.\nThe text is in `/usr/share/common-licenses/LGPL-2.1'.\nSee also /usr/share/common-licenses/GPL-3.\n"

    assert sbom.declared(prose) == ["GPL-3", "LGPL-2.1"]
    assert sbom.declared("This package was debianized by somebody.\n") == []


def test_components_are_sorted_and_equal_ones_are_listed_once():
    listed = sbom.merged("image", bill(component("b"), component("a")), bill(component("pip"), component("a")), [component("c")])

    assert [each["name"] for each in listed["components"]] == ["a", "b", "c", "pip"]
    assert [each["ref"] for each in listed["dependencies"]] == ["a==1", "b==1", "pip==1"]
    assert listed["metadata"]["component"]["name"] == "image"


def test_a_licence_that_was_read_by_a_person_is_marked_so():
    listed = sbom.merged("image", bill(component("dumb_init"), component("other")), bill(), [])

    assert [each.get("licenses") for each in listed["components"]] == [
        [{"license": {"id": "MIT", "acknowledgement": "concluded"}}],
        None,
    ]


def test_the_list_of_licences_has_one_line_per_component():
    classified = {"license": {"name": "License :: OSI Approved :: BSD License", "acknowledgement": "declared"}}
    expression = {"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}
    debian = component("base-files", purl="pkg:deb/debian/base-files@1", **{"bom-ref": "base-files"})
    listed = sbom.merged("image", bill(component("a", licenses=[classified]), component("b", licenses=[expression])), bill(), [debian])

    assert sbom.licence_list(listed) == (
        "Software of image, with the licences that its authors declare. sbom.cdx.json has the details.\n\n"
        "deb     base-files 1: unknown\n"
        "pypi    a 1: BSD License\n"
        "pypi    b 1: MIT OR Apache-2.0\n"
    )


def test_base_models_have_their_source_licence_and_checksums(tmp_path: Path):
    bundle = tiny_bundle(tmp_path / "bundle")
    described = json.loads((bundle / "bundle.json").read_text())

    models = sbom.base_models(bundle)

    assert [(model["name"], model["version"]) for model in models] == [
        (described[part]["source"], described[part]["revision"]) for part in ("encoder", "summariser")
    ]
    assert {file["name"]: file["hashes"][0]["content"] for file in models[0]["components"]} == {
        name: facts["sha256"] for name, facts in described["encoder"]["files"].items()
    }


def test_a_folder_without_a_bundle_has_no_models(tmp_path: Path):
    assert sbom.base_models(tmp_path) == []


def test_a_list_with_each_kind_of_component_has_the_form_of_cyclonedx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # These compile grammars for seconds, which each worker would do when it collects its tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    monkeypatch.setattr(sys, "base_prefix", "/usr/local")
    models = sbom.base_models(tiny_bundle(tmp_path / "bundle"))
    debian = sbom.debian("libstdc++6", "1:12.2.0-14+deb12u1", "amd64")
    listed = sbom.merged("image", bill(component("keras")), bill(), [*models, debian, *sbom.interpreter()])

    whole = {**listed, "specVersion": sbom.VERSION, "version": 1, "metadata": {"component": listed["metadata"]["component"]}}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(whole)) is None
    assert debian["purl"] == "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lists of this environment."""
    folder = tmp_path_factory.mktemp("lists")
    sbom.main(["checkout", "--python", sys.executable, "--output", str(folder)])
    return folder


def test_every_distribution_of_the_environment_is_listed(written: Path):
    listed = json.loads((written / sbom.BILL).read_text())

    found = {PackageURL("pypi", None, each.metadata["Name"], each.version).to_string() for each in distributions()}
    assert found == {each["purl"].partition("?")[0] for each in listed["components"]}


def test_every_python_package_of_the_environment_has_a_licence(written: Path):
    """One without needs an entry in CONCLUDED, after its licence file was read."""
    assert [line for line in (written / sbom.LICENCES).read_text().splitlines() if line.endswith(": unknown")] == []


def test_the_same_environment_gives_the_same_lists(written: Path, tmp_path: Path):
    sbom.main(["checkout", "--python", sys.executable, "--output", str(tmp_path)])

    for name in (sbom.BILL, sbom.LICENCES):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()
