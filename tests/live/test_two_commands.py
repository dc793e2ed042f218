"""Two commands for the same subjects at the same time, fifty times: one run per subject, and a reason for the refused command."""

import json
import re
import subprocess
import sys

from tests.live.database import live
from tools.installation import REPOSITORY, Installation
from tools.postgresql import Server

ROUNDS = 50
UNFINISHED = (
    r"neurology/\w+ has an unfinished run [0-9a-f]{12} \((pending|submitted) since [^)]+\); "
    r"wait for its end; if it has terminated, run reconcile_runs --once"
)
SAME_LABELS = """
INSERT INTO gregory_articlesubjectrelevance (article_id, subject_id, is_relevant)
SELECT article_id, subjects.id, is_relevant FROM gregory_articlesubjectrelevance, subjects
WHERE subject_id = 1 AND subjects.subject_slug IN ('als', 'stroke')
"""
TAKEN = r"neurology/\w+: version \w+ of (lgbm_tfidf|lstm) was just taken; run the command again"


def test_each_subject_has_one_run(postgresql_server: Server, installation: Installation):
    database = live(postgresql_server, "newest")
    database.insert("subjects", *({"subject_name": name, "subject_slug": name, "team_id": 1} for name in ("als", "stroke")))
    database.execute(SAME_LABELS)
    installation.environment |= database.environment()
    installation.must("migrate", "-v0")

    done = subprocess.run(
        [sys.executable, "-m", "tests.live.contenders", str(ROUNDS)],
        cwd=REPOSITORY, env=installation.environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == ROUNDS
    subjects = sorted(row[0] for row in database.execute("SELECT id FROM subjects WHERE team_id = 1"))
    won = [0, 0]
    for result in rounds:
        assert (result["subjects"], result["rows"], set(result["states"])) == (subjects, [2] * 3, {"submitted"})
        handed = [re.findall(r"(neurology/\w+): run [0-9a-f]{12} submitted as ", told["out"]) for told in result["said"]]
        refused = [told["error"].split("; neurology/") for told in result["said"]]
        assert sorted(handed[0] + handed[1]) == ["neurology/als", "neurology/ms", "neurology/stroke"]
        for number, told in enumerate(result["said"]):
            won[number] += bool(handed[number])
            reasons = [reason if reason.startswith("neurology/") else f"neurology/{reason}" for reason in refused[number] if reason]
            assert told["code"] == (1 if reasons else 0)
            assert len(reasons) == 3 - len(handed[number])
            for reason in reasons:
                assert re.fullmatch(f"{UNFINISHED}|{TAKEN}", reason), reason
    # Without refusals the commands did not compete.
    assert min(won) > 0
    assert database.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
