"""Disturbances of all runs. Each lane applies one after the other, until `stop`. Afterwards every service runs again."""

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tools.chaos import cluster_faults, database_faults, kueue_faults, networks, quota
from tools.chaos.actors import MODELS_NOT_VISIBLE, RECONCILERS, Reconcilers, Submitter
from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.cluster_faults import API_SERVER, CONTAINERD, KUBELET
from tools.chaos.records import Disturbed
from tools.chaos.schedule import BEFORE_RUNS, LANES, MAKE_UP_SECONDS, Disturbance, Target
from tools.chaos.webhook import Webhook

# A disturbance of the submitter waits so long for a submitter at work.
SUBMITTER_SECONDS = 30.0
WITH_MODELS = sorted(set(range(RECONCILERS)) - MODELS_NOT_VISIBLE)


class Disturber(threading.Thread):
    """One lane. unfinished: number of runs without an end: a disturbance of no run is not in effect."""

    def __init__(
        self,
        drawn: Iterable[Disturbance],
        chaos_env: ChaosEnv,
        reconcilers: Reconcilers,
        submitter: Submitter,
        webhook: Webhook,
        *,
        unfinished: Callable[[], int],
    ) -> None:
        super().__init__(name="disturber", daemon=True)
        self.done: list[Disturbed] = []
        # Once it is set, a target that was in effect so often is disturbed no more. The others follow each other sooner.
        self.enough: int | None = None
        self.error: BaseException | None = None
        self._drawn, self._env, self._reconcilers, self._submitter = drawn, chaos_env, reconcilers, submitter
        self._webhook, self._unfinished = webhook, unfinished
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            for disturbance in self._drawn:
                if self._is_enough(disturbance.target):
                    if self._stop_asked.wait(0.1):
                        return
                    continue
                after = disturbance.after if self.enough is None else min(disturbance.after, MAKE_UP_SECONDS)
                if self._stop_asked.wait(after) or not self._has_a_run(disturbance.target):
                    return
                self._disturb(disturbance)
        except BaseException as error:
            self.error = error
            raise

    def ask_to_stop(self) -> None:
        self._stop_asked.set()

    def stop(self) -> None:
        self.ask_to_stop()
        if self.is_alive():
            self.join(400)

    def _is_enough(self, target: Target) -> bool:
        return self.enough is not None and quota.targets(self.done)[target] >= self.enough

    def _has_a_run(self, target: Target) -> bool:
        """Wait until a disturbance can be in effect. False: nothing more is to be disturbed."""
        while target not in BEFORE_RUNS and self._unfinished() == 0:
            if self._stop_asked.wait(1.0):
                return False
        return True

    def _disturb(self, disturbance: Disturbance) -> None:
        began, before = time.time(), self._unfinished()
        with self._applied(disturbance) as found:
            self._env.note(f"{disturbance.target}: {f'{disturbance.away} s' if found else 'no target'}")
            # A killed submitter is started by its next batch.
            if found and disturbance.target is not Target.SUBMITTER:
                self._stop_asked.wait(disturbance.away)
        self._env.note(f"{disturbance.target}: over")
        in_effect = found and max(before, self._unfinished()) > 0
        self.done.append(Disturbed(target=disturbance.target, began=began, ended=time.time(), in_effect=in_effect))

    @contextmanager
    def _applied(self, disturbance: Disturbance) -> Iterator[bool]:
        """Yields whether the target was there."""
        env, which = self._env, disturbance.which
        match disturbance.target:
            case Target.RECONCILER:
                context = self._killed([which % RECONCILERS])
            case Target.RECONCILERS:
                context = self._killed(range(RECONCILERS))
            case Target.RECONCILER_STOPPED:
                context = self._reconciler_stopped(which % RECONCILERS)
            case Target.RECONCILER_NO_DATABASE:
                context = self._reconcilers.networks[which % RECONCILERS].without(env.cluster.host, env.server.port)
            case Target.RECONCILER_NO_API:
                context = self._reconcilers.networks[which % RECONCILERS].without(*networks.API_SERVER)
            case Target.VOLUME_BROKEN | Target.VOLUME_SILENT:
                view = self._reconcilers.view(WITH_MODELS[which % len(WITH_MODELS)])
                context = view.failing(silent=disturbance.target is Target.VOLUME_SILENT)
            case Target.OLDER_RELEASE if self._reconcilers.older is None:
                yield False
                return
            case Target.OLDER_RELEASE:
                context = self._older(RECONCILERS - 1)
            case Target.DATABASE:
                context = database_faults.killed(env)
            case Target.DATABASE_STOPPED:
                context = database_faults.stopped(env)
            case Target.DATABASE_LOCKED:
                context = database_faults.locked(env, which)
            case Target.DATABASE_READ_ONLY:
                context = database_faults.read_only(env)
            case Target.API_SERVER:
                context = cluster_faults.daemon_killed(env.cluster, API_SERVER)
            case Target.API_SERVER_STOPPED:
                context = cluster_faults.daemon_stopped(env.cluster, API_SERVER)
            case Target.WEBHOOK_LATE | Target.WEBHOOK_FAILS | Target.WEBHOOK_SILENT:
                with cluster_faults.webhook(env, self._webhook, disturbance.target, self._stop_asked) as asked:
                    yield asked
                return
            case Target.KUBELET:
                context = cluster_faults.daemon_killed(env.cluster, KUBELET)
            case Target.NODE_DELETED:
                context = cluster_faults.node_deleted(env.cluster)
            case Target.NODE_RESTARTED:
                context = cluster_faults.node_without_power(env.cluster)
            case Target.RUNTIME:
                context = cluster_faults.daemon_killed(env.cluster, CONTAINERD)
            case target if target in LANES["Kueue"]:
                with kueue_faults.applied(env, disturbance, self._stop_asked) as found:
                    yield found
                return
            case Target.SUBMITTER | Target.SUBMITTER_NO_API:
                with self._submitter_disturbed(disturbance) as found:
                    yield found
                return
        with context:
            yield True

    @contextmanager
    def _killed(self, numbers: Iterable[int]) -> Iterator[None]:
        self._reconcilers.kill(numbers)
        try:
            yield
        finally:
            self._reconcilers.start_again()

    @contextmanager
    def _reconciler_stopped(self, number: int) -> Iterator[None]:
        self._reconcilers.send(number, signal.SIGSTOP)
        try:
            yield
        finally:
            self._reconcilers.send(number, signal.SIGCONT)

    @contextmanager
    def _older(self, number: int) -> Iterator[None]:
        self._reconcilers.kill([number])
        self._reconcilers.start_older(number)
        try:
            yield
        finally:
            self._reconcilers.kill([number])
            self._reconcilers.start_again()

    @contextmanager
    def _submitter_disturbed(self, disturbance: Disturbance) -> Iterator[bool]:
        """A submitter that is killed works so long before."""
        deadline = time.monotonic() + SUBMITTER_SECONDS
        while not self._submitter.alive() and time.monotonic() < deadline and not self._stop_asked.wait(0.2):
            pass
        if not self._submitter.alive():
            yield False
        elif disturbance.target is Target.SUBMITTER:
            self._stop_asked.wait(disturbance.away)
            alive = self._submitter.alive()
            self._submitter.kill()
            yield alive
        else:
            with self._submitter.network.without(*networks.API_SERVER):
                yield True
