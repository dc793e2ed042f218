"""A run that was promised a GPU and finds none says so at once, and has trained nothing."""

from tools.installation import Installation


def test_a_run_without_its_gpu_fails_before_it_reads_an_article(demo_site: Installation):
    done = demo_site.manage("train_models", "--team", "neurology", "--subject", "migraine-prevention", GREGORY_REQUIRE_GPU="true")

    assert done.returncode == 1
    rows = demo_site.rows()
    assert [(row["success"], row["reason"]) for row in rows] == [(False, "no_gpu")] * 3
    assert "this run requires a GPU, but TensorFlow, built with" in rows[0]["error"]
    assert {row["run_reason"] for row in rows} == {"no_gpu"}
    stages = demo_site.models / ".runs" / rows[0]["run_id"] / "stages"
    assert [path.name for path in stages.iterdir()] == ["find_gpu"]


def test_what_computed_stands_beside_the_row_and_in_the_manifest(demo_site: Installation):
    demo_site.must("train_models", "--team", "neurology", "--subject", "migraine-prevention", "--algo", "pubmed_bert,lgbm_tfidf")

    bert, lgbm = demo_site.rows()
    assert bert["compute"] == {"device": "CPU", "precision": "float32", "micro_batch": 16}
    assert lgbm["compute"] == {"device": "CPU"}
    assert bert["data"]["parts"]["train"]["relevant"] > 0
    assert bert["data"] == lgbm["data"]
    report = (demo_site.models / bert["artifact"] / "report.html").read_text(encoding="utf-8")
    assert "micro batch" in report
