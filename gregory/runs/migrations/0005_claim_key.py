"""The key of the process that claimed a run. The database has the default, so an older release can insert rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gregory_runs", "0004_words_without_choices"),
    ]

    operations = [
        migrations.AddField(
            model_name="trainingrun",
            name="claim_key",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="secret of the process that claimed the attempt", max_length=80
            ),
        ),
    ]
