"""How a Job and its pod are marked: the labels by which a run is found again, and the annotations that people read.

Ids are labels. Slugs are annotations, since a label takes neither their length nor their alphabet.
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
# When a Job was first seen for which there is no unfinished run; see `runners.kubernetes`.
ORPHANED = f"{APP}/orphaned"
# Every Job and pod of ours.
RUNS = f"{NAME}={APP},{COMPONENT}=run"

KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
KUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
# The Job controller sets it on every pod.
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"

_OURS = {NAME, COMPONENT, MANAGED_BY, KUEUE_QUEUE, KUEUE_PRIORITY, "controller-uid", "job-name"}
_OUR_PREFIXES = (f"{APP}/", "batch.kubernetes.io/")


def labels_of(spec: RunSpec) -> dict[str, str]:
    """What tells this attempt's Job and pod from all others."""
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
    """Team and subject as people name them."""
    return {TEAM: spec.team.slug, SUBJECT: spec.subject.slug}


def is_ours(key: str) -> bool:
    """Whether a label or annotation is set by us or by the Job controller, and by nobody else."""
    return key in _OURS or key.startswith(_OUR_PREFIXES)
