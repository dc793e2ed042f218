"""The kind of a run: a training and a prediction of one subject may be unfinished at once. An older release inserts trainings."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gregory", "0002_predictionrunlog_algorithm"),
        ("gregory_runs", "0005_claim_key"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="trainingrun",
            name="one_unfinished_run_per_subject",
        ),
        migrations.AddField(
            model_name="trainingrun",
            name="kind",
            field=models.CharField(db_default="train", default="train", help_text="train or predict", max_length=10),
        ),
        migrations.AddConstraint(
            model_name="trainingrun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["cancelled", "failed", "succeeded"]), _negated=True),
                fields=("subject", "kind"),
                name="one_unfinished_run_of_a_kind",
            ),
        ),
    ]
