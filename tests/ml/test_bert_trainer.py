import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from gregory.ml import _keras
from gregory.ml._keras import keras
from gregory.ml.config import BertConfig, Hyperparameters
from gregory.ml.dataset import Example
from gregory.ml.errors import ArtifactError, BundleError, ConfigError, NoGpu
from gregory.ml.preparation import check
from gregory.ml.progress import silent
from gregory.ml.split import Part, Split
from gregory.ml.trainers import bert, bert_encoder
from gregory.ml.trainers.base import TrainerContext
from tests.ml.tiny_models import HEADS, IRRELEVANT, LAYERS, NEUTRAL, RELEVANT, WIDTH, tiny_encoder
from tools.installation import REPOSITORY

Array = np.ndarray
Fit = dict[str, Any]


def part(count: int, seed: int) -> Part:
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        text = " ".join(generator.choice([*(RELEVANT if index % 2 else IRRELEVANT), *NEUTRAL[:4]], size=3 + index % 7))
        rows.append(Example(article_id=index, text=text, label=index % 2))
    return Part.of(rows)


def train(encoder_dir: Path, config: BertConfig) -> bert.BertModel:
    split = Split(train=part(40, 1), validation=part(12, 2), test=part(0, 3))
    context = TrainerContext(encoder_dir=encoder_dir, threads=1, seed=69)
    return bert.BertTrainer(Hyperparameters(bert=config), context).fit(split, report=silent)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[BertConfig], Fit]:
    """Arguments of the call that fits the network."""

    def build(config: BertConfig) -> Fit:
        seen: Fit = {}

        def fit(model: keras.Model, **options: object) -> list[dict[str, float]]:
            seen.update(options, model=model)
            return []

        monkeypatch.setattr(_keras, "fit", fit)
        seen["trained"] = train(tiny_encoder(tmp_path / "bundle"), config)
        return seen

    return build


def exact_gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def tanh_gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def by_hand(folder: Path, ids: Array, gelu: Callable[[Array], Array], *, epsilon: float = 1e-12) -> Array:
    """The last hidden state of one sequence without padding, from the published equations in float64."""
    weights = {name: value.astype(np.float64) for name, value in load_file(folder / "model.safetensors").items()}

    def dense(name: str, x: Array) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(name: str, x: Array) -> Array:
        return dense(name, x).reshape(len(x), HEADS, WIDTH // HEADS).transpose(1, 0, 2)

    embedded = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", embedded + weights["embeddings.token_type_embeddings.weight"][0])
    for index in range(LAYERS):
        layer = f"encoder.layer.{index}"
        query, key, value = (heads(f"{layer}.attention.self.{name}", x) for name in ("query", "key", "value"))
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS))
        mixed = ((scores / scores.sum(axis=-1, keepdims=True)) @ value).transpose(1, 0, 2).reshape(len(x), WIDTH)
        x = norm(f"{layer}.attention.output.LayerNorm", x + dense(f"{layer}.attention.output.dense", mixed))
        inner = gelu(dense(f"{layer}.intermediate.dense", x))
        x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", inner))
    return x


def encoder_output(folder: Path, ids: Array) -> Array:
    inputs = {"token_ids": ids[np.newaxis], "segment_ids": np.zeros((1, len(ids))), "padding_mask": np.ones((1, len(ids)))}
    output: Array = np.asarray(bert_encoder.load_backbone(folder)(inputs)["sequence_output"])[0]
    return output


def test_the_encoder_computes_the_exact_gelu_it_was_trained_with(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    ids = np.array([2, 5, 16, 9, 12, 3])
    output = encoder_output(folder, ids)
    np.testing.assert_allclose(output, by_hand(folder, ids, exact_gelu), atol=5e-6)
    # The approximation differs clearly from it.
    assert np.abs(output - by_hand(folder, ids, tanh_gelu)).max() > 1e-4


def test_the_encoder_computes_the_approximation_where_config_json_names_it(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, hidden_act="gelu_new")
    ids = np.array([2, 5, 16, 9, 12, 3])
    np.testing.assert_allclose(encoder_output(folder, ids), by_hand(folder, ids, tanh_gelu), atol=5e-6)


def test_the_encoder_normalises_with_the_epsilon_of_config_json(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "encoder", layer_norm_eps=0.01)
    ids = np.array([2, 5, 16, 9, 12, 3])
    expected = by_hand(folder, ids, exact_gelu, epsilon=0.01)
    np.testing.assert_allclose(encoder_output(folder, ids), expected, atol=5e-6)
    assert np.abs(expected - by_hand(folder, ids, exact_gelu)).max() > 1e-3


def test_a_saved_model_keeps_the_epsilon_of_its_encoder(tmp_path: Path) -> None:
    model = train(tiny_encoder(tmp_path / "encoder", layer_norm_eps=0.01), BertConfig(epochs=1))
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    texts = part(6, 5).texts
    np.testing.assert_array_equal(bert.BertModel.load(tmp_path / "model", threads=1).predict_proba(texts), model.predict_proba(texts))
    shape = json.loads((tmp_path / "model" / "model.json").read_text())
    assert shape.pop("layer_norm_eps") == 0.01
    # As a model of an older release.
    assert bert._Shape.model_validate(shape).layer_norm_eps == 1e-12


def test_the_encoder_has_the_dropout_and_the_segments_of_config_json(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.25, type_vocab_size=3)
    backbone = bert_encoder.load_backbone(folder)
    layer = backbone.transformer_layers[1]
    rates = (backbone.embeddings_dropout.rate, layer._self_attention_dropout.rate, layer._feedforward_dropout.rate)
    assert (*rates, layer._self_attention_layer._dropout, backbone.num_segments) == (0.25, 0.25, 0.25, 0.25, 3)
    assert bert_encoder.load_backbone(folder, dropout=0.0).embeddings_dropout.rate == 0


def test_a_preparation_compares_the_settings_of_the_encoder(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, layer_norm_eps=0.01, hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.25)
    backbone = bert_encoder.load_backbone(folder)
    check._check_settings(backbone, folder)
    # As KerasHub builds it.
    bert_encoder.normalisations(backbone)[-1].epsilon = 1e-12
    with pytest.raises(BundleError, match="dropout, epsilon and segments of the encoder are "):
        check._check_settings(backbone, folder)


def test_control_tokens_in_a_text_are_words(tmp_path: Path) -> None:
    tokenizer = bert_encoder.load_tokenizer(tiny_encoder(tmp_path))
    words = ["[PAD]", "[SEP]", "[CLS]", "[MASK]", "[UNK]"]
    for ids in bert.encode(tokenizer, [f"study of {word} in a patient" for word in words], 400):
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        # The word is not in the small vocabulary, and neither are its brackets.
        assert ids[1:-1] == tokenizer.convert_tokens_to_ids(["study", "of", *["[UNK]"] * 3, "in", "a", "patient"])


def test_the_saved_tokenizer_reads_control_tokens_as_words(built: Callable[[BertConfig], Fit], tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    trained = built(BertConfig())["trained"]
    trained.save(saved)
    again = bert_encoder.load_tokenizer(saved / "encoder")
    assert bert.encode(again, ["a [PAD] b"], 400) == bert.encode(trained._tokenizer, ["a [PAD] b"], 400) == [[2, 15, 1, 1, 1, 1, 3]]


def test_the_small_real_encoder_gives_probabilities(demo_bundle: Path) -> None:
    folder = demo_bundle / "encoder"
    backbone, tokenizer = bert_encoder.load_backbone(folder), bert_encoder.load_tokenizer(folder)
    bert_encoder.require_match(tokenizer, backbone, folder)
    network = bert_encoder.build_network(backbone, BertConfig())
    ids = bert.encode(tokenizer, ["a vaccine", "a railway"], 24)
    vaccine, railway = np.asarray(network(_keras.pad(ids), training=False))
    assert tokenizer.unk_token_id not in [*ids[0], *ids[1]]
    np.testing.assert_allclose([vaccine.sum(), railway.sum()], 1, atol=1e-6)
    assert np.abs(vaccine - railway).max() > 1e-4


def test_the_network_of_the_specification(built: Callable[[BertConfig], Fit]) -> None:
    model = built(BertConfig())["model"]
    dense, dropout, probabilities = model.layers[-3:]
    assert (dense.units, dense.activation.__name__, float(dense.kernel_regularizer.l2)) == (48, "relu", pytest.approx(0.01))
    assert dropout.rate == 0.3
    assert (probabilities.units, probabilities.activation.__name__, probabilities.compute_dtype) == (2, "softmax", "float32")
    assert (type(model.optimizer).__name__, float(model.optimizer.learning_rate)) == ("Adam", pytest.approx(2e-5))
    assert (model.loss, model.jit_compile) == ("categorical_crossentropy", False)


def test_the_schedule_of_the_specification(built: Callable[[BertConfig], Fit]) -> None:
    seen = built(BertConfig())
    assert seen["schedule"] == _keras.Schedule(epochs=10, batch_size=16, patience=3, micro_batch=16)
    assert seen["seed"] == 69
    np.testing.assert_array_equal(seen["train"].targets[:3], [[1, 0], [0, 1], [1, 0]])
    assert len(seen["validation"].token_ids) == 12


def test_the_head_reads_the_first_token_of_the_last_hidden_state(built: Callable[[BertConfig], Fit], tmp_path: Path) -> None:
    model = built(BertConfig())["model"]
    ids = np.array([2, 5, 16, 3])
    first, last = ([np.asarray(weight) for weight in model.get_layer(name).get_weights()] for name in ("dense", "probabilities"))
    hidden = np.maximum(by_hand(tmp_path / "bundle", ids, exact_gelu)[0] @ first[0] + first[1], 0)
    scores = np.exp(hidden @ last[0] + last[1])
    padded = np.array([[*ids, 0, 0, 0, 0]])
    np.testing.assert_allclose(np.asarray(model(padded, training=False))[0], scores / scores.sum(), atol=1e-5)


@pytest.mark.parametrize(("freeze", "trainable"), [(True, 4), (False, 4 + 5 + 16 * LAYERS)])
def test_a_frozen_encoder_leaves_only_the_head_trainable(built: Callable[[BertConfig], Fit], freeze: bool, trainable: int) -> None:
    # Without the pooler: three embeddings and one normalisation before the layers, 16 arrays in each.
    assert len(built(BertConfig(freeze_weights=freeze))["model"].trainable_weights) == trainable


def test_truncation_and_padding_of_the_folder_have_no_effect(built: Callable[[BertConfig], Fit]) -> None:
    tokenizer = built(BertConfig())["trained"]._tokenizer
    long, short = bert.encode(tokenizer, ["myelin " * 900, "Myelin lesions"], 400)
    assert (len(long), long[0], long[-1]) == (400, 2, 3)
    assert short == [2, 5, 6, 20, 3]


def test_more_texts_than_one_call_takes_are_encoded(built: Callable[[BertConfig], Fit], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = built(BertConfig())["trained"]._tokenizer
    texts = list(part(11, 5).texts)
    together = bert.encode(tokenizer, texts, 400)
    monkeypatch.setattr(bert, "_TEXTS_AT_ONCE", 4)
    assert bert.encode(tokenizer, texts, 400) == together
    assert len(together) == 11


def test_the_folder_contains_neither_pooler_nor_optimiser(built: Callable[[BertConfig], Fit], tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    built(BertConfig())["trained"].save(saved)
    shapes: dict[str, tuple[int, ...]] = {}
    with h5py.File(saved / "bert_weights.h5") as file:
        file.visititems(lambda name, item: shapes.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None)
    assert (WIDTH, 48) in shapes.values()
    assert (WIDTH, WIDTH) not in shapes.values()  # the shape of the pooler; those of the attention have three dimensions
    assert not [name for name in shapes if "optimizer" in name]
    assert {path.name for path in (saved / "encoder").iterdir()} == {"backbone.json", "tokenizer.json", "tokenizer_config.json"}
    assert not [path for path in saved.rglob("*.json") if str(tmp_path) in path.read_text()]


def test_the_model_learns_typical_words(tmp_path: Path) -> None:
    model = train(tiny_encoder(tmp_path), BertConfig(epochs=15, learning_rate=0.01, patience=15))
    relevant, irrelevant = model.predict_proba([" ".join(RELEVANT), " ".join(IRRELEVANT)])
    assert relevant > 0.8
    assert irrelevant < 0.2


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        bert_encoder.load_backbone(tmp_path / "nowhere")
    assert str(caught.value) == (
        f"{tmp_path / 'nowhere'} holds no model.safetensors; make the bundle again with manage.py prepare_base_models"
    )


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(BundleError) as caught:
        bert_encoder.load_backbone(folder)
    assert str(caught.value) == (
        f"{folder / 'config.json'} cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1); "
        "make the bundle again with manage.py prepare_base_models"
    )


def test_an_encoder_of_another_family_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "unknown"}))
    with pytest.raises(BundleError, match="is no BERT that KerasHub can read"):
        bert_encoder.load_backbone(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_act", "relu", "hidden_act 'relu': Input should be 'gelu', 'gelu_new' or 'gelu_pytorch_tanh';"),
        ("position_embedding_type", "relative_key", "position_embedding_type 'relative_key': Input should be 'absolute';"),
        ("is_decoder", True, "is_decoder True: Input should be False;"),
        (
            "attention_probs_dropout_prob", 0.0,
            "hidden_dropout_prob 0.1 and attention_probs_dropout_prob 0 differ, and KerasHub has one rate: "
            "set bert.encoder_dropout in the hyper-parameter file, or",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_computed_are_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    folder = tiny_encoder(tmp_path, **{key: value})
    with pytest.raises(BundleError) as caught:
        bert_encoder.load_backbone(folder)
    assert str(caught.value) == f"{folder / 'config.json'}: {message} choose another encoder"
    if "dropout" in key:
        assert bert_encoder.load_backbone(folder, dropout=0.2).dropout == 0.2


def test_more_tokens_than_positions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_encoder(tmp_path)
    backbone = bert_encoder.load_backbone(folder)
    backbone.max_sequence_length = 128
    monkeypatch.setattr(bert, "load_backbone", lambda encoder_dir, **settings: backbone)
    with pytest.raises(ConfigError) as caught:
        train(folder, BertConfig())
    assert str(caught.value) == f"bert.max_length 400 exceeds the 128 positions of {folder}; lower it"


CODE = "from transformers import BertTokenizer\nopen({effect!r}, 'w').close()\nclass Custom(BertTokenizer): pass\n"


def test_no_code_of_a_tokenizer_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_encoder(tmp_path / "encoder")
    settings = {"tokenizer_class": "Custom", "auto_map": {"AutoTokenizer": ["custom.Custom", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "custom.py").write_text(CODE.format(effect=str(tmp_path / "effect")))
    # A version folder has none, and then transformers asks.
    (folder / "config.json").unlink()
    answers: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: answers.append(question) or "yes")

    with pytest.raises(BundleError, match="holds no tokenizer that can be read"):
        bert_encoder.load_tokenizer(folder)

    assert answers == []
    assert not (tmp_path / "effect").exists()


def test_settings_of_an_encoder_are_numbers_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "encoder" / "backbone.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"num_layers": 2, "dtype": {"module": "os", "class_name": "system", "config": {"command": "true"}}}))
    shape = bert._Shape(head=BertConfig(), activation="gelu")
    (tmp_path / "model.json").write_text(shape.model_dump_json())

    with pytest.raises(ArtifactError) as caught:
        bert.BertModel.load(tmp_path, threads=1)

    assert str(caught.value) == f"{path} holds another value than numbers and texts; train the model again"


@pytest.mark.parametrize("missing", [("tokenizer.json", "vocab.txt"), ("tokenizer.json", "tokenizer_config.json", "vocab.txt")])
def test_a_folder_without_vocabulary_is_refused(tmp_path: Path, missing: tuple[str, ...]) -> None:
    folder = tiny_encoder(tmp_path)
    for name in missing:
        (folder / name).unlink()
    with pytest.raises(BundleError) as caught:
        bert_encoder.load_tokenizer(folder)
    assert str(caught.value) == (
        f"{folder} holds neither tokenizer.json nor vocab.txt; make the bundle again with manage.py prepare_base_models"
    )


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(BundleError, match="holds no tokenizer that can be read"):
        bert_encoder.load_tokenizer(folder)


def test_a_tokenizer_of_another_encoder_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    backbone = bert_encoder.load_backbone(folder)
    tokenizer = bert_encoder.load_tokenizer(folder)
    tokenizer.add_tokens(["one", "two"])
    with pytest.raises(BundleError) as caught:
        bert_encoder.require_match(tokenizer, backbone, folder)
    assert str(caught.value) == (
        f"{folder}: the tokenizer has 25 tokens, the encoder 23; make the bundle again with manage.py prepare_base_models"
    )


def test_probabilities_do_not_depend_on_the_padding(tmp_path: Path) -> None:
    model = train(tiny_encoder(tmp_path / "encoder"), BertConfig(epochs=2, dense_units=4, learning_rate=0.01))
    texts = part(30, 5).texts
    ids = bert.encode(model._tokenizer, texts, 400)
    full = np.asarray(model._network(_keras.pad(ids, length=400), training=False))[:, 1]
    np.testing.assert_allclose(model.predict_proba(texts), full, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "has_bfloat16", "used"),
    [
        ("auto", False, "float32"),
        ("auto", True, "mixed_bfloat16"),
        ("float32", True, "float32"),
        ("mixed_bfloat16", False, "mixed_bfloat16"),
    ],
)
def test_precision_is_mixed_if_the_device_supports_it(
    built: Callable[[BertConfig], Fit], monkeypatch: pytest.MonkeyPatch, precision: str, has_bfloat16: bool, used: str
) -> None:
    device = _keras.Device(name="H", is_gpu=True, has_bfloat16=has_bfloat16, free_bytes=2**36)
    monkeypatch.setattr(_keras, "device", lambda: device)
    fit = built(BertConfig.model_validate({"precision": precision}))
    assert fit["trained"].compute == {"device": "H", "precision": used, "micro_batch": 16}
    encoder = fit["model"].get_layer("encoder")
    assert encoder.layers[-1].compute_dtype == used.removeprefix("mixed_")
    assert fit["model"].get_layer("probabilities").compute_dtype == "float32"


@pytest.mark.parametrize(
    ("is_gpu", "padding", "rows"), [(False, "longest", 4), (False, "max_length", 16), (True, "longest", 16), (True, "max_length", 16)]
)
def test_long_texts_have_a_smaller_micro_batch_on_a_cpu(tmp_path: Path, is_gpu: bool, padding: str, rows: int) -> None:
    device = _keras.Device(name="D", is_gpu=is_gpu, has_bfloat16=False, free_bytes=2**36)
    config = BertConfig.model_validate({"padding": padding})
    backbone = bert_encoder.load_backbone(tiny_encoder(tmp_path))
    assert bert.schedule_of(config, backbone, device, longest=400).examples_at_once == rows


@pytest.mark.parametrize(("is_gpu", "rows"), [(False, 16), (True, 1)])
def test_the_same_memory_holds_more_texts_on_a_cpu(tmp_path: Path, is_gpu: bool, rows: int) -> None:
    device = _keras.Device(name="D", is_gpu=is_gpu, has_bfloat16=False, free_bytes=1250 * 2**20)
    backbone = bert_encoder.load_backbone(tiny_encoder(tmp_path))
    assert bert.schedule_of(BertConfig(padding="max_length"), backbone, device, longest=400).examples_at_once == rows


@pytest.mark.parametrize("is_gpu", [False, True])
def test_a_training_on_a_cpu_keeps_fewer_arrays(
    built: Callable[[BertConfig], Fit], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_gpu: bool
) -> None:
    monkeypatch.setattr(_keras, "device", lambda: _keras.Device(name="D", is_gpu=is_gpu, has_bfloat16=False, free_bytes=2**36))
    less: list[Any] = []
    monkeypatch.setattr(bert, "keep_less", less.append)
    encoder = built(BertConfig())["model"].get_layer("encoder")
    assert [backbone.transformer_layers[0] in encoder.layers for backbone in less] == [True] * (not is_gpu)


def test_kerashub_does_not_import_its_tokenizers() -> None:
    program = "import sys; import gregory.ml._keras.hub; print(sorted({'keras_hub', 'kagglehub', 'tensorflow_text'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "['keras_hub']\n"


@pytest.mark.slow
def test_a_model_trained_in_mixed_precision_predicts_in_float32(tmp_path: Path) -> None:
    config = BertConfig(epochs=2, dense_units=4, learning_rate=0.01, precision="mixed_bfloat16")
    model = train(tiny_encoder(tmp_path / "encoder"), config)
    assert {layer.compute_dtype for layer in model._network.layers} == {"float32"}
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    texts = part(30, 5).texts
    np.testing.assert_array_equal(bert.BertModel.load(tmp_path / "model", threads=1).predict_proba(texts), model.predict_proba(texts))


def test_a_required_gpu_that_is_missing_ends_the_fit(tmp_path: Path) -> None:
    context = TrainerContext(encoder_dir=tiny_encoder(tmp_path), threads=1, seed=69, require_gpu=True)
    with pytest.raises(NoGpu) as caught:
        bert.BertTrainer(Hyperparameters(), context).fit(Split(train=part(4, 1), validation=part(4, 2), test=part(0, 3)), report=silent)
    assert str(caught.value).startswith("this run requires a GPU, but TensorFlow, built with")
    assert str(caught.value).endswith("driver, device plugin and image, or run without GREGORY_REQUIRE_GPU")
