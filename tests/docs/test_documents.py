"""The documents agree with the code: links, tables of variables, flags and states, commands, versions."""

import re
import tomllib
from argparse import ArgumentParser
from pathlib import Path

import pytest
from django.core.management import BaseCommand, load_command_class
from pydantic import SecretStr

from benchmarks.registry import BENCHMARKS
from gregory.env import BASE_DIR, Environment
from gregory.ml.artifacts import EVALUATION, MANIFEST, METRICS, MODEL_CARD
from gregory.ml.config import Hyperparameters
from gregory.ml.predictions import PREDICTIONS
from gregory.reporting import summary
from gregory.runs.states import RunState
from gregory.web.__main__ import parser as web_parser
from tests.docs.markdown import DOCUMENTS, LARGEST_PICTURE, anchors, blocks, code_spans, links, read, table
from tests.ml.model_files import FILES
from tools.installation import REPOSITORY

COMMANDS = sorted(path.stem for path in (REPOSITORY / "gregory/management/commands").glob("[!_]*.py"))
DECISIONS = sorted(path.name for path in (REPOSITORY / "docs/decisions").glob("[0-9]*.md"))
ARCHITECTURE = "docs/architecture.md"
DIRECT = [f"requirements{part}.txt" for part in ("", "-submit", "-prepare", "-dev", "-uv", "-sbom")]
# An assignment to a variable without a command is no argument.
PASSWORD_ARGUMENT = re.compile(r"--from-literal\S*|--password\S*|PASSWORD=['\w]\S* +\w+|PASSWORD '[^']*'|\w+://\w+:[^@\s/]+@\S*")
LIFECYCLE, OPERATIONS, INDEX = "docs/run-lifecycle.md", "docs/operations.md", "docs/decisions/README.md"


def parser_of(command: str) -> ArgumentParser:
    return load_command_class("gregory", command).create_parser("manage.py", command)


def flags_of(command: str) -> set[str]:
    """The long flags of this command and of its subcommands, without those of Django."""
    inherited = BaseCommand().create_parser("manage.py", "any")._option_string_actions.keys()
    verbs = [parser for action in parser_of(command)._actions if isinstance(action.choices, dict) for parser in action.choices.values()]
    own = {flag for parser in (parser_of(command), *verbs) for flag in parser._option_string_actions if flag.startswith("--")} - inherited
    # This flag of the specification replaces Django's flag of the same name.
    return own | ({"--version"} if command == "train_models" else set())


def in_code(cell: str) -> str:
    assert cell.startswith("`"), f"{cell!r} should be in backticks"
    return cell.strip("`")


def default_of(variable: str) -> str:
    """The default, in the form of the table."""
    value = Environment.model_fields[variable].default
    match value:
        case SecretStr() | None | "":
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case Path():
            return f"`{value.relative_to(BASE_DIR).as_posix()}`"
    return f"`{value}`"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_has_a_target(document: str):
    broken = []
    for link in links(document):
        if link.startswith("https://"):
            continue
        path, _, fragment = link.partition("#")
        target = ((REPOSITORY / document).parent / path).resolve() if path else REPOSITORY / document
        if not target.exists() or (fragment and fragment not in anchors(target.relative_to(REPOSITORY).as_posix())):
            broken.append(link)

    assert broken == []


def test_every_picture_is_small_and_shown():
    shown = {
        ((REPOSITORY / document).parent / link).resolve() for document in DOCUMENTS for link in links(document) if link.endswith(".png")
    }
    pictures = set((REPOSITORY / "docs" / "images").iterdir())

    assert pictures == shown
    assert [picture.name for picture in pictures if picture.stat().st_size >= LARGEST_PICTURE] == []


def test_the_table_of_variables_lists_the_environment():
    rows = table(OPERATIONS, "variable")

    assert [in_code(name) for name, *_ in rows] == list(Environment.model_fields)
    assert {in_code(name): default for name, default, _ in rows} == {name: default_of(name) for name in Environment.model_fields}


def test_the_table_of_flags_lists_the_flags_of_the_command():
    assert {in_code(flag) for flag, *_ in table("README.md", "flag")} == flags_of("train_models")


def test_the_table_of_flags_has_the_defaults_of_the_command():
    told = {in_code(flag): default.strip("`") for flag, default, _ in table("README.md", "flag")}
    parser = parser_of("train_models")

    for flag in ("--verbose", "--output"):
        assert told[flag] == str(parser.get_default(flag.strip("-").replace("-", "_"))), flag
    for flag in ("--algo", "--lookback-days", "--prob-threshold", "--runner"):
        assert f"(default {told[flag]})" in parser._option_string_actions[flag].help, flag


def test_the_readme_shows_every_flag_in_a_command():
    shown = {word for block in blocks("README.md") for word in block.text.split()}

    assert flags_of("train_models") - shown == set()


def test_every_command_is_in_the_table_of_commands():
    rows = [in_code(command).split() for command, *_ in table(OPERATIONS, "command")]

    assert {name for name, *_ in rows} - {"python"} == set(COMMANDS)


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if "/decisions/" not in document])
def test_every_flag_in_the_documents_exists(document: str):
    known = set().union(
        *(flags_of(command) for command in COMMANDS), BaseCommand().create_parser("manage.py", "any")._option_string_actions
    )
    # Flags of Django's migrate, of a stage, of tests.live.cuts, of Docker, kubectl and Helm.
    known |= {"--plan", "--fake", "--in", "--out", "--filter", "--follow", "--time", "--secret", "--no-deps"}
    known |= {"--force-conflicts", "--from", "--kustomize", "--logs", "--no-hooks", "--reuse-values", "--server-side", "--values"}
    # Of tools.cluster, tests/live/cuts.py, tests/live/kills.py, tests/web/test_browser.py and tests/kubernetes/test_two_nodes.py.
    known |= {"--policies", "--second-node", "--sample", "--seed", "--pictures", "--two-nodes"}
    # Of tools.gpu_check.
    known |= {"--small"}
    # tests/benchmarks compares these with the modules.
    known |= {"--list", "--only"} | {argument for benchmark in BENCHMARKS for argument in (*(benchmark.quick or ()), *benchmark.full)}
    known |= web_parser()._option_string_actions.keys()

    assert {flag for span in code_spans(document) for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", span)} - known == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_command_line_has_a_password(document: str):
    """Each account of a machine can read the arguments of every command."""
    shown = [block.text for block in blocks(document) if block.language in {"sh", "bash", "console", "crontab"}]
    lines = "\n".join([*shown, *code_spans(document)])

    assert PASSWORD_ARGUMENT.findall(lines) == []


@pytest.mark.parametrize("document", ["README.md", "docs/kubernetes.md"])
def test_every_namespace_has_the_pod_security_level(document: str):
    shown = "".join(block.text for block in blocks(document))

    names = re.findall(r"kubectl create namespace (\S+)", shown)
    assert re.findall(r"kubectl label namespace (\S+) pod-security.kubernetes.io/enforce=restricted", shown) == names != []


@pytest.mark.parametrize(
    "line", ["kubectl create secret generic x --from-literal=POSTGRES_PASSWORD=y", "PGPASSWORD=y psql", "psql postgresql://me:y@db"]
)
def test_a_password_on_a_command_line_is_found(line: str):
    assert PASSWORD_ARGUMENT.search(line)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_exists(document: str):
    assert set(re.findall(r"manage\.py ([a-z_]+)", read(document))) <= {*COMMANDS, "migrate", "dbshell"}


def test_the_table_of_states_lists_the_states():
    assert [in_code(state) for state, *_ in table(LIFECYCLE, "state")] == [state.value for state in RunState]


def test_every_guarantee_names_its_tests():
    for _, tests, _ in table(LIFECYCLE, "guarantee"):
        for named in tests.split(", "):
            file, *names = in_code(named).split("::")
            defined = set(re.findall(r"^ *(?:class|def) (\w+)", read(f"tests/{file}"), re.MULTILINE))

            assert names, named
            assert defined.issuperset(names), named


def test_the_table_of_version_folders_lists_the_files_of_a_training():
    told = {algorithm.strip("`"): set[str]() for _, algorithm, _ in table(ARCHITECTURE, "file")}
    for files, algorithm, _ in table(ARCHITECTURE, "file"):
        told[algorithm.strip("`")] |= {in_code(file).rstrip("/") for file in files.split(", ")}

    assert told.pop("all") == {METRICS, EVALUATION, PREDICTIONS, MODEL_CARD, MANIFEST}
    assert told == FILES


def test_the_table_of_packages_lists_the_layers_of_the_imports():
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]

    documented = [
        {name.rstrip("/").removesuffix(".py") for name in re.findall(r"`(.+?)`", cell)} for cell, _ in table(ARCHITECTURE, "package")
    ]
    assert documented == [set(layer.replace(".", "/").split(" | ")) for layer in layers]


def test_the_readme_shows_the_columns_of_the_summary_table():
    (shown,) = [line for block in blocks("README.md") for line in block.text.splitlines() if line.startswith("team ")]
    headers = summary.summary_table([]).splitlines()[0]

    assert re.split(r"\s{2,}", shown.strip()) == re.split(r"\s{2,}", headers.strip())


def test_operations_names_the_sections_of_the_hyper_parameter_file():
    assert set(Hyperparameters.model_fields) <= set(code_spans(OPERATIONS))


def test_every_decision_is_in_the_index():
    rows = table(INDEX, "page")

    assert [re.findall(r"\((.+?)\)", page) for page, _ in rows] == [[name] for name in DECISIONS]


@pytest.mark.parametrize("name", DECISIONS)
def test_the_index_has_the_title_of_each_decision(name: str):
    number, _, title = read(f"docs/decisions/{name}").splitlines()[0].removeprefix("# ").partition(": ")

    assert name.startswith(f"{number}-")
    assert title in [decision for _, decision in table(INDEX, "page")]


def test_the_changelog_has_this_version():
    project = tomllib.loads(read("pyproject.toml"))["project"]

    assert re.search(rf"^## \[{re.escape(project['version'])}\]", read("CHANGELOG.md"), re.MULTILINE)


def test_decision_0002_lists_every_direct_dependency():
    assert {name for names, _ in table("docs/decisions/0002-dependencies.md", "package") for name in names.split(", ")} == {
        re.split(r"[=\[]", line)[0] for file in DIRECT for line in read(file).splitlines() if line and not line.startswith(("#", "-r"))
    }
