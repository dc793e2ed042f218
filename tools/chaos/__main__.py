"""`python -m tools.chaos [--seed N] [--runs N]` prints tables of faults, ends and times.

Exit code 1 if there is a violation, or if a fault or a disturbance took effect less often than asked.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tools import postgresql
from tools.chaos import chaos_run, placeholder_bundle, quota, table, volumes
from tools.cluster import cluster, kueue, network, run_image
from tools.go_programs import REMEDY


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**32), help="seed of the random numbers (default: another each time)"
    )
    parser.add_argument("--runs", type=int, default=100, help="number of runs (default 100)")
    parser.add_argument("--concurrent", type=int, default=8, metavar="N", help="number of runs that the node accepts at once (default 8)")
    parser.add_argument(
        "--limit-minutes", type=float, default=45, metavar="N", help="minutes after which an open run is a violation (default 45)"
    )
    parser.add_argument(
        "--at-least",
        type=int,
        metavar="N",
        help="number of times that each fault and disturbance must take effect (default 5 per 100 runs)",
    )
    parser.add_argument("--kueue", action="store_true", help="runs wait for Kueue, which preempts them, and which is disturbed too")
    parser.add_argument("--keep", action="store_true", help="keep logs and models")
    options = parser.parse_args()
    info(f"chaos: make chaos SEED={options.seed} RUNS={options.runs}{' KUEUE=1' if options.kueue else ''}")
    programs = postgresql.binaries()
    if programs is None:
        raise SystemExit("chaos needs a PostgreSQL server on this machine; install one, for example: apt-get install postgresql")
    if not run_image.usable():
        raise SystemExit(f"chaos needs Python 3.11: {run_image.REMEDY}")
    if not volumes.FUSE.exists():
        raise SystemExit(f"chaos needs {volumes.FUSE}; load the kernel module fuse")
    if options.kueue and not kueue.usable():
        raise SystemExit(f"chaos with Kueue needs its manager: {REMEDY}")
    folder = Path(tempfile.mkdtemp(prefix="gregory-chaos-"))
    # Pods read the volume as another user.
    folder.chmod(0o755)
    at_least = quota.default(options.runs) if options.at_least is None else options.at_least
    chosen = chaos_run.Options(
        seed=options.seed,
        runs=options.runs,
        concurrent=options.concurrent,
        limit_seconds=60 * options.limit_minutes,
        at_least=at_least,
        kueue=options.kueue,
    )
    with cluster.running(gpus=0) as kubernetes, postgresql.running(programs, pods=network.HOST) as server:
        archive = folder / "image.tar"
        run_image.write(archive, placeholder_bundle.write(folder / "base_models"))
        kubernetes.import_image(archive)
        archive.unlink()
        if options.kueue:
            kueue.install(kubernetes)
        outcome = chaos_run.run_chaos(kubernetes, server, folder / "environment", image=run_image.SCRIPTED, options=chosen, info=info)
    return reported(outcome, options.seed, folder, keep=options.keep)


def reported(outcome: chaos_run.Outcome, seed: int, folder: Path, *, keep: bool) -> int:
    """Print the outcome. Returns the exit code."""
    info(f"{table.of(outcome.found)}\n\n{table.times(outcome.found)}\n")
    struck = quota.faults(strike for one in outcome.found for strike in one.strikes)
    info(f"faults in effect: {table.counted(struck)}")
    info(f"disturbances in effect: {table.counted(outcome.targets)}")
    if stopped := [evidence for evidence in outcome.found if evidence.suspensions]:
        info(f"Kueue stopped runs {sum(len(one.suspensions) for one in stopped)} times, {len(stopped)} of {len(outcome.found)} runs")
    wrong = [*(f"{one.script.label}: {words}" for one, all_words in outcome.wrong for words in all_words), *outcome.unknown]
    for words in wrong:
        info(f"VIOLATION {words}")
    for words in outcome.shortfalls:
        info(f"TOO SELDOM {words}")
    info(f"seed {seed}: {len(outcome.found)} runs in {outcome.seconds:.0f} s, {len(wrong)} violations")
    if wrong:
        info(f"logs, objects and rows of the violations: {folder / 'environment' / 'violations'}")
    elif keep:
        info(f"logs and models: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if wrong or outcome.shortfalls else 0


def info(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
