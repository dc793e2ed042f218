"""A run that requires a GPU ends before training if there is none."""

import pytest

from tools.installation import Installation


@pytest.mark.slow
def test_a_run_without_its_gpu_fails_before_it_reads_an_article(demo_installation: Installation):
    done = demo_installation.manage("train_models", "--team", "neurology", "--subject", "migraine-prevention", GREGORY_REQUIRE_GPU="true")

    assert done.returncode == 1
    rows = demo_installation.rows()
    assert [(row["success"], row["reason"]) for row in rows] == [(False, "no_gpu")] * 3
    assert "this run requires a GPU, but TensorFlow, built with" in rows[0]["error"]
    assert {row["run_reason"] for row in rows} == {"no_gpu"}
    (stages,) = demo_installation.models.glob(f"*/*/.runs/{rows[0]['run_id']}/stages")
    assert [path.name for path in stages.iterdir()] == ["find_gpu"]
