"""All benchmarks: the module, its baseline, its arguments in `make bench` and `make bench-full`, and its needs."""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.releases import BEFORE


class Need(StrEnum):
    """A condition of a benchmark. The value is for people."""

    DATA = "a folder of labelled articles (DATA)"
    ENCODER = "an encoder in base_models/encoder: python manage.py prepare_base_models --demo"
    MODEL = "a version folder of a trained model (MODEL)"
    POSTGRESQL = "the programs of a PostgreSQL server (Debian: postgresql)"
    CLUSTER = "root, and the programs of the Kubernetes tests"
    JAX = "the package jax, which no requirement names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One module of this package.

    title: the measured quantity. quick: its arguments in `make bench`, which takes minutes. None: only `make bench-full` has it.
    full: those in `make bench-full`. {data} and {model} stand for what the operator named.
    """

    module: str
    title: str
    baseline: str
    quick: tuple[str, ...] | None
    full: tuple[str, ...] = ()
    needs: frozenset[Need] = frozenset()

    @property
    def command(self) -> str:
        """The command without arguments."""
        return f"python -m benchmarks.{self.module}"


DATA = ("--data", "{data}")
RELEASE = f"release {BEFORE}"
BENCHMARKS = (
    Benchmark(
        module="starts",
        title="Training overhead and starts of stages",
        baseline=RELEASE,
        quick=("--cases", "5:lgbm_tfidf", "1:pubmed_bert,lgbm_tfidf,lstm", "--pairs", "1"),
        full=("--pairs", "3"),
    ),
    Benchmark(
        module="demo",
        title="`make demo` after its set-up",
        baseline=RELEASE,
        quick=None,
        full=("--pairs", "2"),
    ),
    Benchmark(
        module="bert_padding",
        title="BERT epochs, padded to the longest text of a batch",
        baseline="the same batches, padded to the full length",
        quick=None,
        full=DATA,
        needs=frozenset({Need.DATA, Need.ENCODER}),
    ),
    Benchmark(
        module="bert_memory",
        title="Peak memory of a training step of BERT",
        baseline="the same batch in memory at once",
        quick=("--size", "minilm", "--rows", "4"),
        full=("--size", "base", "--rows", "4", "1"),
    ),
    Benchmark(
        module="bert_phases",
        title="Peak memory of each phase of a training of BERT-base",
        baseline="release 33dff1c",
        quick=None,
    ),
    Benchmark(
        module="bert_backends",
        title="BERT epochs on several backends of Keras",
        baseline="TensorFlow",
        quick=None,
        full=DATA,
        needs=frozenset({Need.DATA, Need.ENCODER, Need.JAX}),
    ),
    Benchmark(
        module="busy_neighbours",
        title="Work beside busy processes",
        baseline=RELEASE,
        quick=(*DATA, "--quick", "--only", "lgbm_tfidf"),
        full=DATA,
        needs=frozenset({Need.DATA, Need.ENCODER}),
    ),
    Benchmark(
        module="summaries",
        title="Summaries, several batches at once",
        baseline="one batch at once with all threads",
        quick=("--width", "256", "--layers", "3", "--texts", "8", "--rounds", "1"),
        full=("--rounds", "5"),
    ),
    Benchmark(
        module="kubernetes_submission",
        title="Rows and Jobs of a command",
        baseline="a plain loop of create calls",
        quick=None,
        full=("--runs", "1000"),
        needs=frozenset({Need.POSTGRESQL, Need.CLUSTER}),
    ),
    Benchmark(
        module="reconcile",
        title="A pass of the reconciler",
        baseline=RELEASE,
        quick=("--runs", "100", "1000", "--pairs", "1"),
        full=("--runs", "100", "1000", "10000", "--pairs", "3"),
        needs=frozenset({Need.POSTGRESQL}),
    ),
    Benchmark(
        module="live_database",
        title="Planning and corpus on a database of a million articles",
        baseline="COPY of the same records",
        quick=None,
        needs=frozenset({Need.POSTGRESQL}),
    ),
    Benchmark(
        module="import_articles",
        title="Import of articles",
        baseline=RELEASE,
        quick=("--articles", "5000", "--rounds", "1"),
    ),
    Benchmark(
        module="prediction",
        title="Predictions of many texts",
        baseline="the bare library, or the usual loop",
        quick=None,
        full=("{model}", "--data", "{data}/drug_reviews/ADHD.csv"),
        needs=frozenset({Need.MODEL, Need.DATA}),
    ),
    Benchmark(
        module="operator_pages",
        title="The operator pages with 1,000 runs",
        baseline="the same pages with one run",
        quick=(),
    ),
    Benchmark(
        module="quality",
        title="Quality of the models",
        baseline="the published figures",
        quick=(*DATA, "--algorithms", "lgbm_tfidf", "--again"),
        full=(*DATA, "--pseudo-labels", "off", "on"),
        # The encoder is that of the operator: BERT's figures are those of the encoder in base_models.
        needs=frozenset({Need.DATA, Need.ENCODER}),
    ),
    Benchmark(
        module="lightgbm_reference",
        title="ROC AUC of LightGBM",
        baseline="published figures of the same parameters",
        quick=None,
        full=DATA,
        needs=frozenset({Need.DATA}),
    ),
    Benchmark(
        module="lstm_regularisation",
        title="Regularisation of the LSTM",
        baseline="the regularisation of GregoryAI's class",
        quick=None,
        full=DATA,
        needs=frozenset({Need.DATA}),
    ),
    Benchmark(
        module="operating_points",
        title="Thresholds of the validation part on the test part",
        baseline="TF-IDF and logistic regression",
        quick=None,
        full=DATA,
        needs=frozenset({Need.DATA}),
    ),
)
# Modules of this package that measure nothing themselves.
PARTS = frozenset({"children", "document", "labelled_files", "ratios", "registry", "releases"})
