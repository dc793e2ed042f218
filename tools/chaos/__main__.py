"""`python -m tools.chaos [--seed N] [--runs N]` prints a table of faults and ends. Exit code 1 if there is a violation."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tools import postgresql
from tools.chaos import chaos_run, check, evidence, placeholder_bundle, table
from tools.cluster import cluster, network, run_image


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**32), help="seed of the random numbers (default: another each time)"
    )
    parser.add_argument("--runs", type=int, default=100, help="number of runs (default 100)")
    parser.add_argument("--concurrent", type=int, default=8, metavar="N", help="number of runs that the node accepts at once (default 8)")
    parser.add_argument(
        "--limit-minutes", type=float, default=30, metavar="N", help="minutes after which an open run is a violation (default 30)"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and models")
    options = parser.parse_args()
    info(f"chaos: make chaos SEED={options.seed} RUNS={options.runs}")
    programs = postgresql.binaries()
    if programs is None:
        raise SystemExit("chaos needs a PostgreSQL server on this machine; install one, for example: apt-get install postgresql")
    if not run_image.usable():
        raise SystemExit(f"chaos needs Python 3.11: {run_image.REMEDY}")
    folder = Path(tempfile.mkdtemp(prefix="gregory-chaos-"))
    # Pods read the volume as another user.
    folder.chmod(0o755)
    with cluster.running(gpus=0) as kubernetes, postgresql.running(programs, pods=network.HOST) as server:
        archive = folder / "image.tar"
        run_image.write(archive, placeholder_bundle.write(folder / "base_models"))
        kubernetes.import_image(archive)
        archive.unlink()
        outcome = chaos_run.run_chaos(
            kubernetes, server, folder / "environment", image=run_image.SCRIPTED, seed=options.seed, runs=options.runs,
            concurrent=options.concurrent, limit_seconds=60 * options.limit_minutes, info=info,
        )  # fmt: skip
    wrong = [(one, words) for one in outcome.found for words in check.violations(one)]
    info(table.of(outcome.found))
    info(f"killed and started again: {table.counted(outcome.disturbed)}")
    for one, words in wrong:
        info(f"VIOLATION {one.strike.script.label}: {words}\n{evidence.as_json(one)}")
    info(f"seed {options.seed}: {len(outcome.found)} runs in {outcome.seconds:.0f} s, {len(wrong)} violations")
    if options.keep:
        info(f"logs and models: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if wrong else 0


def info(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
