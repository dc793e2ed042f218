"""Our own tables: what a run is and what became of it. Only `ledger` writes them.

They point at GregoryAI's rows without a constraint in the database: GregoryAI deletes run logs, subjects and teams with
statements that do not know these tables, and a constraint would make its deletes fail.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from gregory.models import PredictionRunLog, Subject
from gregory.runs.reasons import Reason
from gregory.runs.states import FINAL_STATES, RunState


class TrainingRun(models.Model):
    """One subject x one submission. At most one unfinished run per subject, held by a partial unique constraint."""

    run_id = models.CharField(primary_key=True, max_length=32)
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, db_constraint=False, related_name="training_runs")
    runner = models.CharField(max_length=20)
    attempt = models.PositiveSmallIntegerField(default=1)
    attempt_token = models.CharField(max_length=32)
    retries = models.PositiveSmallIntegerField(default=0, help_text="how often it was tried again by itself since somebody asked for it")
    spec = models.JSONField(help_text="the RunSpec as submitted")
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in RunState], default=RunState.PENDING.value)
    reason = models.CharField(max_length=20, choices=[(r.value, r.value) for r in Reason], blank=True, default="")
    detail = models.TextField(blank=True, default="")
    host = models.CharField(max_length=255, blank=True, default="", help_text="machine of the process named by external_name")
    external_name = models.CharField(max_length=255, blank=True, default="", help_text="process id, container or Job name")
    external_uid = models.CharField(max_length=255, blank=True, default="", help_text="tells a reused name from the original")
    image_digest = models.CharField(max_length=255, blank=True, default="")
    exit_code = models.IntegerField(null=True)
    queued_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    progress_at = models.DateTimeField(null=True, help_text="when a stage last reported something new")
    finished_at = models.DateTimeField(null=True)
    log_tail = models.TextField(blank=True, default="")
    node = models.CharField(max_length=255, blank=True, default="", help_text="machine of the cluster that had it last")
    waiting_for = models.TextField(blank=True, default="", help_text="why a submitted run has not begun, in its machine's words")
    unknown_since = models.DateTimeField(null=True, help_text="since when nobody could say whether it lives")
    missing_since = models.DateTimeField(null=True, help_text="since when its machine has answered and not had it")
    cancelled_by = models.CharField(max_length=100, blank=True, default="", help_text="who asked for its end")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subject"],
                condition=~Q(state__in=sorted(state.value for state in FINAL_STATES)),
                name="one_unfinished_run_per_subject",
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id} ({self.state})"


class AlgorithmRun(models.Model):
    """What we know of one PredictionRunLog row beyond its own columns."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="algorithms")
    run_log = models.OneToOneField(PredictionRunLog, on_delete=models.CASCADE, db_constraint=False, related_name="algorithm_run")
    position = models.PositiveSmallIntegerField(help_text="order of training within the run, from 0")
    stage = models.CharField(max_length=20, blank=True, default="")
    progress = models.JSONField(default=dict, help_text="fraction, message, epoch, seconds_left")
    reason = models.CharField(max_length=20, choices=[(r.value, r.value) for r in Reason], blank=True, default="")
    warnings = models.JSONField(default=list)
    metrics = models.JSONField(default=dict)
    evaluation = models.JSONField(default=dict, help_text="curves and histograms, at most 64 KB")
    artifact_path = models.CharField(max_length=500, blank=True, default="", help_text="relative to the models folder")
    artifact_digest = models.CharField(max_length=64, blank=True, default="", help_text="sha256 of manifest.json")
    resources = models.JSONField(default=dict, help_text="seconds and peak_bytes per stage")
    data = models.JSONField(default=dict, help_text="which rows: window, counts per part, pseudo-labels per round")
    compute = models.JSONField(default=dict, help_text="device, precision, micro-batch")

    class Meta:
        ordering: ClassVar = ["run", "position", "id"]


class RunEvent(models.Model):
    """Something that happened to a run and must not be lost, such as a late report that was refused."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=20)
    message = models.TextField()

    class Meta:
        ordering: ClassVar = ["id"]
