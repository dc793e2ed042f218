"""GregoryAI's tables, with the columns that every version of its schema has.

These tables belong to a live system. Nothing is added to them, and a training writes only PredictionRunLog. The tables of
`gregory.runs` have the facts of this project. Class and field names define the names of existing columns, so do not change them.
"""

from typing import ClassVar

from django.db import models
from django.utils import timezone


class Team(models.Model):
    """A group of people that reviews articles."""

    organization = models.ForeignKey("organizations.Organization", on_delete=models.CASCADE, related_name="teams")
    slug = models.SlugField(max_length=50, unique=True, allow_unicode=True)

    def __str__(self) -> str:
        return self.slug


class Subject(models.Model):
    """A topic of a team. Its slug is unique in the team only."""

    subject_name = models.CharField(max_length=50)
    subject_slug = models.SlugField(max_length=50, allow_unicode=True)
    description = models.TextField(null=True, blank=True)
    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="subjects")

    class Meta:
        db_table = "subjects"
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "subject_slug"], name="unique_team_subject_slug")]

    def __str__(self) -> str:
        return self.subject_slug


class Articles(models.Model):
    """A research article. The plural name gives the many-to-many column the name `articles_id`, as in GregoryAI."""

    article_id = models.AutoField(primary_key=True)
    title = models.TextField()
    link = models.URLField(max_length=2000)
    summary = models.TextField(null=True, blank=True)
    discovery_date = models.DateTimeField(default=timezone.now)
    published_date = models.DateTimeField(null=True, blank=True)
    doi = models.CharField(max_length=280, null=True, blank=True)
    noun_phrases = models.JSONField(null=True, blank=True)
    kind = models.CharField(max_length=50, default="science paper")
    access = models.CharField(max_length=50, null=True, blank=True)
    publisher = models.CharField(max_length=150, null=True, blank=True)
    container_title = models.CharField(max_length=150, null=True, blank=True)
    crossref_check = models.DateTimeField(null=True, blank=True)
    retracted = models.BooleanField(default=False)
    subjects = models.ManyToManyField(Subject, related_name="articles")
    teams = models.ManyToManyField(Team, related_name="articles")

    class Meta:
        db_table = "articles"

    def __str__(self) -> str:
        return self.title


class ArticleSubjectRelevance(models.Model):
    """One review: relevant, not relevant, or None for not reviewed."""

    article = models.ForeignKey(Articles, on_delete=models.CASCADE, related_name="article_subject_relevances")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="article_relevances")
    is_relevant = models.BooleanField(null=True, default=None)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["article", "subject"], name="unique_article_subject_relevance")]


class PredictionRunLog(models.Model):
    """One training or prediction of one subject with one algorithm. success None: it has not ended."""

    ALGORITHMS: ClassVar = [("pubmed_bert", "PubMed BERT"), ("lgbm_tfidf", "LGBM + TF-IDF"), ("lstm", "LSTM")]
    RUN_TYPES: ClassVar = [("train", "Train"), ("predict", "Predict")]

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="prediction_run_logs")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="prediction_run_logs")
    model_version = models.CharField(max_length=100)
    algorithm = models.CharField(max_length=20, choices=ALGORITHMS, null=True, blank=True)
    run_type = models.CharField(max_length=10, choices=RUN_TYPES)
    run_started = models.DateTimeField(auto_now_add=True)
    run_finished = models.DateTimeField(null=True, blank=True)
    success = models.BooleanField(null=True)
    triggered_by = models.CharField(max_length=100, null=True, blank=True)
    error_message = models.TextField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["team", "subject", "run_finished"], name="runlog_team_subject_finished"),
            models.Index(fields=["run_type", "success"], name="runlog_type_success"),
        ]

    def __str__(self) -> str:
        return f"{self.run_type} {self.algorithm} {self.model_version}"


class MLPredictions(models.Model):
    """The probability of one article from one model. GregoryAI writes this table, and this project does not use it."""

    subject = models.ForeignKey(Subject, on_delete=models.CASCADE)
    article = models.ForeignKey(Articles, null=True, on_delete=models.CASCADE, related_name="ml_predictions_detail")
    model_version = models.CharField(max_length=100, null=True, blank=True)
    probability_score = models.FloatField(null=True)
    predicted_relevant = models.BooleanField(null=True)
    created_date = models.DateTimeField(auto_now_add=True)
