"""The lists and the pages: what they show, in how many queries, and that no text of a run becomes markup or leads out of the folder."""

import json
import logging
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gregory.ml import artifacts
from gregory.models import PredictionRunLog
from gregory.runs import events, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import OutcomeDetails
from gregory.web import live_log
from gregory.web.middleware import refusal_as_line
from tests.database_rows import HERE, make_subject, opened, outcome
from tests.published import answering_model
from tests.web.conftest import LISTS, Tenant

pytestmark = [pytest.mark.django_db, pytest.mark.database]
MOST_QUERIES = 12


def ended(spec: RunSpec, *, error: str = "") -> None:
    """End the first algorithm of a run with a success, and the second too, or with an error."""
    assert store.claim(spec, HERE, image_digest="")
    results = [outcome(spec, 0), outcome(spec, 1, success=not error, error=error)]
    for one in results:
        store.begin_algorithm(spec, one.run_log_id)
        store.close_algorithm(spec, one, OutcomeDetails(evaluation={"curve": [1]}))
    store.finish_from_rows(spec, Diagnosis(summary="x", reason=Reason.ERROR) if error else None)


@pytest.mark.parametrize("address", ["/runs/%00/", "/progress/?run=%00", "/gregory/subject/a%00/change/"])
def test_an_address_with_nul_is_refused(superuser: Client, address: str):
    answer = superuser.get(address)

    assert (answer.status_code, answer.content) == (400, b"the address contains NUL\n")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_missing_models_folder_is_a_problem_and_no_lack_of_versions(ours: Tenant, models_dir: Path):
    models_dir.rmdir()
    page = ours.client.get(reverse("admin:subject", args=[ours.subject.pk])).content.decode()
    assert f"the models folder {models_dir} does not exist; mount its volume" in page
    assert "No version has been trained yet" not in page

    address = reverse("admin:rollback", args=[ours.subject.pk, "lgbm_tfidf"])
    answer = ours.client.post(address, {"reason": ""}, follow=True).content.decode()
    assert f"he models folder {models_dir} does not exist; mount its volume" in answer


def test_another_host_is_refused_in_words(superuser: Client):
    answer = superuser.get("/", headers={"host": "models.example.org"})

    assert answer.status_code == 400
    assert answer.content.decode() == (
        "this host is not that of GREGORY_WEB_URL; open the address that the server printed, or correct the variable\n"
    )


@pytest.mark.parametrize("name", ["index", *LISTS])
def test_a_list_takes_few_queries_for_any_number_of_rows(ours: Tenant, superuser: Client, name: str):
    for client in (ours.client, superuser):
        client.get(reverse(f"admin:{name}"))
    counts = {}
    for size in (1, 60):
        for number in range(size):
            spec = opened(make_subject(ours.team, f"subject-{size}-{number}"))
            store.record_action(by="x", action="train", subject_id=spec.subject.id, label=spec.label, run_id=spec.run_id)
        for who, client in (("member", ours.client), ("superuser", superuser)):
            with CaptureQueriesContext(
                connection,
            ) as captured:
                assert client.get(reverse(f"admin:{name}")).status_code == 200
            counts[who, size] = len(captured)

    assert max(counts.values()) <= MOST_QUERIES, counts
    assert counts["member", 1] == counts["member", 60], counts


def test_the_first_page_leads_to_every_list(ours: Tenant):
    """A phone has no menu beside the page."""
    page = ours.client.get("/").content.decode()
    menu = page[page.index('<nav class="lists"') :].partition("</nav>")[0]

    assert [reverse(f"admin:{name}") for name in LISTS if f'href="{reverse(f"admin:{name}")}"' not in menu] == []


def test_the_list_of_subjects_counts_reviews_and_articles(ours: Tenant):
    text = ours.client.get(reverse("admin:gregory_subject_changelist")).content.decode()
    reviews, articles = ours.subject.article_relevances, ours.subject.articles.count()
    counts = [reviews.filter(is_relevant=True).count(), reviews.filter(is_relevant=False).count(), articles]

    assert [int(count) for count in re.findall(r'<td class="field-[a-z_]+">(\d+)</td>', text)] == counts
    assert all(counts)


def test_the_run_log_finds_the_rows_of_a_run(ours: Tenant):
    other = opened(make_subject(ours.team, "other"))

    text = ours.client.get(reverse("admin:gregory_predictionrunlog_changelist"), {"q": ours.run.run_id}).content.decode()

    assert text.count(f"/runs/{ours.run.run_id}/") == len(ours.run.algorithms)
    assert f"/runs/{other.run_id}/" not in text


def test_the_run_log_tells_apart_what_an_open_row_waits_for(ours: Tenant):
    rows = PredictionRunLog.objects.order_by("pk")
    page = reverse("admin:gregory_predictionrunlog_changelist")

    def results() -> list[str]:
        text = ours.client.get(page, {"o": "0"}).content.decode()
        return [part.partition(">")[2].partition("<")[0] for part in text.split('class="state ')[1:]]

    assert results() == ["queued", "queued"]
    TrainingRun.objects.update(state=RunState.RUNNING)
    AlgorithmRun.objects.filter(run_log=rows[0]).update(stage="train")
    assert results() == ["train", "running"]
    TrainingRun.objects.update(state=RunState.FAILED)
    assert results() == ["lost: its run failed"] * 2
    rows.update(success=True)
    assert results() == ["success"] * 2
    AlgorithmRun.objects.update(metrics=["no", "mapping"])
    assert results() == ["success"] * 2


def test_the_page_of_a_run_has_errors_warnings_and_commands_as_text(ours: Tenant):
    TrainingRun.objects.update(log_tail="<script>alert(1)</script>", state=RunState.FAILED, reason="error", detail="a & b")
    AlgorithmRun.objects.update(warnings=["<b>few</b>"], metrics={"test_f1": 0.25, "val_f1": "<i>"})
    PredictionRunLog.objects.update(success=False, error_message="Traceback <evil>")

    text = ours.client.get(reverse("admin:run", args=[ours.run.run_id])).content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;b&gt;few&lt;/b&gt;" in text
    assert "Traceback &lt;evil&gt;" in text
    assert "0.250" in text
    assert f"training_runs show {ours.run.run_id}" in text
    assert "<script>alert" not in text


@pytest.mark.parametrize("detail", ["no memory was left", "no memory was left\non the node"])
def test_the_page_of_a_run_tells_its_cause_once(ours: Tenant, detail: str):
    TrainingRun.objects.update(state=RunState.FAILED, reason="killed_outside", detail=detail)

    text = ours.client.get(reverse("admin:run", args=[ours.run.run_id])).content.decode()

    assert text.count(detail) == 1


def test_a_missing_page_and_a_missing_permission_lead_back(ours: Tenant, caplog: pytest.LogCaptureFixture):
    ours.member.user_permissions.clear()
    for address, status, said in (
        (reverse("admin:run", args=["unknown"]), 404, "No such page"),
        (reverse("admin:cancel", args=[ours.run.run_id]), 403, "this needs the permission gregory_runs.change_trainingrun"),
    ):
        answer = ours.client.get(address)
        text = answer.content.decode()
        assert answer.status_code == status
        assert said in text
        assert '<a href="/">Go to the runs</a>' in text
    # The log of the server has a line for each, and tracebacks of defects only.
    refused = [record for record in caplog.records if record.name == "django.request"]
    assert [vars(record)["status_code"] for record in refused] == [404, 403]
    assert refused[1].exc_info
    for record in refused:
        assert refusal_as_line()(record)
    assert [record.exc_info for record in refused] == [None, None]
    defect = logging.makeLogRecord({"status_code": 500, "exc_info": (ValueError, ValueError(), None)})
    assert refusal_as_line()(defect)
    assert defect.exc_info


def test_progress_shows_the_state_and_survives_any_report(ours: Tenant):
    first, second = AlgorithmRun.objects.order_by("pk")
    AlgorithmRun.objects.filter(pk=first.pk).update(stage="train", progress={"fraction": 0.5, "message": "epoch 2"})
    AlgorithmRun.objects.filter(pk=second.pk).update(progress=["no", "mapping"])

    answer = ours.client.get(reverse("admin:progress"), {"run": [ours.run.run_id, "unknown"]}).json()

    assert list(answer["runs"]) == [ours.run.run_id]
    run = answer["runs"][ours.run.run_id]
    assert (run["words"], run["final"]) == ("pending", False)
    assert run["algorithms"] == {
        str(first.run_log_id): {"stage": "train", "percent": 50, "message": "epoch 2"},
        str(second.run_log_id): {"stage": "", "percent": None, "message": ""},
    }

    AlgorithmRun.objects.filter(pk=first.pk).update(stage="ended")
    run = ours.client.get(reverse("admin:progress"), {"run": [ours.run.run_id]}).json()["runs"][ours.run.run_id]
    assert run["algorithms"][str(first.run_log_id)] == {"stage": "ended", "percent": 100, "message": ""}


def log_of(run_id: str, models_dir: Path, *messages: str) -> Path:
    """The log of a run that has started on this machine."""
    TrainingRun.objects.filter(pk=run_id).update(state=RunState.RUNNING, started_at=timezone.now())
    folder = store.attempt_of(TrainingRun.objects.get(pk=run_id)).folder(models_dir).path
    folder.mkdir(parents=True)
    written = [
        events.Event(level=events.Level.PROGRESS, at="2026-01-01T10:00:00Z", run_id=run_id, subject="a/b", message=one) for one in messages
    ]
    # The beginning of the first line is cut off.
    (folder / "events-1.jsonl").write_text("\n".join(['one"}', *map(events.to_json, written)]) + "\n")
    return folder


def test_an_unfinished_run_shows_the_end_of_its_log(ours: Tenant, models_dir: Path, monkeypatch: pytest.MonkeyPatch):
    run_id = ours.run.run_id
    address = reverse("admin:progress")
    assert ours.client.get(address, {"run": run_id, "log": run_id}).json()["runs"][run_id]["log"] == ""
    monkeypatch.setattr(live_log, "FRESH_SECONDS", 0.0)
    folder = log_of(run_id, models_dir, "epoch 1", "<epoch 2>")

    log = ours.client.get(address, {"run": run_id, "log": run_id}).json()["runs"][run_id]["log"]

    assert [line.rpartition(" ")[2] for line in log.splitlines()] == ["1", "2>"]
    assert "{" not in log
    page = reverse("admin:run", args=[run_id])
    assert f'data-log="{run_id}"' in ours.client.get(page).content.decode()
    # Other lines, for the lists, have no log.
    assert "log" not in ours.client.get(address, {"run": run_id}).json()["runs"][run_id]
    # Any number of browsers costs one look at the back end.
    monkeypatch.setattr(live_log, "FRESH_SECONDS", 1e9)
    (folder / "events-1.jsonl").unlink()
    assert ours.client.get(address, {"run": run_id, "log": run_id}).json()["runs"][run_id]["log"] == log
    TrainingRun.objects.update(state=RunState.FAILED, log_tail=log)
    assert "log" not in ours.client.get(address, {"run": run_id, "log": run_id}).json()["runs"][run_id]
    assert "&lt;epoch 2&gt;" in ours.client.get(page).content.decode()


def test_a_log_behind_a_link_is_not_shown(ours: Tenant, models_dir: Path, tmp_path: Path):
    folder = log_of(ours.run.run_id, models_dir, "secret")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")

    asked = {"run": ours.run.run_id, "log": ours.run.run_id}
    assert ours.client.get(reverse("admin:progress"), asked).json()["runs"][ours.run.run_id]["log"] == ""


def report_of(tenant: Tenant, models_dir: Path, *, algorithm: str = "lgbm_tfidf") -> Path:
    """The place of a report, and a row that names it."""
    spec = store.attempt_of(TrainingRun.objects.get(pk=tenant.run.run_id))
    version = next(one.version for one in spec.algorithms if one.algorithm == algorithm)
    folder = models_dir / spec.team.slug / spec.subject.slug / algorithm / version
    folder.mkdir(parents=True)
    AlgorithmRun.objects.update(artifact_path="../../somewhere/else")
    return folder / artifacts.MODEL_CARD


def test_a_report_is_shown_and_may_execute_nothing(ours: Tenant, models_dir: Path):
    report_of(ours, models_dir).write_text("<h1>card</h1>")

    answer = ours.client.get(reverse("admin:report", args=[ours.run.run_id, "lgbm_tfidf"]))

    assert answer.content == b"<h1>card</h1>"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_report_behind_a_link_is_not_shown(ours: Tenant, models_dir: Path, linked: str, tmp_path: Path):
    card = report_of(ours, models_dir)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / artifacts.MODEL_CARD).write_text("secret")
    if linked == "file":
        card.symlink_to(tmp_path / "secret" / artifacts.MODEL_CARD)
    else:
        card.parent.rmdir()
        card.parent.symlink_to(tmp_path / "secret")

    assert ours.client.get(reverse("admin:report", args=[ours.run.run_id, "lgbm_tfidf"])).status_code == 404


def test_the_page_of_a_subject_draws_each_metric_over_the_versions(ours: Tenant, models_dir: Path):
    folder = models_dir / "ours" / "ours-subject" / "lgbm_tfidf"
    answering_model(folder, "20260101", lambda number: 0.5)
    answering_model(folder, "20260102", lambda number: 0.9 if number % 2 == 0 else 0.1)

    text = ours.client.get(reverse("admin:subject", args=[ours.subject.pk])).content.decode()

    # The six metrics, and the share of relevant articles.
    assert text.count("<polyline") == 7
    assert "recall " in text
    assert "share relevant 0.333" in text
    assert "ROC AUC 1.000" in text
    assert text.count("Promote lgbm_tfidf") == 2
    assert "6 relevant, 6 not relevant" in text


def test_a_damaged_models_folder_is_told_on_the_page(ours: Tenant, models_dir: Path):
    folder = models_dir / "ours" / "ours-subject" / "lgbm_tfidf"
    answering_model(folder, "20260101", lambda number: 0.5)
    (folder / "promoted.json").write_text(json.dumps({"version": 7}))

    assert "promoted.json is damaged" in ours.client.get(reverse("admin:subject", args=[ours.subject.pk])).content.decode()
