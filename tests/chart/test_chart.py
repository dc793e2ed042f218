"""The objects that the chart makes from values, without a cluster: presets, names, options, and no secret in any object."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gregory.launch.kubernetes import plaintext_secrets
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.labels import CONTROLLER_UID, KUEUE_PRIORITY, KUEUE_QUEUE, labels_of
from gregory.launch.kubernetes.manifest import render_job
from gregory.launch.kubernetes.namespace import RIGHTS
from gregory.runs.spec import Scope
from tools import golden_jobs as golden
from tools.chart.helm import CHART, PRESETS, helm, must, template

pytestmark = pytest.mark.usefixtures("each_helm")

ALL = [path.stem for path in sorted(PRESETS.glob("*.yaml"))]
LONGEST = "gregory-" + "x" * 44 + "y"
DNS = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] == kind]


def only(objects: list[dict[str, Any]], kind: str, suffix: str = "") -> dict[str, Any]:
    (one,) = [one for one in of_kind(objects, kind) if one["metadata"]["name"].endswith(suffix)]
    return one


def cluster_file(objects: list[dict[str, Any]], folder: Path) -> ClusterConfig:
    """The cluster file, read as the submitter does."""
    file = folder / "cluster.yaml"
    file.write_text(only(objects, "ConfigMap")["data"]["cluster.yaml"], encoding="utf-8")
    return load_cluster_config(file)


def with_preset(name: str) -> tuple[str, ...]:
    return ("--values", str(PRESETS / f"{name}.yaml"))


def reference(name: str, key: str) -> dict[str, Any]:
    """A variable from a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "secret", "key": key}}}


def refusal(values: Mapping[str, Any], folder: Path) -> str:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    done = helm("template", "any", str(CHART), "--values", str(file))
    assert done.returncode != 0, done.stdout
    return done.stderr


# --- OpenShift --------------------------------------------------------------------------------------------------------------------------


def test_the_cluster_chooses_the_user_of_every_pod(tmp_path: Path):
    chosen = ("runAsUser", "runAsGroup", "fsGroup")
    objects = template(*with_preset("openshift"))

    security = cluster_file(objects, tmp_path).security
    assert (security.run_as_user, security.run_as_group, security.fs_group) == (None, None, None)
    contexts = [pod["securityContext"] for pod in _pods(objects)]
    assert contexts
    assert [context for context in contexts if not {*chosen}.isdisjoint(context) or not context["runAsNonRoot"]] == []


def test_a_user_of_ten_digits_is_a_number(tmp_path: Path):
    objects = template(values={"job": {"security": {"runAsUser": 1_000_680_000}}})

    assert cluster_file(objects, tmp_path).security.run_as_user == 1_000_680_000
    assert {pod["securityContext"]["runAsUser"] for pod in _pods(objects)} == {1_000_680_000}


# --- presets ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ALL)
def test_lint_accepts_each_preset(preset: str):
    assert "0 chart(s) failed" in must("lint", "--strict", str(CHART), *with_preset(preset))


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("aks", {"nodeSelector": {"kubernetes.azure.com/accelerator": "nvidia"}, "tolerations": ["sku", "nvidia.com/gpu"]}),
        ("cpu-only", {"tolerations": None, "resource": None}),
        ("eks", {"nodeSelector": {"eks.amazonaws.com/instance-gpu-name": "l4"}}),
        ("gke", {"nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-l4"}}),
        ("gpu-operator", {"nodeSelector": {"nvidia.com/gpu.present": "true"}, "runtimeClassName": "nvidia"}),
        ("kueue", {"queue": "gregory-train"}),
        ("openshift", {"user": None}),
        ("mig", {"resource": "nvidia.com/mig-3g.20gb", "tolerations": ["nvidia.com/gpu", "nvidia.com/mig-3g.20gb"]}),
    ],
)
def test_a_job_has_the_settings_of_the_preset(preset: str, expected: dict[str, Any], tmp_path: Path):
    job = render_job(golden.SPEC, cluster_file(template(*with_preset(preset)), tmp_path), cluster_id=golden.CLUSTER_ID)

    pod = job["spec"]["template"]["spec"]
    tolerations = pod.get("tolerations")
    gpus = [name for name in pod["containers"][0]["resources"]["limits"] if "/" in name]
    found = {
        "nodeSelector": pod.get("nodeSelector"),
        "runtimeClassName": pod.get("runtimeClassName"),
        "tolerations": [one["key"] for one in tolerations] if tolerations else None,
        "resource": gpus[0] if gpus else None,
        "queue": job["metadata"]["labels"].get(KUEUE_QUEUE),
        "user": pod["securityContext"].get("runAsUser"),
    }
    usual = {
        "nodeSelector": None, "runtimeClassName": None, "queue": None, "resource": "nvidia.com/gpu", "tolerations": ["nvidia.com/gpu"],
        "user": 10_001,
    }  # fmt: skip
    assert found == usual | expected
    assert set(ALL) == {"aks", "cpu-only", "eks", "gke", "gpu-operator", "kueue", "mig", "openshift"}


def test_defaults_of_job_equal_those_of_the_cluster_file(tmp_path: Path):
    config = cluster_file(template(), tmp_path)

    minimal = {
        "image": config.image,
        "volumes": config.volumes,
        "database": config.database,
        # The names that the chart chooses.
        "namespace": "gregory-train",
        "serviceAccountName": "gregory-train-trainer",
        "labels": {"app.kubernetes.io/instance": "gregory-train"},
    }
    assert config == ClusterConfig.model_validate(minimal)


# --- wrong values ----------------------------------------------------------------------------------------------------------------------


def misspelt(values: Any) -> Any:
    """The values, and in each mapping each key again with the letter x appended."""
    if not isinstance(values, dict):
        return values
    return {key: misspelt(value) for key, value in values.items()} | {f"{key}x": 1 for key in values}


def keys_of(values: Any, where: str = "") -> dict[str, list[str]]:
    """The keys of each mapping, by its path."""
    if not isinstance(values, dict) or not values:
        return {}
    below = [keys_of(value, f"{where}/{key}") for key, value in values.items()]
    return {where: sorted(values)} | {place: keys for one in below for place, keys in one.items()}


def test_a_misspelt_key_is_refused_by_name(tmp_path: Path):
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    message = refusal(misspelt(values) | {"cronJobs": [misspelt(one) for one in values["cronJobs"]]}, tmp_path)

    refused = re.findall(r"at '([^']*)': additional properties (.+) not allowed", message)
    expected = keys_of(values) | {"/cronJobs/0": ["args", "name", "schedule"]}
    assert {where: sorted(re.findall(r"'([^']+)'", names)) for where, names in refused} == {
        where: sorted(f"{key}x" for key in keys) for where, keys in expected.items()
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"cronJob": {"concurrencyPolicy": "forbid"}},
            "at '/cronJob/concurrencyPolicy': value must be one of 'Allow', 'Forbid', 'Replace'",
        ),
        ({"cronJob": {"timeZone": "Local"}}, "at '/cronJob/timeZone': 'Local' does not match pattern"),
        (
            {"cronJobs": [{"name": "w", "schedule": "every day", "args": ["--all-teams"]}]},
            "at '/cronJobs/0/schedule': 'every day' does not",
        ),
        ({"cronJobs": [{"name": "w", "schedule": "0 3 * *", "args": ["--all-teams"]}]}, "at '/cronJobs/0/schedule': '0 3 * *' does not"),
        ({"cronJobs": [{"name": "w", "schedule": "@weekly"}]}, "at '/cronJobs/0': missing property 'args'"),
        (
            {"cronJobs": [{"name": "Weekly", "schedule": "@weekly", "args": ["--all-teams"]}]},
            "at '/cronJobs/0/name': 'Weekly' does not match",
        ),
        (
            {"predictionCronJobs": [{"name": "weekly", "schedule": "@weekly", "args": ["--all-teams"]}]},
            'cronJobs: two entries have the name "weekly", give each its own',
        ),
        (
            {
                "predictionCronJobs": [{"name": "w", "schedule": "@weekly", "args": ["--all-teams"]}],
                "reconciler": {"mountModels": False},
                "models": {"accessModes": ["ReadWriteOnce"]},
            },
            "cronJob.mountModels: a claim without ReadWriteMany in models.accessModes would bind all runs to the node of a submitter",
        ),
        (
            {"cronJobs": [{"name": "w", "schedule": "@weekly", "args": ["--all-teams"]}] * 2},
            'cronJobs: two entries have the name "w", give each its own',
        ),
        ({"job": {"gpu": {"resource": "gpu"}}}, "at '/job/gpu/resource': 'gpu' does not match pattern"),
        ({"job": {"gpu": {"count": -1}}}, "at '/job/gpu/count': minimum: got -1, want 0"),
        ({"job": {"namespace": "elsewhere"}}, "at '/job': additional properties 'namespace' not allowed"),
        ({"job": {"database": {"password": "hunter2"}}}, "at '/job/database': additional properties 'password' not allowed"),
        ({"job": {"database": {"hostKey": ""}}}, "job.database: set host or hostKey, both are empty"),
        ({"job": {"image": {"digest": "sha256:12"}}}, "at '/job/image/digest': 'sha256:12' does not match pattern"),
        ({"job": {"env": [{"name": "TOKEN", "value": "hunter2"}]}}, "at '/job/env/0': additional properties 'value' not allowed"),
        (
            {"controller": {"env": [{"name": "TOKEN", "value": "hunter2"}]}},
            "at '/controller/env/0': additional properties 'value' not allowed",
        ),
        (
            {"job": {"env": [reference("TOKEN", "a"), reference("TOKEN", "b")]}},
            'job.env: two entries have the name "TOKEN", remove one',
        ),
        (
            {"controller": {"env": [reference("TOKEN", "a"), reference("TOKEN", "b")]}},
            'controller.env: two entries have the name "TOKEN", remove one',
        ),
        ({"controller": {"env": [reference("DB_HOST", "a")]}}, 'controller.env: the chart sets "DB_HOST", remove it'),
        (
            {"controller": {"env": [reference("GREGORY_METRICS_PORT", "a")]}},
            'controller.env: the chart sets "GREGORY_METRICS_PORT", remove it',
        ),
        ({"controller": {"podLabels": {KUEUE_QUEUE: "gpus"}}}, "at '/controller/podLabels/kueue.x-k8s.io~1queue-name': false schema"),
        (
            {"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dat": {}}]},
            "at '/extraObjects/0': additional properties 'dat' not allowed",
        ),
        (
            {"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "label": {}}}]},
            "at '/extraObjects/0/metadata': additional properties 'label' not allowed",
        ),
        ({"extraObjects": [{"kind": "ConfigMap", "metadata": {}}]}, "at '/extraObjects/0': missing property 'apiVersion'"),
        ({"models": {"accessModes": ["ReadOnlyMany"]}}, "at '/models/accessModes/0': value must be one of"),
        ({"models": {"accessModes": ["ReadWriteOnce"]}}, "reconciler.mountModels: a claim without ReadWriteMany in models.accessModes"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(values: dict[str, Any], expected: str, tmp_path: Path):
    message = refusal(values, tmp_path)

    assert expected in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"operator": {"image": {"repository": "r"}}}, "operator is now controller"),
        ({"networkPolicy": {"operatorEgress": []}}, "networkPolicy.operatorEgress is now networkPolicy.controllerEgress"),
        ({"rbac": {"readClusterName": False}}, "rbac.readClusterName is now rbac.readClusterId"),
        ({"uninstall": {"endRuns": False}, "operator": {}}, "operator is now controller, uninstall.endRuns is now uninstall.cancelRuns"),
    ],
)
def test_a_renamed_value_is_refused_with_its_new_name(values: dict[str, Any], expected: str, tmp_path: Path):
    assert f": rename these values: {expected}\n" in refusal(values, tmp_path)


# --- names -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", [LONGEST, "a", "gregory-train"])
def test_every_name_is_valid_and_unique(release: str):
    objects = template(
        release=release, values={"migration": {"enabled": True}, "prometheusRule": {"enabled": True}, "reconciler": {"replicas": 2}}
    )

    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    for kind, name in names:
        assert DNS.fullmatch(name), name
        assert len(name) <= (52 if kind == "CronJob" else 63), name
    labels = [value for one in objects for value in one["metadata"]["labels"].values()]
    assert [value for value in labels if not LABEL.fullmatch(value)] == []


def test_long_release_names_that_differ_at_the_end_give_different_names():
    one, other = ({name_of(made) for made in template(release=release)} for release in (LONGEST, LONGEST[:-1] + "z"))

    assert one & other == set()
    assert all(name.startswith("gregory-xxxxx") for name in one | other)
    assert {made["metadata"]["labels"]["app.kubernetes.io/instance"] for made in template(release=LONGEST)} == {LONGEST}


def name_of(made: dict[str, Any]) -> str:
    return str(made["metadata"]["name"])


def test_a_subject_of_60_non_ascii_letters_gives_a_valid_job(tmp_path: Path):
    config = cluster_file(template(release=LONGEST), tmp_path)
    subjects = [Scope(id=id_, slug="многоликий-рассеянный-склероз-и-восстановление-миелина-" + "äöüß"[:4] + str(id_)) for id_ in (1, 2)]
    assert {len(subject.slug) for subject in subjects} == {60}

    jobs = [
        render_job(golden.SPEC.model_copy(update={"run_id": f"0123456789a{subject.id}", "subject": subject}), config, cluster_id="any")
        for subject in subjects
    ]

    assert len({name_of(job) for job in jobs}) == 2
    for job, subject in zip(jobs, subjects, strict=True):
        assert re.fullmatch(r"gregory-train-0123456789a\d-a2", name_of(job))
        assert job["metadata"]["annotations"]["gregory-train/subject"] == subject.slug
        assert job["metadata"]["labels"]["app.kubernetes.io/instance"] == LONGEST
        assert [value for value in job["metadata"]["labels"].values() if not LABEL.fullmatch(value)] == []


# --- options ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [None, *ALL])
def test_no_object_holds_a_secret(preset: str | None):
    objects = template(*(with_preset(preset) if preset else ()), values={"migration": {"enabled": True}})

    assert [place for one in objects for place in plaintext_secrets.find_plaintext_secrets(one)] == []
    assert of_kind(objects, "Secret") == []
    configs = [yaml.safe_load(one["data"]["cluster.yaml"]) for one in of_kind(objects, "ConfigMap")]
    assert [place for one in configs for place in plaintext_secrets.find_plaintext_secrets(one)] == []


def test_a_value_of_the_database_takes_precedence_over_its_key(tmp_path: Path):
    objects = template(values={"job": {"database": {"host": "db.example.org", "user": "a$(b)"}}})

    database = cluster_file(objects, tmp_path).database
    assert (database.host, database.host_key, database.user, database.name_key) == ("db.example.org", "", "a$(b)", "POSTGRES_DB")
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    plain = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    assert (plain["DB_HOST"], plain["POSTGRES_USER"]) == ("db.example.org", "a$$(b)")


def test_an_existing_claim_and_account_are_not_created():
    objects = template(values={"job": {"volumes": {"models": {"claimName": "theirs"}}, "serviceAccountName": "trainer"}})

    assert of_kind(objects, "PersistentVolumeClaim") == []
    assert [name_of(one) for one in of_kind(objects, "ServiceAccount")] == ["gregory-train-submitter"]
    (named,) = [
        rule["resourceNames"] for rule in only(objects, "Role", "-submitter")["rules"] if rule["resources"] == ["persistentvolumeclaims"]
    ]
    assert named == ["theirs"]


def test_the_submitter_has_the_rights_of_the_runner_and_reads_only_named_objects():
    rules = only(template(), "Role", "-submitter")["rules"]

    found = {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    named = {("get", resource) for resource in ("persistentvolumeclaims", "serviceaccounts", "secrets", "namespaces")}
    assert found == {*RIGHTS} | named
    assert all("resourceNames" in rule for rule in rules if named & {("get", resource) for resource in rule["resources"]})


@pytest.mark.parametrize(
    ("claim", "rule"),
    [
        ({"deviceClassName": "gpu.nvidia.com", "selectors": ["true"]}, {"verbs": ["create"]}),
        ({"templateName": "gpus"}, {"resourceNames": ["gpus"], "verbs": ["get"]}),
    ],
)
def test_the_submitter_has_the_right_that_a_claim_needs(tmp_path: Path, claim: dict[str, Any], rule: dict[str, Any]):
    objects = template(values={"job": {"gpu": {"claim": claim}}})

    def rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [one for one in only(objects, "Role", "-submitter")["rules"] if "resource.k8s.io" in one["apiGroups"]]

    assert rules(objects) == [{"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaimtemplates"], **rule}]
    assert rules(template()) == []
    found = cluster_file(objects, tmp_path).gpu.claim
    assert found is not None
    assert found.model_dump(by_alias=True, exclude_unset=True, mode="json") == claim


def test_the_submitter_reads_workloads_of_kueue_on_request():
    objects = template(*with_preset("kueue"), values={"job": {"kueue": {"priorityClass": "nightly"}}})

    kueue = {"apiGroups": ["kueue.x-k8s.io"], "resources": ["workloads", "localqueues"], "verbs": ["get", "list"]}
    assert kueue in only(objects, "Role", "-submitter")["rules"]
    assert kueue not in only(template(), "Role", "-submitter")["rules"]
    # A WorkloadPriorityClass has no namespace. Only preflight reads it.
    of_cluster = only(objects, "ClusterRole")["rules"]
    assert [rule["resourceNames"] for rule in of_cluster if rule["resources"] == ["workloadpriorityclasses"]] == [["nightly"]]


def test_labels_that_identify_objects_or_choose_a_queue_are_refused_by_name(tmp_path: Path):
    chart = {key for one in template() for key in one["metadata"].get("labels", {})} - {"pod-security.kubernetes.io/enforce"}
    ours = {*chart, *labels_of(golden.SPEC), KUEUE_QUEUE, KUEUE_PRIORITY, CONTROLLER_UID, "controller-uid", "job-name"}

    message = refusal({"commonLabels": dict.fromkeys(sorted(ours), "x") | {"team": "a"}}, tmp_path)

    assert set(re.findall(r"at '/commonLabels/(.+)': false schema", message)) == {key.replace("/", "~1") for key in ours}
    assert only(template(values={"commonLabels": {"team": "a"}}), "ConfigMap")["metadata"]["labels"]["team"] == "a"


def test_no_object_of_a_test_stays_whatever_its_result():
    hooks = [one for one in template() if one["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]

    assert {one["kind"] for one in hooks} == {"Pod", "ClusterRole", "ClusterRoleBinding"}
    policies = {one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for one in hooks}
    assert policies == {"before-hook-creation,hook-succeeded,hook-failed"}


def test_outside_its_namespace_the_submitter_reads_only_the_id_of_the_cluster():
    beside = [one for one in template() if one["metadata"].get("namespace") not in (None, "gregory-train")]

    assert [(one["kind"], one["metadata"]["namespace"]) for one in beside] == [("Role", "kube-system"), ("RoleBinding", "kube-system")]
    assert beside[0]["rules"] == [{"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}]
    assert len(of_kind(template(values={"rbac": {"readClusterId": False}}), "Role")) == 1


def test_the_claim_is_kept_when_the_release_is_uninstalled():
    assert only(template(), "PersistentVolumeClaim")["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_two_reconcilers_are_drained_one_after_the_other():
    assert of_kind(template(), "PodDisruptionBudget") == []
    assert only(template(values={"reconciler": {"replicas": 2}}), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_reconciler_restarts_when_the_cluster_file_changes():
    def checksum(**job: Any) -> str:
        pod = only(template(values={"job": job}), "Deployment")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/cluster"])

    assert checksum() == checksum()
    assert checksum() != checksum(maxAttempts=2)


def test_a_reconciler_that_hangs_is_restarted():
    def container(**reconciler: Any) -> dict[str, Any]:
        return only(template(values={"reconciler": reconciler}), "Deployment")["spec"]["template"]["spec"]["containers"][0]

    mine = container(intervalSeconds=40, livenessSeconds=600)
    *_, file, seconds = mine["livenessProbe"]["exec"]["command"]
    assert {"name": "GREGORY_LIVENESS_FILE", "value": file} in mine["env"]
    assert seconds == "640"
    without = container(livenessSeconds=0)
    assert "livenessProbe" not in without
    assert not [variable for variable in without["env"] if variable["name"] == "GREGORY_LIVENESS_FILE"]


def test_the_reconciler_mounts_the_models_as_runs_prepare_them_unless_switched_off(tmp_path: Path):
    def seen(values: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        objects = template(values=values)
        mine = only(objects, "Deployment")["spec"]["template"]["spec"]
        run = render_job(golden.SPEC, cluster_file(objects, tmp_path), cluster_id="any")["spec"]["template"]["spec"]
        containers = (mine["containers"][0], run["initContainers"][0])
        mounts = [[mount for mount in container["volumeMounts"] if mount["name"] == "models"] for container in containers]
        volumes = [[volume for volume in pod["volumes"] if volume["name"] == "models"] for pod in (mine, run)]
        return mounts, volumes

    (mount, same), (volume, as_well) = seen({"job": {"volumes": {"models": {"claimName": "theirs", "subPath": "gregory/models"}}}})
    assert mount == same != []
    assert volume == as_well != []
    (mount, _), (volume, _) = seen({"reconciler": {"mountModels": False}, "models": {"accessModes": ["ReadWriteOnce"]}})
    assert mount == volume == []


def test_a_schedule_overrides_the_common_settings():
    own = {"name": "daily", "schedule": "@daily", "args": ["--team", "neurology"], "suspend": False, "timeZone": "Europe/Lisbon"}
    other = {"name": "weekly", "schedule": "0 3 * * SUN", "args": ["--all-teams"]}

    daily, weekly = of_kind(template(values={"cronJob": {"suspend": True}, "cronJobs": [own, other]}), "CronJob")

    assert (daily["spec"]["suspend"], weekly["spec"]["suspend"]) == (False, True)
    assert (daily["spec"]["timeZone"], weekly["spec"]["timeZone"]) == ("Europe/Lisbon", "Etc/UTC")
    pod = daily["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["train_models", "--team", "neurology"]


def test_a_schedule_of_predictions_that_mounts_no_models():
    own = {"name": "hourly", "schedule": "@hourly", "args": ["--all-teams"]}
    role = {"existingSecret": "operator", "user": "gregory_train"}
    values = {"cronJobs": [], "predictionCronJobs": [own], "controller": {"database": role}, "models": {"accessModes": ["ReadWriteOnce"]}}

    objects = template(values=values | {"cronJob": {"mountModels": False}, "reconciler": {"mountModels": False}})

    (container,) = only(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each for each in container["env"]}
    assert "models" not in [mount["name"] for mount in container["volumeMounts"]]
    assert "GREGORY_MODELS_MOUNTED" not in variables
    # Without a role of predictions, the submitter has that of the others.
    assert variables["POSTGRES_USER"]["value"] == "gregory_train"


def test_the_migration_uses_the_owner_of_the_tables():
    owner = {"existingSecret": "owner", "user": "gregory"}

    hook = only(template(values={"migration": {"enabled": True, "database": owner}}), "Job", "-migration")

    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = hook["spec"]["template"]["spec"]
    found = {variable["name"]: variable for variable in pod["containers"][0]["env"]}
    assert found["POSTGRES_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "owner", "key": "POSTGRES_PASSWORD"}
    assert found["POSTGRES_USER"]["value"] == "gregory"
    assert pod["automountServiceAccountToken"] is False


def test_commands_and_runs_have_roles_of_their_own(tmp_path: Path):
    operator = {"existingSecret": "operator", "userKey": "ROLE"}

    objects = template(values={"controller": {"database": operator}})

    pods = {one["metadata"]["name"]: pod for one in objects for pod in _pods(one)}
    job = render_job(golden.SPEC, cluster_file(objects, tmp_path), cluster_id=golden.CLUSTER_ID)
    assert len(pods) >= 4
    for name, pod in pods.items():
        variables = {each["name"]: each for each in pod["containers"][0]["env"]}
        assert variables["POSTGRES_USER"]["valueFrom"]["secretKeyRef"] == {"name": "operator", "key": "ROLE"}, name
        assert variables["POSTGRES_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "operator", "key": "POSTGRES_PASSWORD"}, name
        of_runs = {each: variables[each]["valueFrom"]["secretKeyRef"] for each in variables if each.startswith("POSTGRES_RUN_")}
        expected = {f"POSTGRES_RUN_{part}": {"name": "gregory-database", "key": f"POSTGRES_{part}"} for part in ("USER", "PASSWORD")}
        assert of_runs == (expected if name.endswith("-preflight") else {}), name
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "operator" not in json.dumps(container)


def test_one_secret_can_have_both_roles(tmp_path: Path):
    of_runs, of_commands = ({"userKey": f"POSTGRES_{role}USER", "passwordKey": f"POSTGRES_{role}PASSWORD"} for role in ("RUN_", ""))

    objects = template(values={"job": {"database": of_runs}, "controller": {"database": of_commands}})

    job = render_job(golden.SPEC, cluster_file(objects, tmp_path), cluster_id=golden.CLUSTER_ID)
    keys = {
        (kind, each["name"]): each["valueFrom"]["secretKeyRef"]["key"]
        for kind, one in (("run", job), ("submitter", only(objects, "CronJob", "-weekly")))
        for pod in _pods(one)
        for each in pod["containers"][0]["env"]
        if each["name"] in ("POSTGRES_USER", "POSTGRES_PASSWORD")
    }
    assert keys == {
        ("run", "POSTGRES_USER"): "POSTGRES_RUN_USER",
        ("run", "POSTGRES_PASSWORD"): "POSTGRES_RUN_PASSWORD",
        ("submitter", "POSTGRES_USER"): "POSTGRES_USER",
        ("submitter", "POSTGRES_PASSWORD"): "POSTGRES_PASSWORD",
    }


def test_one_secret_is_that_of_all_pods():
    for one in template():
        for pod in _pods(one):
            variables = {each["name"]: each for each in pod["containers"][0]["env"]}
            assert variables["POSTGRES_USER"]["valueFrom"]["secretKeyRef"] == {"name": "gregory-database", "key": "POSTGRES_USER"}
            assert not [name for name in variables if name.startswith("POSTGRES_RUN_")]


def test_alerts_name_the_objects_of_the_release():
    rule = only(template(values={"prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}}), "PrometheusRule")

    assert rule["metadata"]["labels"]["release"] == "prometheus"
    alerts = {one["alert"]: one["expr"] for one in rule["spec"]["groups"][0]["rules"]}
    assert alerts["GregoryTrainingFailed"] == (
        'kube_job_status_failed{namespace="gregory-train",job_name=~"gregory-train-[0-9a-f]+-a[0-9]+"} > 0'
    )
    assert 'owner_name=~"gregory-train-weekly"' in alerts["GregorySubmitterFailed"]
    assert 'deployment="gregory-train-reconciler"' in alerts["GregoryReconcilerMissing"]


def test_without_schedules_there_is_no_cronjob_and_no_alert_for_it():
    objects = template(values={"cronJobs": [], "prometheusRule": {"enabled": True}})

    assert of_kind(objects, "CronJob") == []
    alerts = [one["alert"] for one in only(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]]
    assert alerts == ["GregoryTrainingFailed", "GregoryReconcilerMissing"]


def test_extra_objects_are_mappings_or_templates():
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-extra\n  labels: {}\n"
    queue = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "LocalQueue", "metadata": {"name": "gregory-train"}, "spec": {}}

    objects = template(values={"extraObjects": [queue, text]})

    assert name_of(only(objects, "LocalQueue")) == "gregory-train"
    assert only(objects, "ConfigMap", "-extra")["metadata"]["name"] == "gregory-train-extra"


def test_objects_that_are_switched_off_are_not_made():
    off = {
        "reconciler": {"enabled": False}, "rbac": {"create": False}, "networkPolicy": {"enabled": False},
        "preflight": {"readNodes": False}, "uninstall": {"cancelRuns": False}, "serviceAccount": {"submitter": {"create": False}},
    }  # fmt: skip

    assert sorted((one["kind"], name_of(one)) for one in template(values=off)) == [
        ("ConfigMap", "gregory-train-cluster"),
        ("CronJob", "gregory-train-weekly"),
        ("PersistentVolumeClaim", "gregory-train-models"),
        ("Pod", "gregory-train-preflight"),
        ("ServiceAccount", "gregory-train-trainer"),
    ]


# --- the connection to the database ----------------------------------------------------------------------------------------------------


def database_ports(objects: list[dict[str, Any]]) -> set[int]:
    """The ports of the database in the network policies."""
    return {policy["spec"]["egress"][1]["ports"][0]["port"] for policy in of_kind(objects, "NetworkPolicy")}


def variables_of_pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The variables of each pod of the chart, by the name of its container."""
    pods = [found for one in objects for found in _pods(one)]
    return {pod["containers"][0]["name"]: {each["name"]: each for each in pod["containers"][0]["env"]} for pod in pods}


def _pods(thing: Any) -> list[dict[str, Any]]:
    if isinstance(thing, dict):
        return [thing] if "containers" in thing else [pod for value in thing.values() for pod in _pods(value)]
    return [pod for value in thing for pod in _pods(value)] if isinstance(thing, list) else []


@pytest.mark.parametrize(
    ("values", "port"),
    [((), 5432), (("job.database.port=6543",), 6543), (("job.database.port=6543", "networkPolicy.database.port=6432"), 6432)],
)
def test_the_network_policies_permit_the_port_of_the_database(values: tuple[str, ...], port: int):
    assert database_ports(template(*(word for value in values for word in ("--set", value)))) == {port}


def test_the_network_policies_name_the_servers_of_dns():
    """Policies see the port behind the Service of DNS, which is another one on OpenShift."""
    servers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}]

    objects = template(*with_preset("openshift"), values={"networkPolicy": {"dns": {"to": servers}}})

    rules = [policy["spec"]["egress"][0] for policy in of_kind(objects, "NetworkPolicy")]
    assert [rule["to"] for rule in rules] == [servers, servers]
    assert [[(one["protocol"], one["port"]) for one in rule["ports"]] for rule in rules] == [
        [("UDP", 53), ("TCP", 53), ("UDP", 5353), ("TCP", 5353)]
    ] * 2


def test_the_port_of_the_secret_reaches_every_pod(tmp_path: Path):
    objects = template("--set", "migration.enabled=true")

    reference = {"secretKeyRef": {"name": "gregory-database", "key": "DB_PORT", "optional": True}}
    job = render_job(golden.SPEC, cluster_file(objects, tmp_path), cluster_id=golden.CLUSTER_ID)
    found = variables_of_pods([*objects, job])
    assert found
    assert {name: variables["DB_PORT"].get("valueFrom") for name, variables in found.items()} == dict.fromkeys(found, reference)


def test_a_given_port_reaches_every_pod(tmp_path: Path):
    objects = template("--set", "migration.enabled=true", "--set", "job.database.port=6543")

    job = render_job(golden.SPEC, cluster_file(objects, tmp_path), cluster_id=golden.CLUSTER_ID)
    assert {variables["DB_PORT"].get("value") for variables in variables_of_pods([*objects, job]).values()} == {"6543"}


def test_every_pod_gets_the_certificates_of_the_database(tmp_path: Path):
    given = {"sslMode": "verify-full", "sslRootCertKey": "ca.pem", "sslCertKey": "tls.crt", "sslKeyKey": "tls.key", "requireAuth": "md5"}
    objects = template("--set", "migration.enabled=true", "--set-json", f"job.database={json.dumps(given)}")

    job = render_job(golden.SPEC, cluster_file(objects, tmp_path), cluster_id=golden.CLUSTER_ID)
    pods = [pod for one in [*objects, job] for pod in _pods(one)]
    assert len(pods) >= 5
    for pod in pods:
        (container,) = pod["containers"]
        variables = {each["name"]: each.get("value") for each in container["env"]}
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "database-certificate"]
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "database-certificate"]
        assert (variables["DB_SSLMODE"], variables["DB_REQUIRE_AUTH"]) == ("verify-full", "md5")
        paths = {"DB_SSLROOTCERT": "ca.crt", "DB_SSLCERT": "client.crt", "DB_SSLKEY": "client.key"}
        assert {name: variables[name] for name in paths} == {name: f"{mount['mountPath']}/{path}" for name, path in paths.items()}
        items = [{"key": key, "path": path} for key, path in zip(("ca.pem", "tls.crt", "tls.key"), paths.values(), strict=True)]
        assert volume["secret"] == {"secretName": "gregory-database", "items": items, "defaultMode": 0o440}
