"""Runs as Jobs of a Kubernetes cluster, side by side: one Job per attempt, in one namespace.

A Job outlives the command that submitted it, carries the run on and closes its rows itself. It is found again by its name,
which the run and the attempt determine, and known by its uid. What a Job looks like is in `manifest`, what one that is seen
means in `diagnose`.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from gregory.launch import processes
from gregory.launch.errors import BadClusterConfig, ClusterError, LaunchError, PreconditionFailed, TerminationTimeout
from gregory.launch.kubernetes import orphans
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.diagnose import ended
from gregory.launch.kubernetes.diagnose import job as diagnose_job
from gregory.launch.kubernetes.diagnose.pod_status import NO_EVENTS, Events, Object, indexed, name_of, newest
from gregory.launch.kubernetes.kube import Api
from gregory.launch.kubernetes.labels import ATTEMPT, ATTEMPT_TOKEN, CONTROLLER_UID, RUN_ID, RUNS
from gregory.launch.kubernetes.manifest import handle_host, job_name, render_job
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.pod_patch import CONTAINER
from gregory.launch.kubernetes.preconditions import probe_spec, require_cluster
from gregory.launch.kubernetes.submission import RateLimiter, create_once
from gregory.launch.kubernetes.terminate_job import is_there, terminate_job
from gregory.launch.log_stream import Cursor, follow
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.runs.diagnosis import log_tail_of
from gregory.runs.spec import HandleKind, RunHandle, RunSpec

RECONNECT_SECONDS = 1.0
# A stream of a log that says nothing for so long is opened anew: it may have died without a word.
SILENCE_SECONDS = 60.0
LAST_LINES, LAST_BYTES = 100, 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What lists showed, by the uid of the Job."""

    jobs: Mapping[str, Object]
    pods: Mapping[str, Sequence[Object]]
    now: datetime
    events: Events = field(default=NO_EVENTS)


class KubernetesRunner:
    """Jobs in the namespace of the cluster file, of the cluster that the kubeconfig names or that this process runs in."""

    name = "kubernetes"
    durable = True
    max_parallel: int | None = None
    shares_models_dir = False

    def __init__(self, installation: Installation) -> None:
        """Nothing is read and nobody asked before the first call."""
        self._environment = installation.environment
        self.api = Api(
            kubeconfig=self._environment.KUBECONFIG, context=self._environment.GREGORY_KUBECONTEXT, inherited=installation.inherited
        )
        # By uid: what runs said that were cancelled here, until somebody asks. Their pods are gone.
        self._cancelled: dict[str, Observation] = {}

    @property
    def gives_gpu(self) -> bool:
        """Whether the cluster file promises one. Raises BadClusterConfig."""
        return self._config.gpu.is_demanded

    @property
    def max_attempts(self) -> int:
        """As the cluster file says. Raises BadClusterConfig."""
        return self._config.max_attempts

    @property
    def stall_seconds(self) -> int:
        """As the cluster file says. Raises BadClusterConfig."""
        return self._config.deadlines.stall_seconds

    def check(self) -> None:
        """Cluster file, database, API server, namespace, what a Job names, and what the server says of a Job."""
        config = self._config
        if not self._environment.POSTGRES_DB:
            raise PreconditionFailed("the kubernetes runner needs PostgreSQL, which pods can reach; set POSTGRES_DB, or use --runner local")
        try:
            there = self._namespace.is_there()
            job = self.render(probe_spec()).request
        except ClusterError as error:
            raise PreconditionFailed(str(error)) from error
        if there is False:
            raise PreconditionFailed(
                f"there is no namespace {config.namespace} on the cluster; create it, or correct namespace in the cluster file"
            )
        require_cluster(self._namespace, config, job)

    def owner_handle(self) -> RunHandle:
        """This process."""
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        """The Job. The cluster is asked once who it is, and raises ClusterError if it does not say."""
        return Rendered(spec=spec, request=render_job(spec, self._config, cluster_id=self._cluster_ids[0]))

    def submit(self, rendered: Rendered) -> RunHandle:
        """Create the Job, or adopt the one that an earlier call for this attempt has made; at most so many a second."""
        self._pace.wait()
        hosts = self._hosts
        job = create_once(self._namespace, rendered.request, label=rendered.spec.label)
        return RunHandle(host=hosts[0], name=name_of(job), uid=job["metadata"]["uid"])

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """One list of pods and one of Jobs, however many runs; one of events where those leave a question."""
        if not any(_is_job(handle) for handle in handles):
            return [processes.observe(handle) for handle in handles]
        return self._observe(handles, RUNS)

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """Delete the Job and its pod, whatever they are doing, and wait until both are gone. What has ended keeps its log.

        Raises NotEnded where that cannot be seen, and ClusterError.
        """
        if not _is_job(handle):
            return
        if handle.host not in self._hosts and not is_there(self._namespace, handle):
            raise TerminationTimeout(f"Job {handle.name} belongs to {handle.host}, which is not the cluster that is asked here")
        pod = terminate_job(self._namespace, handle, grace_seconds=grace_seconds)
        if pod is not None:
            self._cancelled[handle.uid] = ended.of_pod(pod, None, NO_EVENTS)

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        """Lines of the pod's log. Neither a stream's end nor its silence says anything of the run; what is observed does."""
        selector = f"{RUNS},{RUN_ID}={spec.run_id}"
        cursors: dict[str, Cursor] = defaultdict(Cursor)
        while True:
            # Observed before it is read, so that the last reading has all that there is.
            (observation,) = self._observe([handle], selector)
            pod = self._newest_pod(f"{selector},{CONTROLLER_UID}={handle.uid}")
            if pod is not None:
                cursor = cursors[pod["metadata"]["uid"]]
                stream = self._namespace.follow(name_of(pod), container=CONTAINER, since=cursor.begin(), silence_seconds=SILENCE_SECONDS)
                yield from follow(stream, cursor, waiting=waiting)
            if observation.status is Status.TERMINATED or (not waiting() and observation.status is Status.UNKNOWN):
                return
            time.sleep(RECONNECT_SECONDS)

    def log_tail(self, spec: RunSpec) -> str:
        """The end of the log of the attempt's pod, while there is one."""
        try:
            pod = self._newest_pod(f"{RUNS},{RUN_ID}={spec.run_id},{ATTEMPT}={spec.attempt},{ATTEMPT_TOKEN}={spec.attempt_token}")
            log = self._namespace.log(name_of(pod), container=CONTAINER, lines=LAST_LINES, most_bytes=LAST_BYTES) if pod else b""
        except LaunchError:
            return ""
        return log_tail_of(log)

    def debug_commands(self, spec: RunSpec, handle: RunHandle) -> list[str]:
        """Of the namespace that has the Job."""
        job, where = job_name(spec), f"--namespace {handle.host.rpartition('/')[2]}"
        return [
            f"kubectl logs --follow job/{job} {where}",
            f"kubectl describe job/{job} {where}",
            f"kubectl get pods --selector {RUN_ID}={spec.run_id} --output wide {where}",
        ]

    def cleanup(self, spec: RunSpec) -> None:
        """Nothing: Job, pod and log stay for the time that the cluster file gives them, and the cluster removes them."""

    def collect_garbage(self, unfinished: Collection[str], *, keep_seconds: float) -> list[str]:
        """Delete Jobs of this installation that are still to do something for a run that has ended.

        What has ended the cluster removes when its time is over, whatever `keep_seconds` says; where that is 0, it goes at once, too.
        """
        try:
            listed, ours = self._namespace.jobs(RUNS), self.render(probe_spec()).request
            orphaned = [job for job in listed.items if orphans.is_orphan(job, unfinished, ours=ours)]
            removed = [job for job in orphaned if orphans.remove(self._namespace, job, now=listed.time)]
            if keep_seconds == 0:
                ended = [job for job in listed.items if orphans.is_finished_orphan(job, unfinished, ours=ours)]
                removed += [job for job in ended if self._namespace.delete("jobs", name_of(job), uid=job["metadata"]["uid"])]
        except (ClusterError, BadClusterConfig):
            return []
        return [f"Job {name_of(job)}, whose run has ended" for job in removed]

    @cached_property
    def _config(self) -> ClusterConfig:
        path = self._environment.GREGORY_CLUSTER_CONFIG
        if path is None:
            raise BadClusterConfig(
                "the kubernetes runner needs a cluster file; name it in GREGORY_CLUSTER_CONFIG: docs/cluster-config.md says what is in it"
            )
        return load_cluster_config(path)

    @cached_property
    def _namespace(self) -> Namespace:
        return Namespace(self.api, self._config.namespace)

    @cached_property
    def _pace(self) -> RateLimiter:
        return RateLimiter(self._config.submission.per_second)

    @cached_property
    def _cluster_ids(self) -> tuple[str, ...]:
        return self._namespace.cluster_ids()

    @property
    def _hosts(self) -> list[str]:
        """Every name that this cluster's namespace may have in a handle, ours first."""
        return [handle_host(self._config, cluster_id=cluster_id) for cluster_id in self._cluster_ids]

    def _observe(self, handles: Sequence[RunHandle], selector: str) -> list[Observation]:
        try:
            hosts, seen = self._hosts, self._look(selector, {handle.uid for handle in handles})
        except (ClusterError, BadClusterConfig) as error:
            unknown = Observation(status=Status.UNKNOWN, detail=str(error))
            return [unknown if _is_job(handle) else processes.observe(handle) for handle in handles]
        return [self._diagnosed(handle, hosts, seen) if _is_job(handle) else processes.observe(handle) for handle in handles]

    def _look(self, selector: str, uids: Collection[str]) -> _Seen:
        # Pods first: a run that ends in between then still has its pod.
        pods: dict[str, list[Object]] = defaultdict(list)
        for pod in self._namespace.pods(selector).items:
            pods[pod["metadata"]["labels"].get(CONTROLLER_UID, "")].append(pod)
        listed = self._namespace.jobs(selector)
        jobs = {job["metadata"]["uid"]: job for job in listed.items}
        asked = any(diagnose_job.wants_events(jobs.get(uid), pods.get(uid, ())) for uid in uids)
        events = indexed(self._namespace.events().items) if asked else NO_EVENTS
        return _Seen(jobs=jobs, pods=pods, now=listed.time, events=events)

    def _diagnosed(self, handle: RunHandle, hosts: Collection[str], seen: _Seen) -> Observation:
        job, pods = seen.jobs.get(handle.uid), seen.pods.get(handle.uid, ())
        # A uid is one Job's in the whole world; that there is none means something on its own cluster alone.
        if job is None and not pods and (ended := self._cancelled.pop(handle.uid, None)) is not None:
            return ended
        if handle.host not in hosts and job is None and not pods:
            return Observation(status=Status.UNKNOWN, detail=f"Job {handle.name} belongs to {handle.host}")
        return diagnose_job.observe_job(job, pods, seen.events, name=handle.name, now=seen.now, deadlines=self._config.deadlines)

    def _newest_pod(self, selector: str) -> Object | None:
        try:
            return newest(self._namespace.pods(selector).items)
        except ClusterError:
            return None


def _is_job(handle: RunHandle) -> bool:
    """Whether the run was submitted. Before that, its handle is that of the submitting process."""
    return handle.kind is HandleKind.JOB
