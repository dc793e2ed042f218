"""The claims that keep pods from a node. The scheduler names them only in a sentence, which changes with its version."""

from collections.abc import Iterable
from contextlib import suppress

from gregory.launch.kubernetes.diagnose.pod_status import NOT_UNDERSTOOD, Object, claims_of, condition
from gregory.launch.kubernetes.namespace import Namespace


def unbound_claims(namespace: Namespace, pods: Iterable[Object]) -> dict[str, str]:
    """The phase of each claim that an unschedulable pod names and that is not bound. Empty phase: there is no such claim.

    Claims that this account may not read are left out. Raises ClusterError.
    """
    names: set[str] = set()
    for pod in pods:
        with suppress(*NOT_UNDERSTOOD):
            names.update(claims_of(pod) if condition(pod, "PodScheduled", status="False") else ())
    phases = {name: namespace.claim_phase(name) for name in sorted(names)}
    return {name: phase for name, phase in phases.items() if phase not in (None, "Bound")}
