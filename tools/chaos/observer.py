"""Watches the processes of the runs, and keeps their logs and objects, because pods and logs disappear."""

import json
import os
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.chaos import processes
from tools.chaos.processes import Kind
from tools.chaos.records import Together
from tools.cluster.cluster import Cluster

SAMPLE_SECONDS, OBJECTS_SECONDS = 0.3, 5.0


class Observer:
    """Two threads: one looks at processes and logs, the other at objects."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        """folder: the logs of the pods are kept there."""
        self.last_alive: dict[str, float] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.folder = folder
        self._cluster, self._namespace = cluster, namespace
        self._since: dict[tuple[str, Kind], float] = {}
        self._longest: dict[tuple[str, Kind], float] = {}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch_processes, self._watch_objects)]

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(30)

    def together(self, run_id: str) -> tuple[Together, ...]:
        """The kinds of processes that the run had twice at once."""
        return tuple(Together(kind=str(kind), seconds=seconds) for (mine, kind), seconds in sorted(self._longest.items()) if mine == run_id)

    def _watch_processes(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            found, now = processes.alive(), time.time()
            self.last_alive.update((one.run_id, now) for one in found)
            twice = processes.together(found)
            self._since = {key: self._since.get(key, now) for key in twice}
            for key, since in self._since.items():
                self._longest[key] = max(self._longest.get(key, 0.0), now - since)
            self._keep_logs()

    def _keep_logs(self) -> None:
        """A second name for each log file. The kubelet removes the first with the pod."""
        for log in self._cluster.folder.glob(f"pods/{self._namespace}_*/run/*.log"):
            pod = log.parts[-3].split("_")[1]
            with suppress(FileExistsError, FileNotFoundError):
                os.link(log, self.folder / f"{pod}-{log.name}")

    def _watch_objects(self) -> None:
        while not self._over.wait(OBJECTS_SECONDS):
            found = self._cluster.kubectl("get", "pods,jobs", "--namespace", self._namespace, "--output=json", timeout=10)
            if found.returncode == 0:
                self.objects.update((one["metadata"]["uid"], one) for one in json.loads(found.stdout)["items"])


def objects_by_run(objects: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The last known content of Jobs and pods, by run."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in objects.values():
        found[one["metadata"].get("labels", {}).get("gregory-train/run-id", "")].append(one)
    return found
