"""One chaos run: submit all runs, apply faults and disturbances, wait for the ends, collect the evidence."""

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
# A Job finishes at most so long after its run: the grace of its pod, or two passes that remove garbage.
ORPHAN_SECONDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """disturbed: number of disturbances for each target."""

    found: list[Evidence]
    disturbed: dict[str, int]
    seconds: float


def run_chaos(
    cluster: Cluster,
    server: postgresql.Server,
    folder: Path,
    *,
    image: str,
    seed: int,
    runs: int,
    concurrent: int,
    limit_seconds: float,
    info: Callable[[str], object],
) -> Outcome:
    """One chaos run.

    limit_seconds: a run that is still open then is a violation.
    """
    chaos_env = ChaosEnv(cluster=cluster, server=server, folder=folder, scripts=script.draw(seed, runs))
    chaos_env.prepare(image, concurrent=concurrent)
    began = time.monotonic()
    chaos_run = _ChaosRun(chaos_env, seed=seed, concurrent=concurrent, deadline=began + limit_seconds, info=info)
    found = chaos_run.run()
    outcome = Outcome(
        found=found, disturbed={str(target): count for target, count in chaos_run.disturber.done.items()}, seconds=time.monotonic() - began
    )
    chaos_env.clear()
    return outcome


class _ChaosRun:
    def __init__(self, chaos_env: ChaosEnv, *, seed: int, concurrent: int, deadline: float, info: Callable[[str], object]) -> None:
        self._env = chaos_env
        self._reconcilers = Reconcilers(chaos_env=chaos_env)
        self._submitter = Submitter(chaos_env=chaos_env)
        self.disturber = Disturber(script.disturbances(seed), chaos_env, self._reconcilers, self._submitter)
        self._concurrent = concurrent
        self._deadline = deadline
        self._info = info
        self._latest: dict[str, Run] = {}

    def run(self) -> list[Evidence]:
        scripts = self._env.scripts
        self._reconcilers.start()
        self.disturber.start()
        try:
            with ThreadPoolExecutor(len(scripts) + 1) as pool:
                submitting = pool.submit(self._submit_all)
                strikes = [pool.submit(Striker(self._env, script, self._latest.get).strike) for script in scripts]
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
        return evidence.collect(self._env, struck)

    def _submit_all(self) -> None:
        """Submit batch by batch, as soon as the node can accept more runs.

        A killed submitter leaves out subjects. They are submitted again.
        """
        for team, batch in groupby(self._env.scripts, key=lambda script: script.team):
            members = list(batch)
            while self._unfinished() >= 2 * self._concurrent and time.monotonic() < self._deadline:
                time.sleep(POLL_SECONDS)
            algorithms = ("--algo", ",".join(members[0].algorithms))
            self._submitter.submit("--team", team, *algorithms)
            while (missing := self._missing(members)) and time.monotonic() < self._deadline:
                if len(missing) == len(members):
                    self._submitter.submit("--team", team, *algorithms)
                else:
                    self._submitter.submit("--team", team, "--subject", missing[0].subject, *algorithms)

    def _missing(self, members: list[Script]) -> list[Script]:
        """The scripts without a run in the tables."""
        while time.monotonic() < self._deadline:
            with suppress(psycopg.OperationalError):
                known = {run.label for run in self._env.runs()}
                return [script for script in members if script.label not in known]
            time.sleep(POLL_SECONDS)
        return []

    def _watch(self) -> None:
        """Read the tables until every run has ended."""
        printed = time.monotonic()
        while time.monotonic() < self._deadline:
            with suppress(psycopg.OperationalError):
                self._latest.update({run.label: run for run in self._env.runs()})
            ended = sum(run.is_final for run in self._latest.values())
            if ended == len(self._env.scripts):
                return
            if time.monotonic() - printed > 15:
                printed = time.monotonic()
                self._info(f"{ended} of {len(self._env.scripts)} runs have ended, {self._unfinished()} are at work or queued")
            time.sleep(POLL_SECONDS)

    def _unfinished(self) -> int:
        return sum(not run.is_final for run in self._latest.values())

    def _wait_for_jobs(self) -> None:
        deadline = time.monotonic() + ORPHAN_SECONDS
        while time.monotonic() < deadline:
            if all(job.finished for job in evidence.jobs_of(self._env.cluster, self._env.cluster_namespace.namespace)):
                return
            time.sleep(POLL_SECONDS)
