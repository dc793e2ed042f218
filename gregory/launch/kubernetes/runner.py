"""Execute runs as Jobs of a Kubernetes cluster in parallel: one Job per attempt, in one namespace.

A Job continues after the end of the command that submitted it, and closes its rows itself. Run and attempt determine its name, and
its uid identifies it. `manifest` renders a Job, and `diagnose` interprets an observed one.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial

from gregory.env import SSL_ROOT_CERTIFICATE
from gregory.launch import database, processes
from gregory.launch.errors import BadClusterConfig, ClusterError, LaunchError, PreconditionFailed, TerminationTimeout
from gregory.launch.kubernetes import gpu_claim, orphans
from gregory.launch.kubernetes.claims import unbound_claims
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.diagnose import ended, kueue, reduce
from gregory.launch.kubernetes.diagnose import job as diagnose_job
from gregory.launch.kubernetes.diagnose.pod_status import (
    NO_EVENTS,
    NOT_UNDERSTOOD,
    Events,
    Object,
    indexed,
    is_finished,
    name_of,
    newest,
)
from gregory.launch.kubernetes.kube import Api
from gregory.launch.kubernetes.labels import ATTEMPT, ATTEMPT_TOKEN, CONTROLLER_UID, RUN_ID, RUNS
from gregory.launch.kubernetes.manifest import handle_host, job_name, render_job
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.pod_patch import CONTAINER
from gregory.launch.kubernetes.preconditions import require_cluster
from gregory.launch.kubernetes.submission import RateLimiter, create_once
from gregory.launch.kubernetes.terminate_job import job_exists, terminate_job
from gregory.launch.log_stream import Cursor, follow
from gregory.launch.preconditions import probe_spec
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.runs.diagnosis import log_tail_of
from gregory.runs.spec import Attempt, HandleKind, RunHandle, RunKind, RunSpec

RECONNECT_SECONDS = 1.0
# A log stream without data for this time is opened again, because its connection may be broken without an error.
SILENCE_SECONDS = 60.0
# Runs whose end is kept in memory until it is written.
MOST_ENDS = 1_000
LAST_LINES, LAST_BYTES = 100, 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The objects of one observation, by the uid of the Job."""

    jobs: Mapping[str, Object]
    pods: Mapping[str, Sequence[Object]]
    now: datetime
    events: Events = field(default=NO_EVENTS)


class KubernetesRunner:
    """Jobs in the namespace of the cluster file. The kubeconfig names the cluster. Without one, it is the cluster of this process."""

    name = "kubernetes"
    durable = True
    max_parallel: int | None = None
    shares_models_dir = False

    def __init__(self, installation: Installation) -> None:
        """Reads nothing and sends nothing. The first call does."""
        self._environment, self._inherited = installation.environment, installation.inherited
        self.api = Api(
            kubeconfig=self._environment.KUBECONFIG, context=self._environment.GREGORY_KUBECONTEXT, inherited=installation.inherited
        )
        # By uid: the last observed end of a pod. It remains the evidence if the pod is gone before the end is written.
        self._ends: dict[str, Observation] = {}

    @property
    def gives_gpu(self) -> bool:
        """Whether the cluster file requires a GPU. Raises BadClusterConfig."""
        return self._config.gpu.is_demanded

    @property
    def sees_models(self) -> bool:
        """Whether an operator says so."""
        return self._environment.GREGORY_MODELS_MOUNTED

    @property
    def max_attempts(self) -> int:
        """From the cluster file. Raises BadClusterConfig."""
        return self._config.max_attempts

    @property
    def stall_seconds(self) -> int:
        """From the cluster file. Raises BadClusterConfig."""
        return self._config.deadlines.stall_seconds

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Check cluster file, database, API server, namespace and referenced objects, and submit a Job in a dry run."""
        kind = specs[0].work if specs else RunKind.TRAIN
        config = self._config.of_kind(kind)
        if not self._environment.POSTGRES_DB:
            raise PreconditionFailed("the kubernetes runner needs PostgreSQL, which pods can reach; set POSTGRES_DB, or use --runner local")
        database.require_transferable(self._inherited, place="a pod")
        if (file := database.files(self._inherited).get(SSL_ROOT_CERTIFICATE)) and not config.database.ssl_root_cert_key:
            raise PreconditionFailed(
                f"the certificates {file} of the database are a file of this machine, which a pod does not have; put them into the Secret "
                f"{config.database.existing_secret}, and name their key in database.sslRootCertKey of the cluster file"
            )
        try:
            there = self._namespace.is_there()
            job = self.render(probe_spec(kind)).request
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
        """The Job. The first call requests the id of the cluster and may raise ClusterError."""
        job = render_job(spec, self._config, cluster_id=self._cluster_ids[0], connection=database.connection(self._inherited))
        return Rendered(spec=spec, request=job)

    def submit(self, rendered: Rendered) -> RunHandle:
        """Create the Job, or adopt the one that an earlier call for this attempt has made; at most so many a second."""
        self._rate_limiter.wait()
        hosts = self._hosts
        job = create_once(self._namespace, rendered.request, label=rendered.spec.label, template=gpu_claim.claim_template(self._config))
        return RunHandle(host=hosts[0], name=name_of(job), uid=job["metadata"]["uid"])

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """List pods and Jobs once for any number of runs, and events if a diagnosis needs them."""
        if not any(_is_job(handle) for handle in handles):
            return [processes.observe(handle) for handle in handles]
        return self._observe(handles, RUNS)

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """Delete the Job and its pod, and wait until both are gone. A finished Job remains with its log.

        Raises TerminationTimeout if the end was not observed, and ClusterError.
        """
        if not _is_job(handle):
            return
        if handle.host not in self._hosts and not job_exists(self._namespace, handle):
            raise TerminationTimeout(f"Job {handle.name} belongs to {handle.host}, which is another cluster or namespace")
        pod = terminate_job(self._namespace, handle, grace_seconds=grace_seconds)
        if pod is not None:
            self._keep(handle, ended.of_pod(pod, None, NO_EVENTS))

    def logs(self, spec: Attempt, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        """Lines of the pod's log. Only an observation ends it: the end or silence of a stream is no evidence about the run."""
        selector = f"{RUNS},{RUN_ID}={spec.run_id}"
        cursors: dict[str, Cursor] = defaultdict(Cursor)
        while True:
            # The observation comes first, so that the last stream contains the whole log.
            (observation,) = self._observe([handle], selector)
            pod = self._newest_pod(f"{selector},{CONTROLLER_UID}={handle.uid}")
            if pod is not None:
                cursor = cursors[pod["metadata"]["uid"]]
                stream = self._namespace.follow(name_of(pod), container=CONTAINER, silence_seconds=SILENCE_SECONDS)
                yield from follow(stream, cursor, waiting=waiting)
                if observation.status is Status.TERMINATED:
                    yield from cursor.rest()
            if observation.status is Status.TERMINATED or (not waiting() and observation.status is Status.UNKNOWN):
                return
            time.sleep(RECONNECT_SECONDS)

    def log_tail(self, spec: Attempt) -> str:
        """The end of the log of the attempt's pod. Empty if there is no pod."""
        try:
            pod = self._newest_pod(f"{RUNS},{RUN_ID}={spec.run_id},{ATTEMPT}={spec.attempt},{ATTEMPT_TOKEN}={spec.attempt_token}")
            log = self._namespace.log(name_of(pod), container=CONTAINER, lines=LAST_LINES, most_bytes=LAST_BYTES) if pod else b""
        except LaunchError:
            return ""
        return log_tail_of(log)

    def debug_commands(self, spec: Attempt, handle: RunHandle) -> list[str]:
        """Commands for the namespace of the Job."""
        job, where = job_name(spec), f"--namespace {handle.host.rpartition('/')[2]}"
        return [
            f"kubectl logs --follow job/{job} {where}",
            f"kubectl describe job/{job} {where}",
            f"kubectl get pods --selector {RUN_ID}={spec.run_id} --output wide {where}",
        ]

    def cleanup(self, spec: Attempt) -> None:
        """Do nothing. The cluster removes Job, pod and log after the time in the cluster file."""

    def collect_garbage(
        self, unfinished: Collection[str], *, recent: Collection[str] = (), keep_seconds: float, now: datetime | None = None
    ) -> list[str]:
        """Delete unfinished Jobs of this installation that have no unfinished run. If `keep_seconds` is 0, delete finished Jobs too.

        Otherwise the cluster removes finished Jobs after the time in the cluster file.
        """
        try:
            listed, ours = self._namespace.jobs(RUNS, orphans.read_jobs), self.render(probe_spec()).request
            orphaned = [job for job in listed.items if orphans.is_orphan(job, unfinished, ours=ours)]
            removed = [job for job in orphaned if orphans.remove(self._namespace, job, now=listed.time)]
            if keep_seconds == 0:
                ended = [job for job in listed.items if orphans.is_finished_orphan(job, unfinished, ours=ours)]
                removed += [job for job in ended if self._namespace.delete("jobs", name_of(job), uid=job["metadata"]["uid"])]
        except (ClusterError, BadClusterConfig):
            return []
        return [f"Job {name_of(job)} of an ended run" for job in removed]

    @cached_property
    def _config(self) -> ClusterConfig:
        path = self._environment.GREGORY_CLUSTER_CONFIG
        if path is None:
            raise BadClusterConfig(
                "the kubernetes runner needs a cluster file; write one (docs/cluster-config.md) and name it in GREGORY_CLUSTER_CONFIG"
            )
        return load_cluster_config(path)

    @cached_property
    def _namespace(self) -> Namespace:
        return Namespace(self.api, self._config.namespace)

    @cached_property
    def _rate_limiter(self) -> RateLimiter:
        return RateLimiter(self._config.submission.per_second)

    @cached_property
    def _cluster_ids(self) -> tuple[str, ...]:
        return self._namespace.cluster_ids()

    @property
    def _hosts(self) -> list[str]:
        """The hosts that handles of this namespace may have, best first."""
        return [handle_host(self._config, cluster_id=cluster_id) for cluster_id in self._cluster_ids]

    def _observe(self, handles: Sequence[RunHandle], selector: str) -> list[Observation]:
        try:
            hosts, seen = self._hosts, self._list(selector, handles)
        except (ClusterError, BadClusterConfig) as error:
            unknown = Observation(status=Status.UNKNOWN, detail=str(error))
            return [unknown if _is_job(handle) else processes.observe(handle) for handle in handles]
        return [self._understood(handle, hosts, seen) if _is_job(handle) else processes.observe(handle) for handle in handles]

    def _list(self, selector: str, handles: Sequence[RunHandle]) -> _Seen:
        # Pods come first: if a run ends between the two lists, its pod is in the first.
        pods: dict[str, list[Object]] = defaultdict(list)
        for pod in self._namespace.pods(selector, reduce.pods).items:
            pods[pod["metadata"]["labels"].get(CONTROLLER_UID, "")].append(pod)
        listed = self._namespace.jobs(selector, reduce.jobs)
        jobs = {job["metadata"]["uid"]: job for job in listed.items}
        claims = unbound_claims(self._namespace, (pod for handle in handles for pod in pods.get(handle.uid, ())))
        asking = {one.name for one in handles if diagnose_job.wants_events(jobs.get(one.uid), pods.get(one.uid, ()))}
        queued = self._config.kueue.read_workloads and any(kueue.is_queued(jobs[one.uid]) for one in handles if one.uid in jobs)
        workloads = self._namespace.workloads() if queued else None
        found = self._namespace.events(partial(reduce.events, jobs=asking)).items if asking or claims else None
        events = NO_EVENTS if found is None else indexed(found, workloads, claims)
        return _Seen(jobs=jobs, pods=pods, now=listed.time, events=events)

    def _understood(self, handle: RunHandle, hosts: Collection[str], seen: _Seen) -> Observation:
        try:
            return self._diagnosed(handle, hosts, seen)
        except NOT_UNDERSTOOD as error:
            # Another version of this program may have made the objects. They must not stop the observation of the other runs.
            detail = f"Job {handle.name} or its pod has not the expected content: {type(error).__name__}: {error}"
            return Observation(status=Status.UNKNOWN, detail=detail)

    def _diagnosed(self, handle: RunHandle, hosts: Collection[str], seen: _Seen) -> Observation:
        job, pods = seen.jobs.get(handle.uid), seen.pods.get(handle.uid, ())
        # A uid identifies one Job in all clusters. Only the cluster of the Job can prove that it does not exist.
        if not pods and (job is None or is_finished(job)) and (end := self._ends.get(handle.uid)) is not None:
            return end
        if handle.host not in hosts and job is None and not pods:
            return Observation(status=Status.UNKNOWN, detail=f"Job {handle.name} belongs to {handle.host}")
        found = diagnose_job.observe_job(job, pods, seen.events, name=handle.name, now=seen.now, deadlines=self._config.deadlines)
        if pods and found.status is Status.TERMINATED:
            self._keep(handle, found)
        return found

    def _keep(self, handle: RunHandle, end: Observation) -> None:
        self._ends[handle.uid] = end
        if len(self._ends) > MOST_ENDS:
            del self._ends[next(iter(self._ends))]

    def _newest_pod(self, selector: str) -> Object | None:
        try:
            return newest(self._namespace.pods(selector).items)
        except ClusterError:
            return None


def _is_job(handle: RunHandle) -> bool:
    """Whether the run was submitted. Before that, its handle is that of the submitting process."""
    return handle.kind is HandleKind.JOB
