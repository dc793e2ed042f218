"""BART on CTranslate2: a folder with tokenizer.json, generation.json, and the converted model once per stored precision.

The folder has the settings of the model (beams, penalties, positions). The configuration has the limits of the specification.
Beam search uses no random numbers. So the same texts give the same summaries with the same version of CTranslate2, the same precision
and the same instructions of the processor, which `compute` names. In float32 they are the summaries of transformers' `generate` with
renormalised scores. docs/decisions/0008-real-base-models.md has the differences from its default.
"""

from collections.abc import Sequence
from pathlib import Path

import ctranslate2
from tokenizers import Tokenizer

from gregory.ml import resources
from gregory.ml.base_models import REMEDY, read_settings
from gregory.ml.config import SummariserConfig
from gregory.ml.errors import BundleError, MemoryExhausted
from gregory.ml.summarisers.generation import GENERATION_FILE, Generation, require_within
from gregory.ml.summarisers.workers import Workers, batch_bytes, divided

_MOST_PRECISE_FIRST = ("float32", "float16", "int8")


class BartOnCTranslate2:
    """An abstractive summariser: float16 on a GPU if there is one, otherwise int8 on the CPU."""

    def __init__(self, folder: Path, config: SummariserConfig, *, threads: int, compute_type: str | None = None) -> None:
        self._generation = read_settings(folder / GENERATION_FILE, Generation)
        self._config = config
        require_within(config, self._generation)
        self._tokenizer = _load_tokenizer(folder / "tokenizer.json")
        # The files of hubs have limits of their own. Truncation here, and not in the translator, keeps the final </s>.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=config.max_source_tokens)
        # A byte-level token has at most as many characters as its name. So characters beyond this limit cannot be part of the
        # tokens that the model reads. Without the limit the tokenizer takes 10 to 25 s for 5 MB of text.
        self._characters = config.max_source_tokens * max(map(len, self._tokenizer.get_vocab()))
        self._translator, self.at_once = _load_translator(
            folder, threads=threads, batch=batch_bytes(config, beams=self._generation.num_beams), compute_type=compute_type
        )

    @property
    def compute(self) -> dict[str, str]:
        """Version, device and precision, and on a CPU the instructions that determine the rounding of int8."""
        device = self._translator.device
        processor = {"instructions": resources.integer_instructions()} if device == "cpu" else {}
        return {"ctranslate2": ctranslate2.__version__, "device": device, "compute_type": self._translator.compute_type, **processor}

    def summarise(self, texts: Sequence[str]) -> list[str]:
        """One summary per text, in the same order. Threads may call it. Raises MemoryExhausted if CTranslate2 cannot allocate."""
        sources = [self._tokenizer.encode(text[: self._characters]).tokens for text in texts]
        longest = self._config.max_new_tokens
        found = self._translate(sources, longest)
        last = self._generation.forced_eos_token
        # At the limit, transformers makes `last` the final token without a cost. CTranslate2 chooses one more token freely. So
        # these searches run again, one token shorter, and then end like those of transformers.
        cut = [index for index, hypotheses in enumerate(found) if last and any(len(tokens) == longest for tokens, _ in hypotheses)]
        for index, hypotheses in zip(cut, self._translate([sources[index] for index in cut], longest - 1) if cut else [], strict=True):
            found[index] = [self._closed(tokens, score) for tokens, score in hypotheses]
        return [self._decode(max(hypotheses, key=lambda hypothesis: hypothesis[1])[0]) for hypotheses in found]

    def _closed(self, tokens: list[str], score: float) -> tuple[list[str], float]:
        """A hypothesis with its forced end: the same probability for one more token."""
        if tokens[-1] == self._generation.forced_eos_token:
            return tokens, score
        return tokens, score * (len(tokens) / (len(tokens) + 1)) ** self._generation.length_penalty

    def _translate(self, sources: list[list[str]], max_decoding_length: int) -> list[list[tuple[list[str], float]]]:
        """Tokens and score of every final hypothesis of each search."""
        generation = self._generation
        first = generation.forced_bos_token
        try:
            results = self._translator.translate_batch(
                sources,
                target_prefix=[[first]] * len(sources) if first else None,
                beam_size=generation.num_beams,
                num_hypotheses=generation.num_beams,
                length_penalty=generation.length_penalty,
                no_repeat_ngram_size=generation.no_repeat_ngram_size,
                # Hugging Face counts the start token of the decoder, CTranslate2 does not.
                min_decoding_length=generation.min_length - 1,
                max_decoding_length=max_decoding_length,
                max_input_length=0,
                # `summarise` and `_closed` need the end token to recognise a cut hypothesis. The scores count it in any case.
                return_end_token=True,
                return_scores=True,
            )
        except MemoryError as error:
            raise _exhausted(sources) from error
        except RuntimeError as error:
            # CTranslate2 has no exception of its own. Only the text distinguishes a full GPU from a defect.
            if "out of memory" not in str(error) and "ALLOC_FAILED" not in str(error):
                raise
            raise _exhausted(sources) from error
        return [list(zip(result.hypotheses, result.scores, strict=True)) for result in results]

    def _decode(self, tokens: list[str]) -> str:
        ids = [number for number in map(self._tokenizer.token_to_id, tokens) if number is not None]
        return self._tokenizer.decode(ids, skip_special_tokens=True).strip()


def _load_tokenizer(path: Path) -> Tokenizer:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; {REMEDY}") from error
    try:
        return Tokenizer.from_buffer(content)
    except ValueError as error:
        raise BundleError(f"{path} is no tokenizer: {error}; {REMEDY}") from error


def _load_translator(folder: Path, *, threads: int, batch: int, compute_type: str | None) -> tuple[ctranslate2.Translator, int]:
    """The translator, and the number of batches that it translates at once. batch: the memory of one, in bytes."""
    device, preferred = ("cuda", "float16") if ctranslate2.get_cuda_device_count() else ("cpu", "int8")
    if compute_type is None:
        # Old GPUs have no fast float16, and old CPUs have no int8. float32 works on all.
        compute_type = preferred if preferred in ctranslate2.get_supported_compute_types(device) else "float32"
    stored = _stored(folder, compute_type)
    # Nobody has measured more batches on a GPU.
    workers = Workers(batches=1, threads=threads)
    if device == "cpu":
        weights = sum(file.stat().st_size for file in stored.glob("model.bin"))
        workers = divided(threads, free=resources.available_memory(), weights=weights, batch=batch)
    try:
        translator = ctranslate2.Translator(
            str(stored), device=device, compute_type=compute_type, inter_threads=workers.batches, intra_threads=workers.threads
        )
    except MemoryError as error:
        raise MemoryExhausted(f"not enough memory to load the summariser {stored}") from error
    except RuntimeError as error:
        if "out of memory" in str(error):
            raise MemoryExhausted(f"not enough memory to load the summariser {stored}") from error
        if "cannot be loaded" in str(error):
            raise  # a CUDA library is missing on this machine, and the bundle is intact
        raise BundleError(f"summariser model {stored} cannot be loaded: {error}; {REMEDY}") from error
    return translator, workers.batches


def _stored(folder: Path, compute_type: str) -> Path:
    """The converted model of that precision, or the most precise one. CTranslate2 converts it during loading."""
    for name in (compute_type, *_MOST_PRECISE_FIRST):
        if (folder / name).is_dir():
            return folder / name
    raise BundleError(f"{folder} holds no converted model: none of the folders {', '.join(_MOST_PRECISE_FIRST)}; {REMEDY}")


def _exhausted(sources: list[list[str]]) -> MemoryExhausted:
    longest = max(map(len, sources))
    return MemoryExhausted(
        f"not enough memory to summarise {len(sources)} texts of up to {longest} tokens; "
        "lower summariser.batch_size or give the run more memory"
    )
