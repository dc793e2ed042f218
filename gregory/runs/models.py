"""The tables of runs. Only the run store writes them.

Their foreign keys to GregoryAI's tables have no constraint in the database. GregoryAI deletes run logs, subjects and teams with
statements that do not include these tables, and a constraint would make them fail.

The words of states and reasons are not `choices`: a new word needs no migration.
"""

import json
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.query_utils import DeferredAttribute

from gregory.models import PredictionRunLog, Subject
from gregory.runs.spec import RunKind
from gregory.runs.states import FINAL_STATES, RunState


class _ParsedOnUse(DeferredAttribute):
    """The value of a field that is in memory as JSON until it is used. A pass reads all runs, and uses few specifications."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        return json.loads(value) if isinstance(value, bytes) else value

    # Without it, an instance's own value would hide this attribute.
    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class _JSONAsText(models.JSONField):
    """A JSONField that is parsed at each use. `values` and `values_list` give the JSON, as bytes."""

    descriptor_class = _ParsedOnUse

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return value.encode() if isinstance(value, str) else value

    def deconstruct(self) -> Any:
        # The column is that of a JSONField.
        name, _, *rest = super().deconstruct()
        return name, "django.db.models.JSONField", *rest


class TrainingRun(models.Model):
    """One subject and one submission. A partial unique constraint allows one unfinished run of a kind per subject."""

    run_id = models.CharField(primary_key=True, max_length=32)
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, db_constraint=False, related_name="training_runs")
    kind = models.CharField(max_length=10, default=RunKind.TRAIN.value, db_default=RunKind.TRAIN.value, help_text="train or predict")
    runner = models.CharField(max_length=20)
    attempt = models.PositiveSmallIntegerField(default=1)
    attempt_token = models.CharField(max_length=32)
    retries = models.PositiveSmallIntegerField(default=0, help_text="number of retries since an operator last started the run")
    spec = _JSONAsText(help_text="the RunSpec of the current attempt")
    state = models.CharField(max_length=10, default=RunState.PENDING.value)
    reason = models.CharField(max_length=20, blank=True, default="")
    detail = models.TextField(blank=True, default="")
    host = models.CharField(max_length=255, blank=True, default="", help_text="back end of the process, container or Job in external_name")
    external_name = models.CharField(max_length=255, blank=True, default="", help_text="process id, container or Job name")
    external_uid = models.CharField(
        max_length=255, blank=True, default="", help_text="identity that no later process, container or Job of that name has"
    )
    image_digest = models.CharField(max_length=255, blank=True, default="")
    exit_code = models.IntegerField(null=True)
    queued_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    progress_at = models.DateTimeField(null=True, help_text="time of the last new message of a stage")
    finished_at = models.DateTimeField(null=True)
    log_tail = models.TextField(blank=True, default="")
    node = models.CharField(max_length=255, blank=True, default="", help_text="node of the cluster that had the run last")
    waiting_for = models.TextField(
        blank=True, default="", help_text="cause for which a submitted run has not begun, as the back end names it"
    )
    unknown_since = models.DateTimeField(null=True, help_text="time since which no runner could observe the run")
    missing_since = models.DateTimeField(null=True, help_text="time since which the back end answers and does not have the run")
    claim_key = models.CharField(
        max_length=80, blank=True, default="", db_default="", help_text="secret of the process that claimed the attempt"
    )
    cancelled_by = models.CharField(max_length=100, blank=True, default="", help_text="user and host that cancelled the run")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subject", "kind"],
                condition=~Q(state__in=sorted(state.value for state in FINAL_STATES)),
                name="one_unfinished_run_of_a_kind",
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id} ({self.state})"


class AlgorithmRun(models.Model):
    """The facts about one PredictionRunLog row that its own columns do not have."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="algorithms")
    run_log = models.OneToOneField(PredictionRunLog, on_delete=models.CASCADE, db_constraint=False, related_name="algorithm_run")
    position = models.PositiveSmallIntegerField(help_text="order of training within the run, from 0")
    stage = models.CharField(max_length=20, blank=True, default="")
    progress = models.JSONField(default=dict, help_text="fraction, message, epoch, seconds_left")
    reason = models.CharField(max_length=20, blank=True, default="")
    warnings = models.JSONField(default=list)
    metrics = models.JSONField(default=dict)
    evaluation = models.JSONField(default=dict, help_text="curves and histograms, at most 64 KB")
    artifact_path = models.CharField(max_length=500, blank=True, default="", help_text="relative to the models folder")
    artifact_digest = models.CharField(max_length=64, blank=True, default="", help_text="sha256 of manifest.json")
    resources = models.JSONField(default=dict, help_text="seconds and peak_bytes per stage")
    data = models.JSONField(default=dict, help_text="articles used: window, counts per part, pseudo-labels per round")
    compute = models.JSONField(default=dict, help_text="device, precision, micro-batch")

    class Meta:
        ordering: ClassVar = ["run", "position", "id"]


class RunEvent(models.Model):
    """A fact about a run that no column has, for example an outcome report that came too late."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=20)
    message = models.TextField()

    class Meta:
        ordering: ClassVar = ["id"]


class OperatorAction(models.Model):
    """An action of a user on the operator pages, done or refused. The texts stay when run, subject or user are deleted."""

    at = models.DateTimeField()
    by = models.CharField(max_length=150, help_text="name of the user")
    action = models.CharField(max_length=20)
    subject_id = models.BigIntegerField(help_text="id of the subject, without a reference")
    label = models.CharField(max_length=101, help_text="team/subject")
    run_id = models.CharField(max_length=32, blank=True, default="")
    detail = models.TextField(blank=True, default="", help_text="what was done, or why it was refused")
    done = models.BooleanField()

    def __str__(self) -> str:
        return f"{self.by} {self.action} {self.label}"
