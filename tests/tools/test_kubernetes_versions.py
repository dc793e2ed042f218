"""The versions of Kubernetes and Helm that the tests can build, and the choice of one."""

import re

import pytest

from tools.chart import helm
from tools.cluster import binaries


@pytest.mark.parametrize(("version", "modules"), binaries.VERSIONS.items())
def test_the_modules_of_a_version_are_pinned(version: str, modules: str):
    file = binaries.SOURCE / modules

    assert re.findall(r"^require k8s.io/kubernetes (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE) == [version]
    assert f"k8s.io/kubernetes {version} h1:" in file.with_suffix(".sum").read_text(encoding="utf-8")


@pytest.mark.parametrize(("named", "chosen"), [("", "v1.34.4"), ("1.34.4", "v1.34.4"), ("1.37.2", "v1.37.2"), ("v1.37.2", "v1.37.2")])
def test_a_variable_names_the_version(monkeypatch: pytest.MonkeyPatch, named: str, chosen: str):
    monkeypatch.setenv("KUBERNETES", named)

    assert binaries.version() == chosen
    assert binaries.folder().name == chosen


def test_a_version_without_modules_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBERNETES", "1.30.0")

    with pytest.raises(
        RuntimeError, match=r"^KUBERNETES=1\.30\.0 cannot be built; use one of these versions: 1\.34\.4, 1\.37\.2, 1\.31\.0$"
    ):
        binaries.version()


def test_a_block_has_its_helm_and_other_code_that_of_the_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HELM", raising=False)
    assert (helm.version(), helm.is_3()) == ("v4.3.1", False)

    monkeypatch.setenv("HELM", "3.22.0")
    assert (helm.version(), helm.is_3()) == ("v3.22.0", True)
    with helm.using("v4.3.1"):
        assert helm.program().parent.name == "v4.3.1"
