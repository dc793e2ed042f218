"""Keeps all that is known about the runs with a violation: logs, objects, rows and the time line."""

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.evidence import as_json
from tools.chaos.observer import Observer, objects_by_run
from tools.chaos.records import Evidence
from tools.cluster import kueue

DAEMONS = ("kubelet", "kube-apiserver", "kube-controller-manager", "containerd", "audit")


def keep(
    folder: Path,
    wrong: Iterable[tuple[Evidence, Sequence[str]]],
    chaos_env: ChaosEnv,
    observer: Observer,
) -> None:
    """Write everything into the folder, with one folder for each run."""
    folder.mkdir(parents=True)
    objects = objects_by_run(observer.objects)
    for evidence, words in wrong:
        mine = folder / evidence.script.subject
        mine.mkdir()
        (mine / "violations.txt").write_text("\n".join(words) + "\n")
        (mine / "evidence.json").write_text(as_json(evidence))
        for run in evidence.runs:
            (mine / f"objects-{run.run_id}.json").write_text(json.dumps(objects.get(run.run_id, []), indent=2))
            for log in observer.folder.glob(f"*{run.run_id}*"):
                shutil.copy(log, mine / f"pod-{log.name}")
            with suppress(OSError, ValueError):
                (working,) = chaos_env.models.glob(f"*/*/.runs/{run.run_id}")
                shutil.copytree(working, mine / f"working-folder-{run.run_id}", ignore_dangling_symlinks=True)
    for log in (*chaos_env.folder.glob("*.log"), *(chaos_env.cluster.folder / f"{name}.log" for name in DAEMONS)):
        with suppress(OSError):
            shutil.copy(log, folder / log.name)
    for number, log in enumerate(sorted(chaos_env.cluster.folder.glob(f"pods/{kueue.NAMESPACE}_*/*/*.log"))):
        with suppress(OSError):
            shutil.copy(log, folder / f"kueue-{number}.log")
    with suppress(OSError):
        shutil.copy(chaos_env.server.folder / "log", folder / "postgresql.log")
