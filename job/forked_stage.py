"""Fork a stage by the fork servers of this run: one for all stages, and one that has TensorFlow too, for its networks."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from gregory.forking import client
from gregory.forking.protocol import Kind, is_known
from gregory.ml.stages.environment import has_gpu, network, preloaded

_of_networks: client.Server | None = None


def fork(
    command: Sequence[str], *, environment: Mapping[str, str], errors: IO[bytes], algorithm: str, needed: Callable[[], bool]
) -> client.Forked | None:
    """The process. None if this run has no fork server, or if it cannot. Beside a GPU, only trainings of LightGBM are forked.

    algorithm: of a training. needed: called while libraries are loaded. If it returns False, the process is no longer needed.
    """
    if client.own is None or not is_known(command) or (algorithm != "lgbm_tfidf" and has_gpu()):
        return None
    server: client.Server | None = client.own
    load = preloaded([algorithm]) if algorithm else ()
    if loaded := network(algorithm):
        server, load = _networks(client.own, environment, load, needed), loaded
    if server is None:
        return None
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb"):
        forked = server.fork(
            command, kind=Kind.STAGE, environment=environment, stdout=writing, stderr=errors.fileno(), load=load, needed=needed
        )
    output = os.fdopen(reading, "rb", buffering=0)
    if forked is None:
        output.close()
        return None
    forked.stdout = output
    forked.begin()
    return forked


def _networks(own: client.Server, environment: Mapping[str, str], load: Sequence[str], needed: Callable[[], bool]) -> client.Server | None:
    global _of_networks
    if _of_networks is None or _of_networks.has_ended():
        _of_networks = own.fork_server(environment=environment, load=load, needed=needed)
    return _of_networks
