"""The stage `summarise` states the facts of its machine. The manifest and the model card of a training show them."""

from pathlib import Path

from gregory.ml import resources
from gregory.ml.artifacts import MODEL_CARD, read_manifest
from gregory.ml.config import SummariserConfig, TrainConfig
from gregory.ml.dataset import Article, write_articles
from gregory.ml.manifest import Provenance
from gregory.ml.progress import silent
from gregory.ml.stages import work
from gregory.ml.stages.contract import ARTICLES, MODEL_FOLDER, REQUEST, SummariseRequest, TrainRequest
from tests.ml.tiny_bart import WORDS, tiny_bart
from tests.tiny_bundle import describe, tiny_bundle


def test_a_model_names_precision_instructions_and_version_of_its_summaries(tmp_path: Path) -> None:
    root = tiny_bundle(tmp_path / "bundle")
    (root / "summariser" / "summariser.json").unlink()
    (root / "summariser").rmdir()
    tiny_bart(root / "summariser")
    describe(root)
    words = WORDS.split()
    articles = [
        Article(article_id=number, title=f"{words[number % 7]} {number}", abstract=words[number % 11], label=number % 2)
        for number in range(24)
    ]
    write_articles(tmp_path / ARTICLES, articles)
    config = SummariserConfig(max_source_tokens=64, max_new_tokens=40)
    (tmp_path / REQUEST).write_text(SummariseRequest(bundle=root, threads=1, config=config).model_dump_json())

    result = work.summarise(tmp_path, tmp_path, silent, tmp_path)
    provenance = Provenance(
        team="t", subject="s", version="1", run_id="r", attempt=1, run_log_id=1, cutoff=None, window="all articles", image_digest=""
    )
    request = TrainRequest(
        bundle=root,
        threads=1,
        algorithm="lgbm_tfidf",
        config=TrainConfig(),
        provenance=provenance,
        title_only=0,
        summariser=result.summariser,
    )
    (tmp_path / REQUEST).write_text(request.model_dump_json())
    work.train(tmp_path, tmp_path, silent, tmp_path)

    facts = {"device": "cpu", "compute_type": "int8_float32", "instructions": resources.integer_instructions()}
    manifest = read_manifest(tmp_path / MODEL_FOLDER)
    assert manifest.base_models["summariser"].items() >= facts.items()
    assert manifest.base_models["summariser"]["ctranslate2"] == manifest.libraries["ctranslate2"]
    assert manifest.base_models["encoder"].keys() == {"source", "revision", "licence", "bundle_sha256"}
    assert "summaries: compute type" in (tmp_path / MODEL_FOLDER / MODEL_CARD).read_text()
