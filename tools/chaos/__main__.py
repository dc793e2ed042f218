"""`python -m tools.chaos [--seed N] [--runs N]`: the table of what was done and what became of it; exit code 1 on any violation."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tools import postgresql
from tools.chaos import chaos_run, evidence, judge, placeholder_bundle, table
from tools.cluster import cluster, network, run_image


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**32), help="what is drawn from (default: another each time)"
    )
    parser.add_argument("--runs", type=int, default=100, help="how many runs (default 100)")
    parser.add_argument("--side-by-side", type=int, default=8, metavar="N", help="how many of them the node takes at once (default 8)")
    parser.add_argument("--limit-minutes", type=float, default=30, metavar="N", help="what is open by then is a violation (default 30)")
    parser.add_argument("--keep", action="store_true", help="keep logs and models")
    options = parser.parse_args()
    say(f"chaos: make chaos SEED={options.seed} RUNS={options.runs}")
    programs = postgresql.binaries()
    if programs is None:
        raise SystemExit("chaos needs a PostgreSQL server on this machine; install one, for example: apt-get install postgresql")
    if not run_image.usable():
        raise SystemExit(f"chaos needs Python 3.11: {run_image.REMEDY}")
    folder = Path(tempfile.mkdtemp(prefix="gregory-chaos-"))
    # Pods reach the volume as another user.
    folder.chmod(0o755)
    with cluster.running(gpus=0) as kubernetes, postgresql.running(programs, pods=network.HOST) as server:
        archive = folder / "image.tar"
        run_image.write(archive, placeholder_bundle.write(folder / "base_models"))
        kubernetes.import_image(archive)
        archive.unlink()
        outcome = chaos_run.rage(
            kubernetes, server, folder / "playground", image=run_image.CHAOS, seed=options.seed, runs=options.runs,
            side_by_side=options.side_by_side, limit_seconds=60 * options.limit_minutes, say=say,
        )  # fmt: skip
    wrong = [(one, words) for one in outcome.found for words in judge.violations(one)]
    say(table.of(outcome.found))
    say(f"killed and started again: {table.counted(outcome.disturbed)}")
    for one, words in wrong:
        say(f"VIOLATION {one.strike.script.label}: {words}\n{evidence.as_json(one)}")
    say(f"seed {options.seed}: {len(outcome.found)} runs in {outcome.seconds:.0f} s, {len(wrong)} violations")
    if options.keep:
        say(f"logs and models: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if wrong else 0


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
