"""The Job of a run: golden files, the rules of Kubernetes' restricted profile, and extreme specifications."""

import json
import re
from copy import deepcopy
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, V1Job

from gregory.env import DATABASE_VARIABLES, Environment
from gregory.launch.errors import SubmitError
from gregory.launch.image import DATABASE_FILES_IN_IMAGE, MODELS_IN_IMAGE
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.gpu_claim import claim_template
from gregory.launch.kubernetes.manifest import FAILURE_RULES, handle_host, job_name, matched_rule, render_job
from gregory.runs import exit_codes
from gregory.runs.spec import RunHandle, RunSpec, Scope
from tools.golden_jobs import CLUSTER_ID, HERE, PREDICTION, SOURCES, SPEC, as_yaml, rendered

MINIMAL: dict[str, Any] = yaml.safe_load((HERE / "cluster-minimal.yaml").read_text())
LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
WORST = SPEC.model_copy(
    update={
        "attempt": 10**12,
        "team": Scope(id=2**31 - 1, slug="日" * 60),
        "subject": Scope(id=2**31 - 1, slug="$(GREGORY_JOB_UID)$$ü€'\"\n" * 4),
    }
)


def job(spec: RunSpec = SPEC, **config: Any) -> dict[str, Any]:
    return render_job(spec, ClusterConfig.model_validate({**MINIMAL, **config}), cluster_id=CLUSTER_ID)


def pod(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = [container for container in pod(job)["containers"] if container["name"] == "run"]
    return found


def environment(job: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container(job)["env"]}


def expanded(value: str, variables: dict[str, str]) -> str:
    """Expand a value like the kubelet: $$ is a dollar sign, and $(NAME) is the variable if it is known."""
    return re.sub(r"\$(\$|\(([^)]*)\))", lambda found: "$" if found[1] == "$" else variables.get(found[2], found[0]), value)


@pytest.fixture(params=sorted(SOURCES))
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    return rendered(request.param)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_job_equals_the_golden_file(name: str):
    assert as_yaml(rendered(name)) == (HERE / name).read_text(encoding="utf-8")


def test_every_field_is_known_to_the_kubernetes_client(golden: dict[str, Any]):
    assert ApiClient().sanitize_for_serialization(V1Job.from_dict(golden)) == golden


def test_a_misspelt_field_is_found(golden: dict[str, Any]):
    wrong = deepcopy(golden)
    container(wrong)["volumeMount"] = []

    assert ApiClient().sanitize_for_serialization(V1Job.from_dict(wrong)) != wrong


def test_rendering_is_pure():
    config = load_cluster_config(HERE / "cluster.yaml")
    before = config.model_copy(deep=True)

    def empty(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            empty(inner)
        if isinstance(value, dict | list):
            value.clear()

    empty(render_job(SPEC, config, cluster_id=CLUSTER_ID))

    assert config == before
    assert render_job(SPEC, config, cluster_id=CLUSTER_ID) == rendered("job.yaml")


# --- identity ----------------------------------------------------------------------------------------------------------------------


def test_each_attempt_has_its_own_name():
    assert job_name(SPEC) == "gregory-train-0123456789ab-a2"
    assert job_name(SPEC.model_copy(update={"attempt": 3})) != job_name(SPEC)


@pytest.mark.parametrize("spec", [SPEC, WORST])
def test_names_and_labels_are_valid_in_kubernetes(spec: RunSpec):
    made = job(spec)

    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", job_name(spec))
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        for key, value in metadata["labels"].items():
            assert LABEL.fullmatch(value), key
        assert (metadata["annotations"]["gregory-train/team"], metadata["annotations"]["gregory-train/subject"]) == (
            spec.team.slug,
            spec.subject.slug,
        )
    assert all(len(variable.get("value", "").encode()) < 100_000 for variable in container(made)["env"])


@pytest.mark.parametrize("run_id", ["ÄÖ", "a_b", "0123456789AB", "0" * 60, "-\n"])
def test_a_run_id_that_is_invalid_in_a_job_name_is_an_error(run_id: str):
    with pytest.raises(
        SubmitError, match=r"is no name of a Job: it may have at most 63 characters of a-z, 0-9 and -; train again for a valid run id$"
    ):
        job_name(SPEC.model_copy(update={"run_id": run_id, "attempt": 10**12}))


def test_job_and_pod_have_the_labels_of_the_run(golden: dict[str, Any]):
    ids = {
        "app.kubernetes.io/name": "gregory-train",
        "app.kubernetes.io/component": "run",
        "app.kubernetes.io/managed-by": "gregory-train",
        "gregory-train/run-id": "0123456789ab",
        "gregory-train/attempt": "2",
        "gregory-train/attempt-token": "00112233445566778899aabbccddeeff",
        "gregory-train/team-id": "1",
        "gregory-train/subject-id": "2",
    }

    assert ids.items() <= golden["metadata"]["labels"].items()
    assert ids.items() <= golden["spec"]["template"]["metadata"]["labels"].items()


def test_only_the_job_has_the_queue_label():
    made = job(kueue={"queueName": "gpus", "priorityClass": "nightly"})

    queue = {"kueue.x-k8s.io/queue-name": "gpus", "kueue.x-k8s.io/priority-class": "nightly"}
    assert queue.items() <= made["metadata"]["labels"].items()
    assert not queue.keys() & made["spec"]["template"]["metadata"]["labels"].keys()


# --- environment ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, WORST])
def test_the_run_reads_the_rendered_specification(spec: RunSpec):
    value = expanded(environment(job(spec))["GREGORY_RUN_SPEC"], {"GREGORY_JOB_UID": "the uid"})

    assert RunSpec.model_validate_json(value) == spec


def test_the_handle_in_the_pod_has_the_uid_of_the_job():
    made = job()
    names = [variable["name"] for variable in container(made)["env"]]
    assert environment(made)["GREGORY_JOB_UID"] == {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}}

    value = expanded(environment(made)["GREGORY_RUN_HANDLE"], {"GREGORY_JOB_UID": "the uid"})

    # Kubernetes expands only variables that are defined above.
    assert names.index("GREGORY_JOB_UID") < names.index("GREGORY_RUN_HANDLE")
    assert RunHandle.model_validate_json(value) == RunHandle(
        host=f"kubernetes@{CLUSTER_ID}/gregory-train", name="gregory-train-0123456789ab-a2", uid="the uid"
    )
    assert handle_host(ClusterConfig.model_validate(MINIMAL), cluster_id=CLUSTER_ID) == f"kubernetes@{CLUSTER_ID}/gregory-train"


def test_the_run_gets_the_image_digest_if_one_is_given():
    digest = f"sha256:{'0' * 64}"
    certain = job(image={"repository": "r/train", "tag": "1", "digest": digest})

    assert (container(certain)["image"], environment(certain)["GREGORY_IMAGE_DIGEST"]) == (f"r/train@{digest}", f"r/train@{digest}")
    assert container(job())["image"] == "registry.example.org/gregory-train:0.1.0"
    assert "GREGORY_IMAGE_DIGEST" not in environment(job())


def test_the_run_gets_the_name_of_its_node(golden: dict[str, Any]):
    assert environment(golden)["GREGORY_NODE_NAME"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    assert environment(golden)["GREGORY_RETRIED"] == "true"
    assert environment(golden)["GREGORY_TERMINATION_LOG"] == "/dev/termination-log"


def test_no_variable_is_set_twice(golden: dict[str, Any]):
    names = [variable["name"] for variable in container(golden)["env"]]

    assert len(names) == len(set(names))


def test_the_database_variables_are_fields_of_the_environment(golden: dict[str, Any]):
    database = {name for name in environment(golden) if name.startswith(("POSTGRES_", "DB_"))}

    assert {*DATABASE_VARIABLES.values()} <= database <= set(Environment.model_fields)


def test_the_connection_of_the_submitter_reaches_the_run():
    config = load_cluster_config(HERE / "cluster-minimal.yaml")
    connection = {"DB_SSLMODE": "require", "PGOPTIONS": "-c search_path=gregory"}

    made = render_job(SPEC, config, cluster_id=CLUSTER_ID, connection=connection)

    variables = environment(made)
    assert {name: variables[name] for name in connection} == connection


def test_the_cluster_file_takes_precedence_for_the_encryption():
    config = load_cluster_config(HERE / "cluster.yaml")

    made = render_job(SPEC, config, cluster_id=CLUSTER_ID, connection={"DB_SSLMODE": "require"})

    variables = environment(made)
    assert (variables["DB_SSLMODE"], variables["DB_REQUIRE_AUTH"]) == ("verify-full", "scram-sha-256")
    assert {name: variables[name] for name in DATABASE_FILES_IN_IMAGE} == DATABASE_FILES_IN_IMAGE
    (volume,) = [volume for volume in pod(made)["volumes"] if volume["name"] == "database-certificate"]
    items = [{"key": "ca.crt", "path": "ca.crt"}, {"key": "tls.crt", "path": "client.crt"}, {"key": "tls.key", "path": "client.key"}]
    assert volume["secret"] == {"secretName": "postgres", "items": items, "defaultMode": 0o440}


def test_the_password_is_a_reference(golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")

    assert set(environment(golden)["POSTGRES_PASSWORD"]) == {"secretKeyRef"}
    assert "hunter2" not in json.dumps([rendered(name) for name in SOURCES])


def test_a_dollar_sign_in_a_value_is_not_expanded():
    made = job(database={**MINIMAL["database"], "user": "$(DB_HOST)"})

    assert environment(made)["POSTGRES_USER"] == "$$(DB_HOST)"


# --- end -------------------------------------------------------------------------------------------------------------------------------


def test_one_pod_is_started_once(golden: dict[str, Any]):
    spec = golden["spec"]

    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"], pod(golden)["restartPolicy"]) == (1, 1, 0, "Never")
    assert "suspend" not in spec


def test_the_failure_policy_is_valid(golden: dict[str, Any]):
    """The rules of validatePodFailurePolicy in Kubernetes."""
    spec = golden["spec"]
    rules = spec["podFailurePolicy"]["rules"]

    assert spec["podReplacementPolicy"] == "Failed"
    assert len(rules) <= 20
    for rule in rules:
        assert rule["action"] in ("FailJob", "Count")
        assert len(rule.keys() & {"onExitCodes", "onPodConditions"}) == 1
        if "onExitCodes" in rule:
            values = rule["onExitCodes"]["values"]
            assert values == sorted(set(values))
            assert 0 not in values
            assert rule["onExitCodes"]["containerName"] in {container["name"] for container in pod(golden)["containers"]}


def test_every_rule_has_a_name_by_its_index():
    rules = job()["spec"]["podFailurePolicy"]["rules"]
    by_name = dict(zip(FAILURE_RULES, rules, strict=True))

    assert by_name["disrupted"]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    codes = {name: rule["onExitCodes"]["values"] for name, rule in by_name.items() if name != "disrupted"}
    assert codes == {
        "failed": [exit_codes.FAILURE],
        "bad_specification": [2],
        "killed": [137],
        "terminated": [exit_codes.SIGTERM],
        "exited": [1, 2, 137, 143],
    }
    assert [rule["onExitCodes"]["operator"] for rule in rules[1:]] == ["In", "In", "In", "In", "NotIn"]
    # A suspended Job must not fail with the pod that it deletes.
    assert [name for name, rule in by_name.items() if rule["action"] == "Count"] == ["killed", "terminated"]


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        ("Pod research/gregory-train-1-a1-x7k2p has condition DisruptionTarget matching FailJob rule at index 0", "disrupted"),
        (
            "Container run for pod research/gregory-train-1-a1-x7k2p failed with exit code 2 matching FailJob rule at index 2",
            "bad_specification",
        ),
        ("Container run for pod research/gregory-train-1-a1-x7k2p failed with exit code 139 matching FailJob rule at index 5", "exited"),
        ("Container run for pod a/b failed with exit code 1 matching FailJob rule at index 17", None),
        ("Job has reached the specified backoff limit", None),
    ],
)
def test_the_message_of_a_condition_identifies_its_rule(message: str, rule: str | None):
    assert matched_rule(message) == rule


def test_the_pod_s_deadline_comes_before_the_job_s():
    made = job(deadlines={"pendingSeconds": 1000, "imagePullSeconds": 200, "runSeconds": 30}, gracePeriodSeconds=4)

    assert (pod(made)["activeDeadlineSeconds"], made["spec"]["activeDeadlineSeconds"]) == (230, 1234)
    assert pod(made)["terminationGracePeriodSeconds"] == 4


def test_log_and_job_remain_after_the_end(golden: dict[str, Any]):
    assert golden["spec"]["ttlSecondsAfterFinished"] >= 86_400
    assert container(golden)["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert golden["spec"]["template"]["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


# --- security --------------------------------------------------------------------------------------------------------------------------


def containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod(job)["containers"], *pod(job).get("initContainers", [])]


def test_restricted_no_host_namespaces_ports_or_probes_of_the_host(golden: dict[str, Any]):
    assert not pod(golden).keys() & {"hostNetwork", "hostPID", "hostIPC", "hostUsers"}
    assert [container for container in containers(golden) if container.keys() & {"ports", "livenessProbe", "startupProbe"}] == []


def test_restricted_volume_types(golden: dict[str, Any]):
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}

    assert [volume for volume in pod(golden)["volumes"] if not volume.keys() - {"name"} <= allowed] == []


def test_restricted_no_privilege(golden: dict[str, Any]):
    for one in containers(golden):
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert not one["securityContext"].keys() & {"privileged", "procMount", "seLinuxOptions", "appArmorProfile", "seccompProfile"}


def test_restricted_no_capability(golden: dict[str, Any]):
    assert {json.dumps(one["securityContext"]["capabilities"]) for one in containers(golden)} == {'{"drop": ["ALL"]}'}


def test_restricted_user_is_a_number_and_not_root(golden: dict[str, Any]):
    context = pod(golden)["securityContext"]

    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert not {"runAsUser", "runAsGroup"} & container(golden)["securityContext"].keys()


def test_restricted_seccomp_and_no_sysctls(golden: dict[str, Any]):
    context = pod(golden)["securityContext"]

    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not context.keys() & {"sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"}


def test_stricter_than_restricted(golden: dict[str, Any]):
    assert container(golden)["securityContext"]["readOnlyRootFilesystem"] is True
    assert (pod(golden)["automountServiceAccountToken"], pod(golden)["enableServiceLinks"]) == (False, False)
    assert pod(golden)["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


# --- resources -------------------------------------------------------------------------------------------------------------------------


def mounts(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The volumes with the settings of their mounts, by path."""
    volumes = {volume["name"]: volume for volume in pod(job)["volumes"]}
    return {mount["mountPath"]: {**volumes[mount["name"]], **mount} for mount in container(job)["volumeMounts"]}


def test_every_volume_is_mounted_once(golden: dict[str, Any]):
    mounted = [mount["name"] for mount in container(golden)["volumeMounts"] if not mount["mountPath"].endswith(f"/.runs/{SPEC.run_id}")]

    assert sorted(mounted) == sorted({volume["name"] for volume in pod(golden)["volumes"]})


def test_a_prediction_writes_into_its_working_folder_only():
    of_models = {
        path: mount.get("readOnly", False) for path, mount in mounts(rendered("job-predict.yaml")).items() if MODELS_IN_IMAGE in path
    }

    place = f"{MODELS_IN_IMAGE}/{PREDICTION.place}"
    assert of_models == {place: True, f"{place}/.runs/{PREDICTION.run_id}": False}


def test_models_and_memory():
    found = mounts(job(sharedMemory={"size": "2Gi"}))

    assert found[f"{MODELS_IN_IMAGE}/{SPEC.place}"]["persistentVolumeClaim"] == {"claimName": "gregory-models"}
    assert "readOnly" not in found[f"{MODELS_IN_IMAGE}/{SPEC.place}"]
    assert found["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert found["/tmp"]["emptyDir"] == {}


@pytest.mark.parametrize("folder", ["", "gregory/models"])
def test_a_run_mounts_of_the_models_the_folder_of_its_subject_only(folder: str):
    made = job(volumes={"models": {"claimName": "gregory-models", "subPath": folder}})

    of_models = [mount for mount in container(made)["volumeMounts"] if mount["name"] == "models"]
    place = f"{folder}/{SPEC.place}" if folder else SPEC.place
    assert of_models == [{"name": "models", "mountPath": f"{MODELS_IN_IMAGE}/{SPEC.place}", "subPath": place}]


def test_an_init_container_without_credentials_makes_that_folder(golden: dict[str, Any]):
    (prepare,) = pod(golden)["initContainers"]

    assert prepare["command"] == ["dumb-init", "--", "python", "-m", "job.prepare"]
    assert prepare["image"] == container(golden)["image"]
    assert [variable["name"] for variable in prepare["env"]] == ["GREGORY_RUN_SPEC"]
    assert "envFrom" not in prepare
    assert [mount["mountPath"] for mount in prepare["volumeMounts"]] == [MODELS_IN_IMAGE]
    assert not any("gpu" in resource for resource in prepare["resources"]["limits"])


@pytest.mark.parametrize(
    ("base_models", "volume"),
    [
        ({"claimName": "bundle", "subPath": "a/b"}, {"persistentVolumeClaim": {"claimName": "bundle", "readOnly": True}, "subPath": "a/b"}),
        ({"image": {"reference": "bundle:1"}}, {"image": {"reference": "bundle:1", "pullPolicy": "IfNotPresent"}}),
    ],
)
def test_base_models_are_mounted_read_only(base_models: dict[str, Any], volume: dict[str, Any]):
    made = job(volumes={**MINIMAL["volumes"], "baseModels": base_models})

    expected = {"name": "base-models", "mountPath": "/opt/base-models", "readOnly": True, **volume}
    assert mounts(made)["/opt/base-models"] == expected


def test_a_run_gets_the_required_digest_of_the_base_models():
    made = job(volumes={**MINIMAL["volumes"], "baseModels": {"digest": "0" * 64}})

    assert environment(made)["GREGORY_BASE_MODELS_DIGEST"] == "0" * 64


def test_base_models_in_the_image_need_no_mount():
    assert "/opt/base-models" not in mounts(job())


@pytest.mark.parametrize(
    ("gpu", "limit", "tainted"),
    [
        ({}, {"nvidia.com/gpu": "1"}, ["nvidia.com/gpu"]),
        ({"count": 4}, {"nvidia.com/gpu": "4"}, ["nvidia.com/gpu"]),
        ({"resource": "amd.com/gpu"}, {"amd.com/gpu": "1"}, ["amd.com/gpu"]),
        ({"resource": "nvidia.com/mig-3g.20gb"}, {"nvidia.com/mig-3g.20gb": "1"}, ["nvidia.com/gpu", "nvidia.com/mig-3g.20gb"]),
        ({"count": 0}, {}, []),
    ],
)
def test_a_gpu_is_in_limits_and_its_taints_are_tolerated(gpu: dict[str, Any], limit: dict[str, str], tainted: list[str]):
    made = job(gpu=gpu)

    assert container(made)["resources"] == {
        "requests": {"cpu": "2", "memory": "12Gi", "ephemeral-storage": "256Mi"},
        "limits": {"memory": "12Gi", "ephemeral-storage": "8Gi", **limit},
    }
    assert pod(made).get("tolerations", []) == [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in tainted]


CLASS = {"claim": {"deviceClassName": "gpu.nvidia.com"}}


@pytest.mark.parametrize(
    ("gpu", "tainted"),
    [(CLASS, "nvidia.com/gpu"), ({"resource": "amd.com/gpu", "claim": {"templateName": "gpus"}}, "amd.com/gpu")],
)
def test_a_claim_replaces_the_limit_and_its_taint_is_tolerated(gpu: dict[str, Any], tainted: str):
    made = job(gpu=gpu)

    assert container(made)["resources"]["claims"] == [{"name": "gpu"}]
    assert not any("gpu" in resource for resource in container(made)["resources"]["limits"])
    assert [one["key"] for one in pod(made)["tolerations"]] == [tainted]
    (prepare,) = pod(made)["initContainers"]
    assert "claims" not in prepare["resources"]


def test_the_template_of_a_device_class_has_the_name_of_its_content():
    def template(**gpu: Any) -> dict[str, Any]:
        made = claim_template(ClusterConfig.model_validate({**MINIMAL, "gpu": gpu}))
        assert made is not None
        assert pod(job(gpu=gpu))["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": made["metadata"]["name"]}]
        return made

    one = template(**CLASS)
    two = template(count=2, claim=CLASS["claim"] | {"selectors": ["device.driver == 'gpu.nvidia.com'"]})

    (request,) = one["spec"]["spec"]["devices"]["requests"]
    assert request == {"name": "gpu", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 1}}
    (request,) = two["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"] == {
        "deviceClassName": "gpu.nvidia.com", "selectors": [{"cel": {"expression": "device.driver == 'gpu.nvidia.com'"}}], "count": 2,
    }  # fmt: skip
    assert re.fullmatch("gregory-train-gpu-[0-9a-f]{12}", one["metadata"]["name"])
    assert len({made["metadata"]["name"] for made in (one, two, template(required=False, **CLASS))}) == 2


@pytest.mark.parametrize("gpu", [{}, {"claim": {"templateName": "gpus"}}])
def test_no_template_is_made_for_a_resource_or_a_named_template(gpu: dict[str, Any]):
    assert claim_template(ClusterConfig.model_validate({**MINIMAL, "gpu": gpu})) is None


def test_given_tolerations_replace_the_default():
    assert "tolerations" not in pod(job(tolerations=[]))
    assert pod(job(tolerations=[{"key": "sku", "operator": "Equal", "value": "gpu"}]))["tolerations"] == [
        {"key": "sku", "operator": "Equal", "value": "gpu"}
    ]


def test_empty_settings_are_left_out():
    assert not pod(job()).keys() & {
        "nodeSelector",
        "affinity",
        "runtimeClassName",
        "schedulerName",
        "priorityClassName",
        "imagePullSecrets",
    }
    assert "envFrom" not in container(job())


def test_an_annotation_of_the_cluster_file_replaces_the_default():
    made = job(annotations={"karpenter.sh/do-not-disrupt": "false"})

    assert made["spec"]["template"]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "false"


def test_a_cluster_may_choose_the_user():
    context = pod(job(security={"runAsUser": None, "runAsGroup": None, "fsGroup": None}))["securityContext"]

    assert context == {"runAsNonRoot": True, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_patch_changes_the_pod():
    made = job(
        podTemplatePatch={
            "spec": {
                "activeDeadlineSeconds": None,
                "containers": [{"name": "run", "env": [{"name": "TZ", "value": "UTC"}], "resources": {"limits": {"memory": "1Gi"}}}],
            }
        }
    )

    assert "activeDeadlineSeconds" not in pod(made)
    assert environment(made)["TZ"] == "UTC"
    assert container(made)["resources"]["limits"] == {"memory": "1Gi", "ephemeral-storage": "8Gi", "nvidia.com/gpu": "1"}
    assert environment(made).items() >= environment(job()).items()
