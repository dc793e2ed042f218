"""One chaos run from the first row to the last verdict: submits, strikes, disturbs, waits, collects."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import psycopg

from tools import postgresql
from tools.chaos import evidence, script
from tools.chaos.chaos_env import ChaosEnv, Run
from tools.chaos.disturbances import RECONCILERS, Disturber, Reconcilers, Submitter
from tools.chaos.evidence import Evidence
from tools.chaos.faults import Striker
from tools.chaos.script import Script
from tools.cluster.cluster import Cluster

POLL_SECONDS = 0.5
# How long a Job may take to be finished after its run: its pod's grace, or two looks of a sweep.
ORPHAN_SECONDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """disturbed: how often whom."""

    found: list[Evidence]
    disturbed: dict[str, int]
    seconds: float


def rage(
    cluster: Cluster,
    server: postgresql.Server,
    folder: Path,
    *,
    image: str,
    seed: int,
    runs: int,
    side_by_side: int,
    limit_seconds: float,
    say: Callable[[str], object],
) -> Outcome:
    """What came of it. limit_seconds: what is open then stays open, and is a violation."""
    chaos_env = ChaosEnv(cluster=cluster, server=server, folder=folder, scripts=script.draw(seed, runs))
    chaos_env.furnish(image, side_by_side=side_by_side)
    began = time.monotonic()
    storm = _Storm(chaos_env, seed=seed, side_by_side=side_by_side, deadline=began + limit_seconds, say=say)
    found = storm.run()
    outcome = Outcome(
        found=found, disturbed={str(target): count for target, count in storm.disturber.done.items()}, seconds=time.monotonic() - began
    )
    chaos_env.clear()
    return outcome


class _Storm:
    def __init__(self, chaos_env: ChaosEnv, *, seed: int, side_by_side: int, deadline: float, say: Callable[[str], object]) -> None:
        self._playground = chaos_env
        self._reconcilers = Reconcilers(chaos_env=chaos_env)
        self._submitter = Submitter(chaos_env=chaos_env)
        self.disturber = Disturber(script.disturbances(seed), chaos_env, self._reconcilers, self._submitter)
        self._side_by_side = side_by_side
        self._deadline = deadline
        self._say = say
        self._latest: dict[str, Run] = {}

    def run(self) -> list[Evidence]:
        scripts = self._playground.scripts
        self._reconcilers.start()
        self.disturber.start()
        try:
            with ThreadPoolExecutor(len(scripts) + 1) as pool:
                submitting = pool.submit(self._submit_all)
                strikes = [pool.submit(Striker(self._playground, script, self._latest.get).strike) for script in scripts]
                self._watch()
                submitting.result()
                struck = [strike.result() for strike in strikes]
            self.disturber.stop()
            self._reconcilers.start_again()
            self._wait_for_jobs()
        finally:
            self.disturber.stop()
            self._reconcilers.kill(range(RECONCILERS))
        if self.disturber.error is not None:
            raise self.disturber.error
        return evidence.collect(self._playground, struck)

    def _submit_all(self) -> None:
        """Batch by batch, as the node has room; what a submitter that was killed left out is submitted again."""
        for team, batch in groupby(self._playground.scripts, key=lambda script: script.team):
            members = list(batch)
            while self._unfinished() >= 2 * self._side_by_side and time.monotonic() < self._deadline:
                time.sleep(POLL_SECONDS)
            algorithms = ("--algo", ",".join(members[0].algorithms))
            self._submitter.submit("--team", team, *algorithms)
            while (missing := self._missing(members)) and time.monotonic() < self._deadline:
                if len(missing) == len(members):
                    self._submitter.submit("--team", team, *algorithms)
                else:
                    self._submitter.submit("--team", team, "--subject", missing[0].subject, *algorithms)

    def _missing(self, members: list[Script]) -> list[Script]:
        """Those without a run, by the tables as they are now."""
        while time.monotonic() < self._deadline:
            with suppress(psycopg.OperationalError):
                known = {run.label for run in self._playground.runs()}
                return [script for script in members if script.label not in known]
            time.sleep(POLL_SECONDS)
        return []

    def _watch(self) -> None:
        """Keep the latest word of the tables until every run has ended."""
        told = time.monotonic()
        while time.monotonic() < self._deadline:
            with suppress(psycopg.OperationalError):
                self._latest.update({run.label: run for run in self._playground.runs()})
            ended = sum(run.is_final for run in self._latest.values())
            if ended == len(self._playground.scripts):
                return
            if time.monotonic() - told > 15:
                told = time.monotonic()
                self._say(f"{ended} of {len(self._playground.scripts)} runs have ended, {self._unfinished()} are at work or queued")
            time.sleep(POLL_SECONDS)

    def _unfinished(self) -> int:
        return sum(not run.is_final for run in self._latest.values())

    def _wait_for_jobs(self) -> None:
        deadline = time.monotonic() + ORPHAN_SECONDS
        while time.monotonic() < deadline:
            if all(job.finished for job in evidence.jobs_of(self._playground.cluster, self._playground.cluster_namespace.namespace)):
                return
            time.sleep(POLL_SECONDS)
