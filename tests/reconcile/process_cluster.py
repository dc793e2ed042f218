"""A durable back end of local processes. They outlive the process that starts them, and each leaves an outcome report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.runs.spec import RunHandle, RunSpec


class ProcessCluster(LocalRunner):
    name = "processes"
    durable = True
    shares_models_dir = False
    max_attempts = 3

    def __init__(self, installation: Installation) -> None:
        super().__init__(installation)
        self.max_parallel = None

    def render(self, spec: RunSpec) -> Rendered:
        rendered = super().render(spec)
        environment = {**rendered.request["environment"], "GREGORY_RETRIED": "true", "GREGORY_TERMINATION_LOG": str(self._report_of(spec))}
        # It outlives the process that starts it.
        del environment["GREGORY_LIFELINE"]
        return Rendered(spec=spec, request={**rendered.request, "environment": environment})

    def submit(self, rendered: Rendered) -> RunHandle:
        handle = super().submit(rendered)
        self._by_process(handle).symlink_to(self._report_of(rendered.spec))
        return handle

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        return [self._with_report(handle, observation) for handle, observation in zip(handles, super().observe(handles), strict=True)]

    def _with_report(self, handle: RunHandle, observation: Observation) -> Observation:
        report = self._by_process(handle)
        if observation.status is not Status.TERMINATED or not report.exists():
            return observation
        end = replace(observation.diagnosis, reason=None)
        return replace(observation, report=report.read_text(), diagnosis=end)

    def _report_of(self, spec: RunSpec) -> Path:
        return self._models_dir / f"report-{spec.run_id}-{spec.attempt}"

    def _by_process(self, handle: RunHandle) -> Path:
        return self._models_dir / f"process-{handle.name}"
