"""One chaos run: submit all runs, apply faults and disturbances, wait for the ends, collect the evidence."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import psycopg

from tools import postgresql
from tools.chaos import check, evidence, keep, processes, queues, quota, schedule, script
from tools.chaos.actors import RECONCILERS, Reconcilers, Submitter
from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.disturbances import Disturber
from tools.chaos.faults import Striker
from tools.chaos.observer import Observer
from tools.chaos.records import Disturbed, Evidence, Run, Strike
from tools.chaos.schedule import Target
from tools.chaos.script import Script
from tools.chaos.webhook import Webhook
from tools.cluster.cluster import Cluster

POLL_SECONDS = 0.5
# A Job finishes at most so long after its run: the grace of its pod, or two passes that remove garbage.
ORPHAN_SECONDS = 150
# A reconciler removes garbage every ten minutes, and an operator's pass at once.
PASS_SECONDS = 20
# Further batches, for faults and disturbances that took effect too seldom. A batch has at least so many runs.
ROUNDS, SMALLEST_BATCH = 20, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """at_least: number of times that each fault and each disturbance must take effect.

    limit_seconds: a run that is still open then is a violation. kueue: the cluster has Kueue, which admits the runs.
    """

    seed: int
    runs: int
    concurrent: int
    limit_seconds: float
    at_least: int
    kueue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """wrong: the runs with violations. unknown: violations of no run. targets: disturbances in effect.

    shortfalls: faults and disturbances that took effect too seldom.
    """

    found: list[Evidence]
    wrong: list[tuple[Evidence, list[str]]]
    unknown: list[str]
    targets: Counter[Target]
    shortfalls: list[str]
    seconds: float


def run_chaos(
    cluster: Cluster, server: postgresql.Server, folder: Path, *, image: str, options: Options, info: Callable[[str], object]
) -> Outcome:
    """One chaos run. The evidence of violations is kept in `folder`/violations."""
    scripts = script.draw(options.seed, options.runs)
    chaos_env = ChaosEnv(cluster=cluster, server=server, folder=folder, scripts=scripts, kueue=options.kueue)
    chaos_env.prepare(image, concurrent=options.concurrent)
    began = time.monotonic()
    chaos_run = _ChaosRun(chaos_env, options, deadline=began + options.limit_seconds, info=info)
    try:
        strikes = chaos_run.run()
        found = evidence.collect(chaos_env, strikes, chaos_run.disturbed, chaos_run.observer)
        unknown = [*evidence.unknown(found, chaos_env), *chaos_run.quota_in_use()]
        shortfalls, targets = chaos_run.shortfalls(strikes), chaos_run.targets()
        wrong = [(one, words) for one in found if (words := check.violations(one))]
        if wrong or unknown:
            keep.keep(folder / "violations", wrong, chaos_env, chaos_run.observer)
    finally:
        chaos_run.clear()
        chaos_env.clear()
    return Outcome(
        found=found,
        wrong=wrong,
        unknown=unknown,
        targets=targets,
        shortfalls=shortfalls,
        seconds=time.monotonic() - began,
    )


class _ChaosRun:
    def __init__(self, chaos_env: ChaosEnv, options: Options, *, deadline: float, info: Callable[[str], object]) -> None:
        self._env, self._options, self._deadline, self._info = chaos_env, options, deadline, info
        self._reconcilers = Reconcilers(chaos_env=chaos_env)
        self._submitter = Submitter(chaos_env=chaos_env)
        self._webhook = Webhook(chaos_env.folder)
        self._latest: dict[str, Run] = {}
        self._over = threading.Event()
        longest = schedule.longest_absence(options.runs)
        self._lanes = [
            Disturber(
                schedule.disturbances(options.seed, lane, longest=longest, kueue=options.kueue),
                chaos_env,
                self._reconcilers,
                self._submitter,
                self._webhook,
                unfinished=self._unfinished,
            )
            for lane in schedule.lanes(kueue=options.kueue)
        ]
        self.observer = Observer(chaos_env.cluster, chaos_env.cluster_namespace.namespace, chaos_env.folder / "pod-logs")

    @property
    def disturbed(self) -> list[Disturbed]:
        return [one for lane in self._lanes for one in lane.done]

    def targets(self) -> Counter[Target]:
        """The number of disturbances of each target in effect."""
        counted = quota.targets(self.disturbed)
        if self._options.kueue:
            found = queues.preemptions(self._env.cluster, self._env.cluster_namespace.namespace)
            began = {run.run_id: run.started_at.timestamp() for run in self._latest.values() if run.started_at is not None}
            counted[schedule.BY_PRIORITY] = sum(began.get(one.run_id, math.inf) <= one.at for one in found)
        return counted

    def quota_in_use(self) -> list[str]:
        """Quota that Kueue keeps for a run, although each has ended."""
        number = queues.reserved(self._env.cluster) if self._options.kueue else 0
        return [f"Kueue keeps quota for {number} runs"] if number else []

    def shortfalls(self, strikes: Sequence[tuple[Script, list[Strike]]]) -> list[str]:
        struck = quota.faults(one for _, applied in strikes for one in applied)
        wanted = schedule.targets(kueue=self._options.kueue)
        return quota.shortfalls(struck, self.targets(), self._options.at_least, wanted=wanted)

    def run(self) -> list[tuple[Script, list[Strike]]]:
        """The scripts with their strikes. Raises the error of a lane."""
        self._reconcilers.prepare()
        self._submitter.network.create()
        self._webhook.start()
        self.observer.start()
        self._reconcilers.start()
        for lane in self._lanes:
            lane.start()
        strikes = self._apply(self._env.scripts)
        for lane in self._lanes:
            lane.enough = self._options.at_least
        for number in range(ROUNDS):
            if not self.shortfalls(strikes) or time.monotonic() > self._deadline:
                break
            strikes += self._make_up(strikes, number)
        for lane in self._lanes:
            lane.ask_to_stop()
        for lane in self._lanes:
            lane.stop()
        for lane in self._lanes:
            if lane.error is not None:
                raise lane.error
        self._env.cluster.heal()
        self._reconcilers.start_again()
        self._wait_for_jobs()
        return strikes

    def clear(self) -> None:
        """End every process and remove what was made outside the folder."""
        for lane in self._lanes:
            lane.stop()
        self._submitter.kill()
        self._reconcilers.kill(range(RECONCILERS))
        self._reconcilers.clear()
        self._submitter.network.remove()
        self._webhook.stop()
        self.observer.stop()

    def _make_up(self, strikes: Sequence[tuple[Script, list[Strike]]], number: int) -> list[tuple[Script, list[Strike]]]:
        """One more batch, with the faults that are missing. Meanwhile the lanes go on."""
        struck = quota.faults(one for _, applied in strikes for one in applied)
        missing = quota.missing_faults(struck, self._options.at_least)[: 2 * self._options.concurrent]
        self._info(f"one more batch: {'; '.join(self.shortfalls(strikes))}")
        # An ordinary batch that fills the quota, and an urgent one.
        batches, smallest = (2, self._options.concurrent) if self._options.kueue else (1, SMALLEST_BATCH)
        padded = [*missing, *[None] * (smallest - len(missing))]
        scripts = script.make_up(self._options.seed, number, padded, batches=batches)
        self._env.add(scripts)
        return self._apply(scripts)

    def _apply(self, scripts: list[Script]) -> list[tuple[Script, list[Strike]]]:
        """Submit these runs, strike them, and wait for their ends."""
        scripts = list(scripts)
        with ThreadPoolExecutor(len(scripts) + 1) as pool:
            submitting = pool.submit(self._submit_all, scripts)
            strikes = [pool.submit(Striker(self._env, script, self._latest.get, self._over).strike) for script in scripts]
            try:
                self._watch()
            except BaseException:
                self._stop()
                raise
            submitting.result()
            return [(script, strike.result()) for script, strike in zip(scripts, strikes, strict=True)]

    def _submit_all(self, scripts: list[Script]) -> None:
        """Submit batch by batch, as soon as the node can accept more runs.

        A killed submitter leaves out subjects. They are submitted again.
        """
        for team, batch in groupby(scripts, key=lambda script: script.team):
            members = list(batch)
            while self._unfinished() >= 2 * self._options.concurrent and time.monotonic() < self._deadline:
                time.sleep(POLL_SECONDS)
            algorithms = ("--algo", ",".join(members[0].algorithms))
            self._submitter.submit(team, *algorithms)
            while (missing := self._missing(members)) and time.monotonic() < self._deadline:
                if len(missing) == len(members):
                    self._submitter.submit(team, *algorithms)
                else:
                    self._submitter.submit(team, "--subject", missing[0].subject, *algorithms)

    def _missing(self, members: list[Script]) -> list[Script]:
        """The scripts without a run in the tables."""
        while time.monotonic() < self._deadline:
            with suppress(psycopg.Error):
                known = {run.label for run in self._env.runs()}
                return [script for script in members if script.label not in known]
            time.sleep(POLL_SECONDS)
        return []

    def _watch(self) -> None:
        """Read the tables until every run has ended."""
        printed = time.monotonic()
        while time.monotonic() < self._deadline:
            with suppress(psycopg.Error):
                self._latest.update({run.label: run for run in self._env.runs()})
            ended = sum(run.is_final for run in self._latest.values())
            if ended == len(self._env.scripts):
                return
            if any(lane.error for lane in self._lanes):
                break
            if time.monotonic() - printed > 15:
                printed = time.monotonic()
                self._info(f"{ended} of {len(self._env.scripts)} runs have ended, {self._unfinished()} are at work or queued")
            time.sleep(POLL_SECONDS)
        self._stop()

    def _stop(self) -> None:
        """Let the threads end before their runs."""
        self._over.set()
        self._deadline = 0.0
        self._submitter.kill()

    def _unfinished(self) -> int:
        return sum(not run.is_final for run in list(self._latest.values()))

    def _wait_for_jobs(self) -> None:
        """Wait until every Job has finished and every process has ended. Meanwhile an operator makes passes, which remove garbage too."""
        deadline, next_pass = time.monotonic() + ORPHAN_SECONDS, time.monotonic() + PASS_SECONDS
        while time.monotonic() < deadline:
            jobs = evidence.jobs_of(self._env.cluster, self._env.cluster_namespace.namespace)
            if all(job.finished for job in jobs) and not processes.alive() and not self.quota_in_use():
                return
            if time.monotonic() > next_pass:
                self._env.installation.manage("reconcile_runs", "--once")
                next_pass = time.monotonic() + PASS_SECONDS
            time.sleep(POLL_SECONDS)
