"""Labels and annotations of a run's Job and pod.

Labels hold ids, by which this project finds its objects. Annotations hold slugs, for people: a slug may be too long for a label or
contain characters that a label does not allow.
"""

from gregory.runs.spec import RunSpec

APP = "gregory-train"
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
RUN_ID = f"{APP}/run-id"
ATTEMPT = f"{APP}/attempt"
ATTEMPT_TOKEN = f"{APP}/attempt-token"
TEAM_ID = f"{APP}/team-id"
SUBJECT_ID = f"{APP}/subject-id"
TEAM = f"{APP}/team"
SUBJECT = f"{APP}/subject"
# The time when a Job without an unfinished run was first observed. `orphans` writes and reads it.
ORPHANED = f"{APP}/orphaned"
# Selects every Job and pod of this project.
RUNS = f"{NAME}={APP},{COMPONENT}=run"

KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
KUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
# Kueue sets this label on the Workload of a Job.
KUEUE_JOB_UID = "kueue.x-k8s.io/job-uid"
# The Job controller sets this label on every pod.
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"

_OURS = {NAME, COMPONENT, MANAGED_BY, KUEUE_QUEUE, KUEUE_PRIORITY, "controller-uid", "job-name"}
_OUR_PREFIXES = (f"{APP}/", "batch.kubernetes.io/")


def labels_of(spec: RunSpec) -> dict[str, str]:
    """The labels that identify Job and pod of this attempt."""
    return {
        NAME: APP,
        COMPONENT: "run",
        MANAGED_BY: APP,
        RUN_ID: spec.run_id,
        ATTEMPT: str(spec.attempt),
        ATTEMPT_TOKEN: spec.attempt_token,
        TEAM_ID: str(spec.team.id),
        SUBJECT_ID: str(spec.subject.id),
    }


def annotations_of(spec: RunSpec) -> dict[str, str]:
    """The slugs of team and subject."""
    return {TEAM: spec.team.slug, SUBJECT: spec.subject.slug}


def is_ours(key: str) -> bool:
    """Whether only this project or the Job controller may set this label or annotation."""
    return key in _OURS or key.startswith(_OUR_PREFIXES)
