"""Hyper-parameters: the values of the specification and the file that overrides them."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from gregory.ml.config import ALGORITHMS, Hyperparameters, SplitConfig, TrainConfig, load_hyperparameters
from gregory.ml.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hyper.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_hyperparameters(path)
    return str(caught.value)


def test_defaults_are_the_values_of_the_specification() -> None:
    values = Hyperparameters()
    bert = values.bert
    assert (bert.learning_rate, bert.dense_units, bert.freeze_weights, bert.max_length, bert.epochs) == (2e-5, 48, False, 400, 10)
    assert (values.lgbm.rounds, values.lstm.epochs) == (100, 10)
    assert (values.summariser.max_new_tokens, values.summariser.batch_size) == (300, 4)
    assert (values.pseudo_label.confidence_threshold, values.pseudo_label.max_iterations) == (0.9, 7)
    assert values.split == SplitConfig(validation=0.15, test=0.15, seed=69)
    assert (TrainConfig().prob_threshold, TrainConfig().pseudo_label) == (0.8, False)


def test_algorithms_have_the_order_of_the_specification() -> None:
    assert ALGORITHMS == ("pubmed_bert", "lgbm_tfidf", "lstm")


def test_without_a_file_the_defaults_are_used() -> None:
    assert load_hyperparameters(None) == Hyperparameters()


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n", "{}"])
def test_an_empty_file_gives_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_hyperparameters(written(tmp_path, text)) == Hyperparameters()


def test_the_file_overrides_only_its_own_keys(tmp_path: Path) -> None:
    values = load_hyperparameters(written(tmp_path, "bert:\n  epochs: 3\nsplit:\n  seed: 1\n"))
    assert values.model_dump(exclude_unset=True) == {"bert": {"epochs": 3}, "split": {"seed": 1}}
    assert (values.bert.epochs, values.bert.learning_rate, values.split.seed, values.lgbm) == (3, 2e-5, 1, Hyperparameters().lgbm)


def test_a_whole_number_is_a_valid_fraction(tmp_path: Path) -> None:
    assert load_hyperparameters(written(tmp_path, "lgbm:\n  reg_alpha: 1\n")).lgbm.reg_alpha == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bert:\n  epoch: 3\n", "bert.epoch: Extra inputs are not permitted (got 3)"),
        ("bart:\n  epochs: 3\n", "bart: Extra inputs are not permitted (got {'epochs': 3})"),
        ("bert:\n  epochs: ten\n", "bert.epochs: Input should be a valid integer (got 'ten')"),
        ("bert:\n  epochs: 2.0\n", "bert.epochs: Input should be a valid integer (got 2.0)"),
        ("bert:\n  epochs: 0\n", "bert.epochs: Input should be greater than or equal to 1 (got 0)"),
        ("bert:\n  freeze_weights: 1\n", "bert.freeze_weights: Input should be a valid boolean (got 1)"),
        ("bert:\n  learning_rate: .nan\n", "bert.learning_rate: Input should be a finite number (got nan)"),
        ("lgbm:\n  reg_alpha: .inf\n", "lgbm.reg_alpha: Input should be a finite number (got inf)"),
        (
            "bert:\n  learning_rate: 2e-5\n",
            "bert.learning_rate: Input should be a valid number (got '2e-5'); YAML reads this as a word, write 2.0e-5",
        ),
        ("summariser:\n  max_source_tokens: 1\n", "summariser.max_source_tokens: Input should be greater than or equal to 3 (got 1)"),
        ("summariser:\n  max_new_tokens: 2\n", "summariser.max_new_tokens: Input should be greater than or equal to 3 (got 2)"),
        ("bert:\n  max_length: 513\n", "bert.max_length: Input should be less than or equal to 512 (got 513)"),
        ("split:\n  seed: -1\n", "split.seed: Input should be greater than or equal to 0 (got -1)"),
        ("split:\n  seed: 2147483648\n", "split.seed: Input should be less than or equal to 2147483647 (got 2147483648)"),
        ("lgbm:\n  random_state: -1\n", "lgbm.random_state: Input should be greater than or equal to 0 (got -1)"),
        ("lgbm:\n  num_leaves: 131073\n", "lgbm.num_leaves: Input should be less than or equal to 131072 (got 131073)"),
        ("lgbm:\n  max_depth: -2\n", "lgbm.max_depth: Input should be greater than or equal to -1 (got -2)"),
        ("lgbm:\n  rounds: 2147483648\n", "lgbm.rounds: Input should be less than or equal to 2147483647 (got 2147483648)"),
        ("lstm:\n  weight_seed: -1\n", "lstm.weight_seed: Input should be greater than or equal to 0 (got -1)"),
        ("split:\n  test: 0.5\n", "split.test: Input should be less than 0.5 (got 0.5)"),
        ("lstm:\n", "lstm: Input should be a valid dictionary or instance of LstmConfig (got None)"),
    ],
)
def test_wrong_value_is_named_with_its_key(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    assert message(path) == f"hyper-parameter file {path}: {expected}"


def test_every_whole_number_has_a_lower_and_an_upper_bound() -> None:
    sections = Hyperparameters().model_dump()
    numbers = [(name, key) for name, section in sections.items() for key, value in section.items() if type(value) is int]

    for value in (-(2**63), 2**63):
        for name, key in numbers:
            with pytest.raises(ValidationError, match=rf"{name}.{key}\n"):
                Hyperparameters.model_validate({name: {key: value}})


FRACTIONS = [
    (name, key)
    for name, section in Hyperparameters.model_fields.items()
    for key, field in section.annotation.model_fields.items()
    if re.search(r"\bfloat\b", str(field.annotation))
]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1.0e+999"])
def test_no_fraction_is_infinite_or_no_number(tmp_path: Path, value: str) -> None:
    assert ("lgbm", "reg_lambda") in FRACTIONS
    assert ("bert", "encoder_dropout") in FRACTIONS
    for name, key in FRACTIONS:
        path = written(tmp_path, f"{name}: {{{key}: {value}}}\n")
        shown = "inf" if value == "1.0e+999" else value.replace(".", "")

        assert message(path) == f"hyper-parameter file {path}: {name}.{key}: Input should be a finite number (got {shown})"


@pytest.mark.parametrize("text", ["3", "- bert", "bert"])
def test_the_error_for_a_file_without_mapping_names_the_sections(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    sections = "bert, lgbm, lstm, summariser, pseudo_label, split"
    assert message(path) == f"hyper-parameter file {path} must be a mapping of sections ({sections})"


def test_a_file_that_is_not_yaml_is_named_with_the_position(tmp_path: Path) -> None:
    path = written(tmp_path, "bert: {epochs: 3\n")
    assert message(path).startswith(f"hyper-parameter file {path} is not YAML: while parsing a flow mapping")
    assert "line 1, column 7" in message(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hyper.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert message(path).startswith(f"hyper-parameter file {path} is not YAML: ")


def test_yaml_that_creates_objects_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "bert: !!python/object/apply:os.getcwd []\n")
    assert message(path).startswith(f"hyper-parameter file {path} is not YAML: could not determine a constructor")


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert message(path) == f"hyper-parameter file {path} cannot be read: No such file or directory"


def test_folder_is_not_a_file(tmp_path: Path) -> None:
    assert message(tmp_path) == f"hyper-parameter file {tmp_path} cannot be read: Is a directory"


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_the_threshold_is_between_0_and_1(threshold: float) -> None:
    with pytest.raises(ValidationError):
        TrainConfig(prob_threshold=threshold)


def test_the_configuration_is_equal_after_json() -> None:
    config = TrainConfig(prob_threshold=0.7, pseudo_label=True, hyperparameters=Hyperparameters(split=SplitConfig(seed=1)))
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_the_configuration_is_immutable() -> None:
    with pytest.raises(ValidationError, match="Instance is frozen"):
        TrainConfig().prob_threshold = 0.5  # type: ignore[misc]
