"""Spec section 6: every run log says which algorithm; rows from before get "unknown".

On a live GregoryAI database a migration of this name is already recorded and nothing runs; on one that stopped at 0001
this does what theirs does.
"""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mark_existing_rows(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Rows written before the column existed can name no algorithm."""
    apps.get_model("gregory", "PredictionRunLog").objects.filter(algorithm__isnull=True).update(algorithm="unknown")


class Migration(migrations.Migration):
    dependencies = [("gregory", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="predictionrunlog",
            name="algorithm",
            field=models.CharField(
                blank=True,
                choices=[("pubmed_bert", "PubMed BERT"), ("lgbm_tfidf", "LGBM + TF-IDF"), ("lstm", "LSTM")],
                max_length=20,
                null=True,
            ),
        ),
        migrations.RunPython(mark_existing_rows, migrations.RunPython.noop),
    ]
