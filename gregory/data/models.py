"""The identifiers that imported articles have in their files."""

from typing import ClassVar

from django.db import models

from gregory.data.imports.values import LONGEST_ID
from gregory.models import Articles, Subject


class ImportedArticle(models.Model):
    """An article of a subject and its identifier in the imported file. Two subjects can use the same identifiers.

    In GregoryAI's own database this table is empty, and no constraint holds up a deletion there.
    """

    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    article = models.ForeignKey(Articles, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    source_id = models.CharField(max_length=LONGEST_ID)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject", "source_id"], name="unique_source_id_of_subject"),
            models.UniqueConstraint(fields=["subject", "article"], name="unique_imported_article_of_subject"),
        ]

    def __str__(self) -> str:
        return self.source_id
