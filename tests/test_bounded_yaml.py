"""YAML with limits: an alias counts with all that it stands for, and an impossible value is an error of the document."""

import pytest
import yaml

from gregory import bounded_yaml
from gregory.launch.errors import BadClusterConfig
from gregory.launch.kubernetes.cluster_config import load_cluster_config
from gregory.ml.config import load_hyperparameters
from gregory.ml.errors import ConfigError

# The map, two keys, the list of three values, and the same list by its alias.
TWICE = "a: &list [1, 2, 3]\nb: *list\n"


def refusal(text: str, **limits: int) -> str:
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        bounded_yaml.load(text, **limits)
    assert caught.value.problem is not None
    return caught.value.problem


def test_an_alias_counts_with_all_values_that_it_stands_for():
    assert bounded_yaml.load(TWICE, most_values=11) == {"a": [1, 2, 3], "b": [1, 2, 3]}
    assert refusal(TWICE, most_values=10) == "more than 10 values, with those of its aliases"


def test_a_part_can_be_merged_within_the_limit():
    text = "a: &a {x: 1}\nb: {<<: *a, y: 2}\n"

    assert bounded_yaml.load(text, most_values=13) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}
    assert refusal(text, most_values=12) == "more than 12 values, with those of its aliases"


def test_values_are_counted_without_aliases_too():
    assert refusal("[1, 2, 3, 4]", most_values=4) == "more than 4 values, with those of its aliases"


def test_levels_are_limited():
    assert bounded_yaml.load("[[[1]]]", most_levels=4) == [[[1]]]
    assert refusal("[[[1]]]", most_levels=3) == "more than 3 levels"


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}"])
def test_a_part_cannot_contain_itself(text: str):
    assert refusal(text) == "a part contains itself by an alias"


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a: 2020-99-99", "timestamp"), ("a: !!int seven", "int"), ("a: !!bool perhaps", "bool"), ("a: !!timestamp soon", "timestamp")],
)
def test_an_impossible_value_is_an_error_of_the_document(text: str, kind: str):
    assert refusal(text) == f"an impossible {kind}, quote it if it is a text"


def test_an_alias_without_its_part_is_an_error_of_the_document():
    assert refusal("a: *none") == "found undefined alias 'none'"


@pytest.mark.parametrize(("read", "error"), [(load_hyperparameters, ConfigError), (load_cluster_config, BadClusterConfig)])
def test_both_files_of_an_operator_have_the_limits(tmp_path, monkeypatch, read, error):
    path = tmp_path / "file.yaml"
    path.write_text("a: &list [1, 2, 3]\nb: *list\n")
    monkeypatch.setattr(bounded_yaml.load, "__kwdefaults__", {"most_values": 10, "most_levels": 50})

    with pytest.raises(error, match="more than 10 values, with those of its aliases"):
        read(path)
