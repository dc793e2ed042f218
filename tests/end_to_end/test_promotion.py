"""Train, promote by the gate, refuse, compare, roll back and prune, with real trainings of LightGBM."""

import json
import subprocess
from typing import Any

import pytest

from tests.articles import labelled, store
from tools.installation import Installation

SUBJECT = ("--team", "t", "--subject", "s")
# LightGBM finds no split, so every text gets the same probability.
CONSTANT = "lgbm: {min_child_samples: 1000}\n"


def train(installation: Installation, version: str, *flags: str) -> subprocess.CompletedProcess[str]:
    done = installation.manage(
        "train_models", *SUBJECT, "--all-articles", "--algo", "lgbm_tfidf", "--version", version, *flags, GREGORY_PROMOTE_MINIMUM="3"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def models(installation: Installation, *arguments: str) -> Any:
    return json.loads(installation.must("models", *arguments, *SUBJECT, "--output", "json"))


def used(installation: Installation) -> dict[str, bool]:
    """The version in use, and whether it is promoted."""
    return {one["version"]: one["promoted"] for one in models(installation, "list") if one["used"]}


@pytest.mark.slow
def test_the_gate_promotes_and_refuses_and_an_operator_compares_and_rolls_back(installation: Installation):
    installation.must("prepare_base_models", "--demo")
    store(installation, labelled(80, first=1), team="t", subject="s")
    train(installation, "v1")
    assert used(installation) == {"v1": False}
    store(installation, labelled(160, first=81), team="t", subject="s")

    done = train(installation, "v2", "--promote-if-not-worse", "0.3")

    assert "version v2 was promoted: not worse than v1 by more than 0.3: ROC AUC" in done.stdout
    assert used(installation) == {"v2": True}

    installation.set_hyperparameters(CONSTANT)
    done = train(installation, "v3", "--promote-if-not-worse", "0.3", "--verbose", "2")

    reason = "it gives nearly the same probability to every test article (standard deviation 0)"
    assert f"version v3 was not promoted: {reason}" in " ".join(done.stdout.split())
    assert used(installation) == {"v2": True}
    (row,) = (row for row in installation.rows() if row["version"] == "v3")
    assert row["success"] is True
    (listed,) = (one for one in models(installation, "list") if one["version"] == "v3")
    assert listed["gate"] == f"not promoted: {reason}"

    store(installation, labelled(60, first=241), team="t", subject="s")
    stored, asked = models(installation, "compare", "v2", "v3"), models(installation, "compare", "v2", "v3", "--ask")
    assert (stored["asked"], asked["asked"]) == (0, 120)
    assert asked["relevant"] == stored["relevant"] + 30
    assert asked["conclusion"] == "worse"

    assert installation.must("models", "promote", "v1", *SUBJECT, "--reason", "trial").endswith("version v1 is promoted, before: v2\n")
    assert installation.must("models", "rollback", *SUBJECT).endswith("version v2 is promoted, before: v1\n")
    assert installation.must("models", "prune", *SUBJECT, "--keep", "1", "--yes").splitlines()[-1] == "removed 1 version"
    assert used(installation) == {"v2": True}
    assert "2 version folders, all complete and unchanged" in installation.must("verify_models")
