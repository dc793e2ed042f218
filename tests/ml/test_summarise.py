"""Summarisers: the loop over a corpus, the leading sentences of the demo bundle, and a real tiny BART on CTranslate2."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer

from gregory.ml import resources
from gregory.ml.base_models import REMEDY
from gregory.ml.config import SummariserConfig
from gregory.ml.errors import BundleError, ConfigError, MemoryExhausted
from gregory.ml.progress import Progress, silent
from gregory.ml.summarise import load_summariser, summarise_all
from gregory.ml.summarisers import bart
from gregory.ml.summarisers.bart import BartOnCTranslate2
from gregory.ml.summarisers.leading import LeadingSentences, sentences
from tests.ml.tiny_bart import GENERATION, tiny_bart

TEXTS = [
    "relapse was reduced in the trial",
    "fatigue lesion dose",
    "the outcome of placebo and the risk of relapse were measured with therapy",
    "patient patient",
    "the risk",
    "a dose of treatment treated the patient",
    "lesion",
]
SMALL = SummariserConfig(max_source_tokens=64, max_new_tokens=40)


class Shouting:
    """A summariser with summaries that identify their texts. It records its batches."""

    at_once = 1

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def summarise(self, texts: Sequence[str]) -> list[str]:
        self.batches.append(list(texts))
        return [text.upper() for text in texts]


class Silent:
    """A summariser that loses texts."""

    at_once = 1

    def summarise(self, texts: Sequence[str]) -> list[str]:
        return []


class Together(Shouting):
    """A summariser whose batches wait until there are `at_once` of them."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once
        self.barrier = threading.Barrier(at_once, timeout=60)

    def summarise(self, texts: Sequence[str]) -> list[str]:
        self.barrier.wait()
        return super().summarise(texts)


class Slow(Shouting):
    """A summariser that needs a tenth of a second for a batch."""

    def summarise(self, texts: Sequence[str]) -> list[str]:
        time.sleep(0.1)
        return super().summarise(texts)


class Recorder:
    """A substitute of ctranslate2.Translator. It records its arguments and returns empty hypotheses."""

    def __init__(self, folder: str, **options: object) -> None:
        self.folder = folder
        self.options = options
        self.calls: list[tuple[list[list[str]], dict[str, object]]] = []
        self.hypotheses = [["<s>", "Ġdose", "</s>"]]
        self.scores = [-1.0]

    def translate_batch(self, sources: list[list[str]], **options: object) -> list[SimpleNamespace]:
        self.calls.append((sources, options))
        return [SimpleNamespace(hypotheses=self.hypotheses, scores=self.scores) for _ in sources]


@pytest.fixture(scope="module")
def bart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bart(tmp_path_factory.mktemp("summariser") / "bart")


@pytest.fixture
def recorded(bart_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[BartOnCTranslate2, Recorder]]:
    monkeypatch.setattr(resources, "available_memory", lambda: 64 * 2**30)

    def load(config: SummariserConfig, folder: Path = bart_folder) -> tuple[BartOnCTranslate2, Recorder]:
        made: list[Recorder] = []

        def make(folder: str, **options: object) -> Recorder:
            made.append(Recorder(folder, **options))
            return made[0]

        monkeypatch.setattr(bart.ctranslate2, "Translator", make)
        return BartOnCTranslate2(folder, config, threads=3), made[0]

    return load


def _bart(folder: Path, config: SummariserConfig = SMALL) -> BartOnCTranslate2:
    return BartOnCTranslate2(folder, config, threads=1, compute_type="float32")


def _changed(folder: Path, target: Path, **generation: object) -> Path:
    shutil.copytree(folder, target)
    (target / "generation.json").write_text(json.dumps({**GENERATION, **generation}), encoding="utf-8")
    return target


def _lengths(folder: Path, summaries: list[str]) -> list[int]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(tokenizer.encode(summary, add_special_tokens=False).tokens) for summary in summaries]


# The loop


def test_summaries_are_in_the_order_of_the_abstracts() -> None:
    assert summarise_all(TEXTS, Shouting(), batch_size=2, report=silent) == [text.upper() for text in TEXTS]


def test_batches_have_at_most_batch_size_texts_longest_first() -> None:
    summariser = Shouting()
    summarise_all(["a", "ccc", "bb", "eeeee", "dddd"], summariser, batch_size=2, report=silent)
    assert summariser.batches == [["eeeee", "dddd"], ["ccc", "bb"], ["a"]]


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_abstract_gives_an_empty_summary_without_the_summariser(blank: str) -> None:
    summariser = Shouting()
    assert summarise_all(["one", blank, "two"], summariser, batch_size=4, report=silent) == ["ONE", "", "TWO"]
    assert summariser.batches == [["one", "two"]]


def test_a_summariser_that_loses_a_text_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"^Silent returned 0 summaries for a batch of 2 texts$"):
        summarise_all(["one", "two"], Silent(), batch_size=4, report=silent)


def test_progress_is_reported_every_five_seconds_and_at_the_end() -> None:
    told: list[Progress] = []
    seconds = iter([0.0, 2.0, 4.9, 5.0, 9.0, 11.0])
    summarise_all(["a", "b", "", "c", "d", "e"], Shouting(), batch_size=1, report=told.append, clock=lambda: next(seconds))
    assert told == [
        Progress(message="summarised 3 of 5 abstracts", fraction=0.6),
        Progress(message="summarised 5 abstracts, 1 blank", fraction=1.0),
    ]


@pytest.mark.parametrize("at_once", [2, 3])
def test_as_many_batches_run_at_once_as_the_summariser_allows(at_once: int) -> None:
    summariser = Together(at_once)
    assert summarise_all("abcdef", summariser, batch_size=1, report=silent) == list("ABCDEF")
    assert sorted(summariser.batches) == [[letter] for letter in "abcdef"]


def test_after_an_error_no_further_batch_begins() -> None:
    def broken(progress: Progress) -> None:
        raise OSError("the pipe is closed")

    summariser, later = Slow(), iter(range(10, 10_000, 10))
    with pytest.raises(OSError, match=r"^the pipe is closed$"):
        summarise_all(["text"] * 600, summariser, batch_size=1, report=broken, clock=lambda: float(next(later)))
    assert len(summariser.batches) < 600


def test_a_corpus_without_abstracts_is_summarised_at_once() -> None:
    told: list[Progress] = []
    assert summarise_all(["", ""], Shouting(), batch_size=4, report=told.append) == ["", ""]
    assert told == [Progress(message="summarised 0 abstracts, 2 blank", fraction=1.0)]


# Leading sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One ends. Two ends! Three? Four", ["One ends.", "Two ends!", "Three?", "Four"]),
        ("It fell by 0.05 (p < .01). Then it rose.", ["It fell by 0.05 (p < .01).", "Then it rose."]),
        ("Drugs, e.g. Ocrelizumab, vs. Placebo. Next.", ["Drugs, e.g. Ocrelizumab, vs. Placebo.", "Next."]),
        ("See Fig. 2 of Smith et al. (2006). Next.", ["See Fig. 2 of Smith et al. (2006).", "Next."]),
        ("Written by J. R. Smith. Next.", ["Written by J. R. Smith.", "Next."]),
        ("Caused by S. aureus and Candida spp. in blood. Next.", ["Caused by S. aureus and Candida spp. in blood.", "Next."]),
        ("Interferons (e.g. Avonex). Next.", ["Interferons (e.g. Avonex).", "Next."]),
        ("Is it type B? Next.", ["Is it type B?", "Next."]),
        ("Patients had MS. Next.", ["Patients had MS.", "Next."]),
        ('They said "yes." (Some did not.) Next.', ['They said "yes."', "(Some did not.)", "Next."]),
        ("None . . . of this", ["None .", ".", ". of this"]),
        ("", []),
    ],
)
def test_sentences_end_at_the_correct_places(text: str, expected: list[str]) -> None:
    assert list(sentences(text)) == expected


def test_complete_sentences_are_returned_up_to_the_limit() -> None:
    assert LeadingSentences(words=5).summarise(["One two. Three four five. Six."]) == ["One two. Three four five."]


def test_a_sentence_beyond_the_limit_is_left_out() -> None:
    assert LeadingSentences(words=4).summarise(["One two. Three four five. Six."]) == ["One two."]


def test_a_first_sentence_above_the_limit_is_cut() -> None:
    assert LeadingSentences(words=3).summarise(["one two three four five. Six."]) == ["one two three"]


def test_blanks_before_a_text_do_not_count() -> None:
    assert LeadingSentences(words=2).summarise([" " * 1000 + "One. Two."]) == ["One. Two."]


def test_each_text_has_its_own_sentences_in_order() -> None:
    assert LeadingSentences(words=2).summarise(["One. Two. Three.", "Four."]) == ["One. Two.", "Four."]


@pytest.mark.parametrize("text", ["x" * 5_000_000, "Yes. " * 1_000_000, "word " * 1_000_000, "A. " * 1_700_000])
def test_megabytes_of_text_become_a_short_summary(text: str) -> None:
    summary = LeadingSentences(words=60).summarise([text])[0]
    assert text.startswith(summary)
    assert 100 < len(summary) <= 60 * 64


# The selection of a summariser


def _settings(folder: Path, content: str) -> Path:
    (folder / "summariser.json").write_text(content, encoding="utf-8")
    return folder


def test_the_bundle_selects_the_leading_sentences_and_their_limit(tmp_path: Path) -> None:
    folder = _settings(tmp_path, '{"kind": "leading_sentences", "words": 2}')
    summariser = load_summariser(folder, SummariserConfig(), threads=1)
    assert summariser.summarise(["One. Two. Three."]) == ["One. Two."]


def test_the_bundle_selects_bart(bart_folder: Path) -> None:
    summariser = load_summariser(bart_folder, SMALL, threads=1)
    assert isinstance(summariser, BartOnCTranslate2)
    assert all(summarise_all(TEXTS, summariser, batch_size=4, report=silent))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            '{"kind": "t5"}',
            "Input tag 't5' found using 'kind' does not match any of the expected tags: 'leading_sentences', 'bart_ctranslate2'",
        ),
        ('{"kind": "leading_sentences", "words": 0}', "leading_sentences.words: Input should be greater than or equal to 1"),
        ('{"kind": "leading_sentences", "words": 9, "tokens": 9}', "leading_sentences.tokens: Extra inputs are not permitted"),
        ("", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
    ],
)
def test_wrong_settings_are_an_error_of_the_bundle(tmp_path: Path, content: str, fault: str) -> None:
    with pytest.raises(BundleError) as caught:
        load_summariser(_settings(tmp_path, content), SummariserConfig(), threads=1)
    assert str(caught.value) == f"{tmp_path / 'summariser.json'}: {fault}; {REMEDY}"


def test_missing_settings_are_an_error_of_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_summariser(tmp_path, SummariserConfig(), threads=1)
    assert str(caught.value) == f"{tmp_path / 'summariser.json'} cannot be read: No such file or directory; {REMEDY}"


# BART on CTranslate2: summaries


def test_bart_writes_the_same_after_each_loading(bart_folder: Path) -> None:
    assert _bart(bart_folder).summarise(TEXTS) == _bart(bart_folder).summarise(TEXTS)


@pytest.mark.parametrize(("compute_type", "used"), [("float32", "float32"), ("int8", "int8_float32")])
def test_the_facts_that_change_a_summary_are_named(bart_folder: Path, compute_type: str, used: str) -> None:
    assert BartOnCTranslate2(bart_folder, SMALL, threads=1, compute_type=compute_type).compute == {
        "ctranslate2": version("ctranslate2"),
        "device": "cpu",
        "compute_type": used,
        "instructions": resources.integer_instructions(),
    }


def test_the_score_counts_the_end_token_whether_it_is_returned_or_not(bart_folder: Path) -> None:
    """Decision 0008 compares this with transformers."""
    translator = bart.ctranslate2.Translator(str(bart_folder / "float32"), compute_type="float32")
    with_end, without = (
        translator.translate_batch(
            [["<s>", "dose", "</s>"]], beam_size=4, length_penalty=2.0, return_scores=True, return_end_token=returned
        )[0]
        for returned in (True, False)
    )
    assert [*without.hypotheses[0], "</s>"] == with_end.hypotheses[0]
    assert without.scores == with_end.scores


def test_bart_writes_another_summary_for_each_text(bart_folder: Path) -> None:
    summaries = _bart(bart_folder).summarise(TEXTS)
    assert all(summaries)
    assert len(set(summaries)) == len(TEXTS)


def test_bart_writes_the_same_in_any_order(bart_folder: Path) -> None:
    summariser = _bart(bart_folder)
    assert summariser.summarise(TEXTS[::-1]) == summariser.summarise(TEXTS)[::-1]


@pytest.mark.parametrize("size", [1, 4, 7])
def test_bart_writes_the_same_in_batches_of_any_size(bart_folder: Path, size: int) -> None:
    summariser = _bart(bart_folder)
    alone = [summariser.summarise([text])[0] for text in TEXTS]
    assert summarise_all(TEXTS, summariser, batch_size=size, report=silent) == alone


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_bart_writes_the_same_in_several_batches_at_once(bart_folder: Path, monkeypatch: pytest.MonkeyPatch, compute_type: str) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 64 * 2**30)
    one, three = (BartOnCTranslate2(bart_folder, SMALL, threads=threads, compute_type=compute_type) for threads in (1, 3))
    assert (one.at_once, three.at_once) == (1, 3)
    texts = [f"{text} {other}" for text in TEXTS for other in TEXTS]
    assert summarise_all(texts, three, batch_size=2, report=silent) == [one.summarise([text])[0] for text in texts]


def test_bart_writes_no_special_token(bart_folder: Path) -> None:
    summaries = " ".join(_bart(bart_folder).summarise(TEXTS))
    assert [token for token in ("<s>", "</s>", "<pad>", "<unk>", "Ġ") if token in summaries] == []


def test_bart_stops_at_its_limit_of_new_tokens(bart_folder: Path, tmp_path: Path) -> None:
    talkative = _changed(bart_folder, tmp_path / "talkative", min_length=30)
    free = _bart(talkative, SummariserConfig(max_source_tokens=64, max_new_tokens=60))
    bound = _bart(talkative, SummariserConfig(max_source_tokens=64, max_new_tokens=30))
    assert max(_lengths(bart_folder, free.summarise(TEXTS))) > 30
    # <s> and the forced </s> are among the thirty.
    assert max(_lengths(bart_folder, bound.summarise(TEXTS))) == 28


def test_bart_reads_at_most_its_limit_of_tokens(bart_folder: Path) -> None:
    summariser = _bart(bart_folder, SummariserConfig(max_source_tokens=6, max_new_tokens=40))
    short, long = summariser.summarise(["patient dose risk trial", "patient dose risk trial lesion relapse"])
    assert short == long


@pytest.mark.parametrize("word", ["dose risk ", "dose", "-"])
def test_megabytes_take_bart_no_more_time_than_its_limit_of_tokens(bart_folder: Path, word: str) -> None:
    summariser = _bart(bart_folder)
    long = summariser.summarise([word * 100_000])
    # Processor time: another process must not count.
    started = time.process_time()
    assert summariser.summarise([word * (5_000_000 // len(word))]) == long
    # Without the limit these texts take 5 to 25 s.
    assert time.process_time() - started < 2


def test_bart_repeats_no_three_tokens(bart_folder: Path, tmp_path: Path) -> None:
    def repeats(folder: Path) -> bool:
        summary = _bart(folder, SummariserConfig(max_source_tokens=64, max_new_tokens=60)).summarise(["patient dose"])[0]
        return "patipatipatipati" in summary

    assert repeats(_changed(bart_folder, tmp_path / "free", no_repeat_ngram_size=0, min_length=50))
    assert not repeats(_changed(bart_folder, tmp_path / "bound", no_repeat_ngram_size=3, min_length=50))


# BART on CTranslate2: calls of the translator


def test_bart_gets_the_parameters_of_its_folder_and_the_limits_of_the_configuration(recorded: Callable) -> None:
    summariser, translator = recorded(SMALL)
    assert summariser.summarise(["dose", "risk"]) == ["dose", "dose"]
    sources, options = translator.calls[0]
    assert sources == [["<s>", "dose", "</s>"], ["<s>", "risk", "</s>"]]
    assert options == {
        "target_prefix": [["<s>"], ["<s>"]],
        "beam_size": 4,
        "num_hypotheses": 4,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "min_decoding_length": 7,
        "max_decoding_length": 40,
        "max_input_length": 0,
        "return_end_token": True,
        "return_scores": True,
    }
    assert len(translator.calls) == 1


def test_without_a_forced_first_token_there_is_no_target_prefix(recorded: Callable, bart_folder: Path, tmp_path: Path) -> None:
    summariser, translator = recorded(SMALL, _changed(bart_folder, tmp_path / "free", forced_bos_token=None))
    summariser.summarise(["dose"])
    assert translator.calls[0][1]["target_prefix"] is None


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # A forced end gives the same probability to one more token: (39/40)**2 changes -1.0 to -.9506.
        ([-0.951, -1.0], "riskrisk"),
        ([-0.95, -1.0], "dosedose"),
    ],
)
def test_a_search_at_the_limit_ends_as_in_transformers(recorded: Callable, scores: list[float], expected: str) -> None:
    summariser, translator = recorded(SMALL)
    translator.scores = scores
    translator.hypotheses = [["<s>", "dose", "dose", "</s>"], ["<s>", "risk", "risk", *["</s>"] * 36, "dose"]]
    searched = translator.translate_batch

    def second_time_shorter(sources: list[list[str]], **options: object) -> list[SimpleNamespace]:
        if translator.calls:
            translator.hypotheses = [translator.hypotheses[0], ["<s>", "risk", "risk", *["</s>"] * 35, "<s>"]]
        return searched(sources, **options)

    translator.translate_batch = second_time_shorter
    assert summariser.summarise(["dose"]) == [expected]
    assert [options["max_decoding_length"] for _, options in translator.calls] == [40, 39]


def test_a_search_at_the_limit_without_a_forced_end_is_not_changed(recorded: Callable, bart_folder: Path, tmp_path: Path) -> None:
    summariser, translator = recorded(SMALL, _changed(bart_folder, tmp_path / "free", forced_eos_token=None))
    translator.hypotheses = [["<s>", *["dose"] * 39]]
    assert summariser.summarise(["dose"]) == ["dose" * 39]
    assert len(translator.calls) == 1


def test_the_smallest_limit_of_tokens_is_obeyed(recorded: Callable) -> None:
    summariser, translator = recorded(SummariserConfig(max_source_tokens=3, max_new_tokens=40))
    summariser.summarise(["dose dose dose"])
    assert translator.calls[0][0] == [["<s>", "dose", "</s>"]]


def test_a_truncated_source_has_its_end_token(recorded: Callable) -> None:
    summariser, translator = recorded(SummariserConfig(max_source_tokens=7, max_new_tokens=40))
    summariser.summarise(["dose" + " dose" * 100])
    assert translator.calls[0][0] == [["<s>", "dose", "Ġdose", "Ġdose", "Ġdose", "Ġdose", "</s>"]]


@pytest.mark.parametrize(
    ("devices", "offered", "expected"),
    [
        (0, {"float32", "int8"}, ("cpu", "int8")),
        (0, {"float32"}, ("cpu", "float32")),
        (1, {"float32", "float16", "int8"}, ("cuda", "float16")),
        (2, {"float32", "int8"}, ("cuda", "float32")),
    ],
)
def test_bart_uses_the_present_device_and_the_given_threads(
    recorded: Callable, monkeypatch: pytest.MonkeyPatch, devices: int, offered: set[str], expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(bart.ctranslate2, "get_cuda_device_count", lambda: devices)
    monkeypatch.setattr(bart.ctranslate2, "get_supported_compute_types", lambda device: offered)
    _, translator = recorded(SMALL)
    workers = {"inter_threads": 3, "intra_threads": 1} if devices == 0 else {"inter_threads": 1, "intra_threads": 3}
    assert translator.options == {"device": expected[0], "compute_type": expected[1], **workers}


@pytest.mark.parametrize(("free_gib", "at_once", "threads"), [(64, 3, 1), (0, 1, 3)])
def test_bart_has_as_many_batches_at_once_as_fit_into_memory(
    recorded: Callable, monkeypatch: pytest.MonkeyPatch, free_gib: int, at_once: int, threads: int
) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: free_gib * 2**30)
    summariser, translator = recorded(SMALL)
    assert summariser.at_once == at_once
    assert (translator.options["inter_threads"], translator.options["intra_threads"]) == (at_once, threads)


@pytest.mark.parametrize(
    ("stored", "asked", "expected"),
    [
        (["int8", "float16"], "int8", "int8"),
        (["int8", "float16"], "float16", "float16"),
        (["int8", "float16"], "float32", "float16"),
        (["int8", "float16"], "int8_float16", "float16"),
        (["int8"], "float16", "int8"),
        (["int8", "float16", "float32"], "bfloat16", "float32"),
    ],
)
def test_bart_is_loaded_in_the_given_or_the_best_stored_precision(
    recorded: Callable, bart_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: list[str], asked: str, expected: str
) -> None:
    recorded(SMALL)
    folder = tmp_path / "bart"
    shutil.copytree(bart_folder, folder, ignore=shutil.ignore_patterns("float32"))
    for name in stored:
        (folder / name).mkdir()
    monkeypatch.setattr(bart.ctranslate2, "Translator", Recorder)
    summariser = BartOnCTranslate2(folder, SMALL, threads=1, compute_type=asked)
    assert isinstance(summariser._translator, Recorder)
    assert summariser._translator.folder == str(folder / expected)


# BART on CTranslate2: errors


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"max_source_tokens": 65}, "summariser.max_source_tokens is 65, but this summariser has 64 positions: lower the value"),
        ({"max_new_tokens": 65}, "summariser.max_new_tokens is 65, but this summariser has 64 positions: lower the value"),
        ({"max_new_tokens": 7}, "summariser.max_new_tokens is 7, but this summariser writes at least 8: raise the value"),
    ],
)
def test_limits_beyond_those_of_bart_are_an_error_of_the_configuration(bart_folder: Path, config: dict[str, int], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _bart(bart_folder, SMALL.model_copy(update=config))
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("generation.json", "{path}: Invalid JSON: expected value at line 1 column 1; {remedy}"),
        ("tokenizer.json", "{path} is no tokenizer: Cannot instantiate Tokenizer from buffer: expected value at line 1 column 1; {remedy}"),
    ],
)
def test_a_damaged_file_is_an_error_of_the_bundle(bart_folder: Path, tmp_path: Path, name: str, fault: str) -> None:
    folder = _changed(bart_folder, tmp_path / "damaged")
    (folder / name).write_text("broken", encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        _bart(folder)
    assert str(caught.value) == fault.format(path=folder / name, remedy=REMEDY)


@pytest.mark.parametrize("name", ["generation.json", "tokenizer.json"])
def test_a_missing_file_is_an_error_of_the_bundle(bart_folder: Path, tmp_path: Path, name: str) -> None:
    folder = _changed(bart_folder, tmp_path / "missing")
    (folder / name).unlink()
    with pytest.raises(BundleError) as caught:
        _bart(folder)
    assert str(caught.value) == f"{folder / name} cannot be read: No such file or directory; {REMEDY}"


def test_a_missing_model_is_an_error_of_the_bundle(bart_folder: Path, tmp_path: Path) -> None:
    folder = _changed(bart_folder, tmp_path / "missing")
    model = folder / "float32"
    (model / "model.bin").unlink()
    with pytest.raises(BundleError) as caught:
        _bart(folder)
    expected = f"summariser model {model} cannot be loaded: Unable to open file 'model.bin' in model '{model}'; {REMEDY}"
    assert str(caught.value) == expected


def test_a_folder_without_any_model_is_an_error_of_the_bundle(bart_folder: Path, tmp_path: Path) -> None:
    folder = _changed(bart_folder, tmp_path / "empty")
    shutil.rmtree(folder / "float32")
    with pytest.raises(BundleError) as caught:
        _bart(folder)
    assert str(caught.value) == f"{folder} holds no converted model: none of the folders float32, float16, int8; {REMEDY}"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA failed with error out of memory")])
def test_exhausted_memory_is_reported(recorded: Callable, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    summariser, translator = recorded(SMALL)
    monkeypatch.setattr(translator, "translate_batch", _raiser(error))
    with pytest.raises(MemoryExhausted) as caught:
        summariser.summarise(["dose", "risk dose"])
    expected = "not enough memory to summarise 2 texts of up to 4 tokens; lower summariser.batch_size or give the run more memory"
    assert str(caught.value) == expected


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA failed with error out of memory")])
def test_exhausted_memory_during_loading_is_reported(bart_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(bart.ctranslate2, "Translator", _raiser(error))
    with pytest.raises(MemoryExhausted) as caught:
        _bart(bart_folder)
    assert str(caught.value) == f"not enough memory to load the summariser {bart_folder / 'float32'}"


def test_a_missing_cuda_library_is_not_an_error_of_the_bundle(bart_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = "Library libcublas.so.12 is not found or cannot be loaded"
    monkeypatch.setattr(bart.ctranslate2, "Translator", _raiser(RuntimeError(fault)))
    with pytest.raises(RuntimeError, match=f"^{fault}$"):
        _bart(bart_folder)


def test_a_defect_of_the_translator_passes_through(recorded: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    summariser, translator = recorded(SMALL)
    monkeypatch.setattr(translator, "translate_batch", _raiser(RuntimeError("no kernel")))
    with pytest.raises(RuntimeError, match=r"^no kernel$"):
        summariser.summarise(["dose"])


def _raiser(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
