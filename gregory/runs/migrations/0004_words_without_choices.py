"""The words of states and reasons are no longer choices. No SQL: the columns stay as they are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gregory_runs", "0003_machines_of_a_cluster"),
    ]

    operations = [
        migrations.AlterField(
            model_name="algorithmrun",
            name="data",
            field=models.JSONField(default=dict, help_text="articles used: window, counts per part, pseudo-labels per round"),
        ),
        migrations.AlterField(
            model_name="algorithmrun",
            name="reason",
            field=models.CharField(blank=True, default="", max_length=20),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="cancelled_by",
            field=models.CharField(blank=True, default="", help_text="user and host that cancelled the run", max_length=100),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="external_uid",
            field=models.CharField(
                blank=True, default="", help_text="identity that no later process, container or Job of that name has", max_length=255
            ),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="host",
            field=models.CharField(
                blank=True, default="", help_text="back end of the process, container or Job in external_name", max_length=255
            ),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="missing_since",
            field=models.DateTimeField(help_text="time since which the back end answers and does not have the run", null=True),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="node",
            field=models.CharField(blank=True, default="", help_text="node of the cluster that had the run last", max_length=255),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="progress_at",
            field=models.DateTimeField(help_text="time of the last new message of a stage", null=True),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="reason",
            field=models.CharField(blank=True, default="", max_length=20),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="retries",
            field=models.PositiveSmallIntegerField(default=0, help_text="number of retries since an operator last started the run"),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="spec",
            field=models.JSONField(help_text="the RunSpec of the current attempt"),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="state",
            field=models.CharField(default="pending", max_length=10),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="unknown_since",
            field=models.DateTimeField(help_text="time since which no runner could observe the run", null=True),
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="waiting_for",
            field=models.TextField(
                blank=True, default="", help_text="cause for which a submitted run has not begun, as the back end names it"
            ),
        ),
    ]
