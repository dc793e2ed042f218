"""The cluster file: its keys, the messages of its rules, and the search for secrets."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from gregory.launch.errors import BadClusterConfig, PreconditionFailed
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.cluster_values import Section
from gregory.runs.spec import RunKind
from tests.docs.markdown import blocks, table
from tools.golden_jobs import HERE

DOCUMENT = "docs/cluster-config.md"
MINIMAL: dict[str, Any] = yaml.safe_load((HERE / "cluster-minimal.yaml").read_text())
FULL: dict[str, Any] = yaml.safe_load((HERE / "cluster.yaml").read_text())
NOT_SET = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The minimal file with one key set, or removed with NOT_SET."""
    values = deepcopy(MINIMAL)
    *sections, key = path.split(".")
    inner = values
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[key] = value
    if value is NOT_SET:
        del inner[key]
    return values


def error_text(tmp_path: Path, values: object) -> str:
    """The message of the error after the name of the file."""
    path = tmp_path / "cluster.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(BadClusterConfig) as caught:
        load_cluster_config(path)
    start = f"cluster file {path}"
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start).removeprefix(": ")


def sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


def keys(section: type[Section], prefix: str = "") -> dict[str, tuple[Any, str]]:
    """Every key below this section with its default (NOT_SET: required) and its description."""
    found: dict[str, tuple[Any, str]] = {}
    for name, field in section.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = sections_in(field.annotation)
        many = "tuple" in str(field.annotation)
        if many or not inner:
            found[key] = (NOT_SET if field.is_required() else field.default, field.description or "")
        for section in inner:
            found |= keys(section, f"{key}[]." if many else f"{key}.")
    return found


def test_the_minimal_file_gets_the_defaults(tmp_path: Path):
    config = load_cluster_config(HERE / "cluster-minimal.yaml")

    assert config.namespace == "gregory-train"
    assert (config.gpu.resource, config.gpu.count, config.gpu.required) == ("nvidia.com/gpu", 1, True)
    assert (config.security.run_as_user, config.security.run_as_group, config.security.fs_group) == (10_001, 10_001, 10_001)
    assert config.ttl_seconds_after_finished >= 86_400
    assert config.volumes.base_models.in_image
    assert config.deadlines.queue_seconds is None


def test_the_full_file_sets_every_key():
    """So the tests of the golden Job cover every key."""

    def set_in(values: Any, prefix: str = "") -> set[str]:
        if isinstance(values, dict) and values:
            return {prefix} | {key for name, value in values.items() for key in set_in(value, f"{prefix}.{name}" if prefix else name)}
        if isinstance(values, list) and values:
            return {prefix} | {key for value in values for key in set_in(value, f"{prefix}[]")}
        return {prefix}

    # Each excludes another key: baseModels.claimName excludes baseModels.image, and host excludes hostKey.
    exclusive = {
        "gpu.claim.templateName",
        "volumes.baseModels.claimName",
        "database.host",
        "database.name",
        "database.user",
        "database.prediction.user",
    }
    optional = {"env[].valueFrom.secretKeyRef.optional", "envFrom[].secretRef.optional"}
    assert set(keys(ClusterConfig)) - set_in(FULL) == exclusive | optional
    assert load_cluster_config(HERE / "cluster.yaml").model_dump(by_alias=True, exclude_unset=True) != {}


@pytest.mark.parametrize(
    ("role", "user", "user_key"), [({"user": "predictor"}, "predictor", ""), ({"userKey": "ROLE"}, "", "ROLE"), ({}, "gregory_run", "")]
)
def test_predictions_have_their_role_or_that_of_the_runs(role: dict[str, str], user: str, user_key: str):
    database = {"existingSecret": "s", "host": "h", "name": "n", "user": "gregory_run", "prediction": role}

    config = ClusterConfig.model_validate({**MINIMAL, "database": database})

    assert (config.of_kind(RunKind.TRAIN).database.user, config.of_kind(RunKind.TRAIN).database.user_key) == ("gregory_run", "")
    found = config.of_kind(RunKind.PREDICT).database
    assert (found.user, found.user_key, found.existing_secret) == (user, user_key, "s")


def test_values_are_frozen():
    config = ClusterConfig.model_validate(MINIMAL)

    with pytest.raises(ValidationError, match="frozen"):
        config.namespace = "other"


@pytest.mark.parametrize(("count", "required", "demanded"), [(1, True, True), (1, False, False), (0, True, False)])
def test_a_gpu_is_required_if_one_is_assigned(count: int, required: bool, demanded: bool):
    config = ClusterConfig.model_validate({**MINIMAL, "gpu": {"count": count, "required": required}})

    assert config.gpu.is_demanded is demanded


@pytest.mark.parametrize(
    "resource", ["nvidia.com/gpu", "nvidia.com/mig-3g.20gb", "nvidia.com/gpu.shared", "amd.com/gpu", "gpu.intel.com/i915"]
)
def test_gpus_of_any_vendor(resource: str):
    assert ClusterConfig.model_validate(changed("gpu.resource", resource)).gpu.resource == resource


@pytest.mark.parametrize(("written", "read"), [(4, "4"), (0.5, "0.5"), ("500m", "500m"), ("", "")])
def test_quantities_may_be_numbers(written: object, read: str):
    assert ClusterConfig.model_validate(changed("resources.limits.cpu", written)).resources.limits.cpu == read


def test_a_misspelt_key_is_reported_before_a_missing_one(tmp_path: Path):
    values = {("databse" if key == "database" else key): value for key, value in MINIMAL.items()}

    assert error_text(tmp_path, values).startswith("databse: unknown key; the keys here are affinity, annotations, database, ")


def test_snake_case_keys_are_valid_in_python_only(tmp_path: Path):
    assert ClusterConfig.model_validate({**MINIMAL, "max_attempts": 2}).max_attempts == 2
    assert error_text(tmp_path, {**MINIMAL, "max_attempts": 2}).startswith(
        "max_attempts: unknown key; the keys here are affinity, annotations, "
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("image.repositry", "x", "image.repositry: unknown key; the keys here are digest, pullPolicy, pullSecrets, repository, tag"),
        ("gpu.cuont", 1, "gpu.cuont: unknown key; the keys here are claim, count, required, resource"),
        ("kueue.queue", "x", "kueue.queue: unknown key; the keys here are priorityClass, queueName, readWorkloads"),
        ("volumes.models.path", "x", "volumes.models.path: unknown key; the keys here are claimName, subPath"),
        (
            "volumes.baseModels.digest",
            "sha256:0",
            "volumes.baseModels.digest: cannot be used (got 'sha256:0'); it is: sha256 of the bundle's bundle.json, 64 digits; "
            "a run refuses another bundle (empty: any bundle)",
        ),
        (
            "volumes.baseModels.inImage",
            True,
            "volumes.baseModels.inImage: unknown key; the keys here are claimName, digest, image, subPath",
        ),
        ("resources.limits.gpu", 1, "resources.limits.gpu: unknown key; the keys here are cpu, ephemeral-storage, memory"),
        (
            "tolerations",
            [{"keys": "x"}],
            "tolerations.0.keys: unknown key; the keys here are effect, key, operator, tolerationSeconds, value",
        ),
        (
            "env",
            [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "field": "x"}}}],
            "env.0.valueFrom.secretKeyRef.field: unknown key; the keys here are key, name, optional",
        ),
        (
            "deadlines.totalSeconds",
            1,
            "deadlines.totalSeconds: unknown key; "
            "the keys here are imagePullSeconds, pendingSeconds, queueSeconds, runSeconds, stallSeconds",
        ),
    ],
)
def test_an_unknown_key_is_reported_with_all_keys(tmp_path: Path, path: str, value: object, message: str):
    assert error_text(tmp_path, changed(path, value)) == message


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("image", NOT_SET, "image: missing; it is: image of the runs"),
        ("image.repository", NOT_SET, "image.repository: missing; it is: image with its registry, without tag and digest"),
        ("image.tag", NOT_SET, "image: neither tag nor digest is given; give the digest, or a tag that never moves"),
        (
            "image.tag",
            0.1,
            "image.tag: Input should be a valid string (got 0.1); it is: its tag, in quotes if YAML would read it as a number",
        ),
        (
            "image.digest",
            "sha256:12",
            "image.digest: cannot be used (got 'sha256:12'); it is: its digest, `sha256:` and 64 digits, used instead of the tag",
        ),
        (
            "image.pullPolicy",
            "Sometimes",
            "image.pullPolicy: Input should be 'IfNotPresent', 'Always' or 'Never' (got 'Sometimes'); "
            "it is: when a node pulls the image: IfNotPresent, Always or Never",
        ),
        ("namespace", "Research", "namespace: cannot be used (got 'Research'); it is: namespace of the Jobs"),
        (
            "gpu.resource",
            "gpu",
            "gpu.resource: cannot be used (got 'gpu'); it is: resource of the device plugin, such as nvidia.com/gpu, "
            "nvidia.com/mig-3g.20gb or amd.com/gpu (with claim: only for the tolerated taint)",
        ),
        (
            "gpu.count",
            -1,
            "gpu.count: Input should be greater than or equal to 0 (got -1); "
            "it is: number of this resource per run (0: none, runs train on the CPU)",
        ),
        ("gpu.claim", {}, "gpu.claim: give either deviceClassName or templateName"),
        (
            "gpu.claim",
            {"deviceClassName": "gpu.nvidia.com", "templateName": "gpus"},
            "gpu.claim: give either deviceClassName or templateName",
        ),
        (
            "gpu.claim",
            {"templateName": "gpus", "selectors": ["true"]},
            "gpu.claim: selectors need deviceClassName; put them into the ResourceClaimTemplate gpus, or remove them",
        ),
        (
            "gpu",
            {"count": 2, "claim": {"templateName": "gpus"}},
            "gpu: count 2 has no effect with claim.templateName, whose template has the number; remove it",
        ),
        (
            "gpu",
            {"count": 0, "claim": {"deviceClassName": "gpu.nvidia.com"}},
            "gpu: count 0 and claim exclude each other; remove one",
        ),
        ("kueue.priorityClass", "high", "kueue: priorityClass 'high' has no effect without queueName; give queueName, or remove both"),
        (
            "resources.requests.memory",
            "12 GB",
            "resources.requests.memory: cannot be used (got '12 GB'); it is: memory reserved for a run, such as 12Gi",
        ),
        (
            "sharedMemory.size",
            "",
            "sharedMemory.size: cannot be used (got ''); it is: size of /dev/shm, such as 1Gi, part of the memory limit",
        ),
        (
            "volumes.models.claimName",
            NOT_SET,
            "volumes.models.claimName: missing; it is: PersistentVolumeClaim of the models, ReadWriteMany if runs use several nodes",
        ),
        (
            "volumes.models.subPath",
            "../other",
            "volumes.models.subPath: cannot be used (got '../other'); it is: folder of the volume that is the models folder, "
            "such as gregory/models (empty: the root)",
        ),
        (
            "volumes.baseModels",
            {"claimName": "a", "image": {"reference": "b"}},
            "volumes.baseModels: claimName and image exclude each other; remove one, or both if the bundle is in the runs' image",
        ),
        (
            "volumes.baseModels",
            {"subPath": "a"},
            "volumes.baseModels: subPath 'a' needs a volume; give claimName or image, or remove it",
        ),
        ("database.existingSecret", NOT_SET, "database.existingSecret: missing; it is: Secret of the namespace that holds the password"),
        ("database.host", NOT_SET, "database: give either host or hostKey; neither is given"),
        ("database.userKey", "user", "database: give either user or userKey; both are given"),
        (
            "env",
            [{"name": "LEVEL", "value": "3"}],
            "env.0: a plain value is not allowed; put it into a ConfigMap or a Secret and name that in valueFrom",
        ),
        (
            "env",
            [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": key}}} for key in ("k", "l")],
            "env: two entries have the name 'A'; remove one",
        ),
        ("env", [{"name": "A", "valueFrom": {}}], "env.0.valueFrom: give either secretKeyRef or configMapKeyRef"),
        (
            "env",
            [{"name": "GREGORY_RUN_SPEC", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "env.0.name: GREGORY_RUN_SPEC is set for each run; remove it",
        ),
        ("envFrom", [{"prefix": "A_"}], "envFrom.0: give either secretRef or configMapRef"),
        (
            "security.runAsUser",
            0,
            "security.runAsUser: Input should be greater than or equal to 1 (got 0); it is: user of the container, never 0 "
            "(null: the cluster chooses it)",
        ),
        (
            "deadlines.runSeconds",
            0,
            "deadlines.runSeconds: Input should be greater than or equal to 1 (got 0); it is: seconds that a run may work",
        ),
        (
            "ttlSecondsAfterFinished",
            3600,
            "ttlSecondsAfterFinished: Input should be greater than or equal to 86400 (got 3600); it is: seconds that a finished Job and "
            "its log stay as evidence for its rows, at least a day (86400)",
        ),
        (
            "maxAttempts",
            0,
            "maxAttempts: Input should be greater than or equal to 1 (got 0); it is: attempts at a run that the cluster removes, "
            "the first included",
        ),
        (
            "submission.perSecond",
            0,
            "submission.perSecond: Input should be greater than 0 (got 0); it is: largest number of Jobs that one process creates "
            "per second",
        ),
        (
            "labels",
            {"cost-center": 7},
            "labels.cost-center: Input should be a valid string (got 7); it is: further labels of Job and pod",
        ),
        ("labels", {"gregory-train/run-id": "x"}, "labels: gregory-train/run-id is set for each run; remove it"),
        ("labels", {"kueue.x-k8s.io/queue-name": "x"}, "labels: kueue.x-k8s.io/queue-name is set for each run; remove it"),
        ("annotations", {"gregory-train/team": "x"}, "annotations: gregory-train/team is set for each run; remove it"),
        (
            "podTemplatePatch",
            {"spec": {"restartPolicy": "Always"}},
            "podTemplatePatch: spec.restartPolicy cannot be patched: a Job starts a run once, and a retry is another Job; remove it",
        ),
    ],
)
def test_every_rule_reports_key_value_and_remedy(tmp_path: Path, path: str, value: object, message: str):
    assert error_text(tmp_path, changed(path, value)) == message


SECRETS = {
    "database.password": ("database.password", "hunter2"),
    "podTemplatePatch.dbPassword": ("podTemplatePatch.dbPassword", "hunter2"),
    "annotations.api_token": ("annotations.api_token", "hunter2"),
    "AWS_SECRET_ACCESS_KEY": ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    "database.pwd": ("database.pwd", 4711_4711),
    "env.0.value": ("env", [{"name": "HF_TOKEN", "value": "hunter2"}]),
    "podTemplatePatch.spec.containers.0.env.0.value": (
        "podTemplatePatch",
        {"spec": {"containers": [{"name": "run", "env": [{"name": "S3_SECRET_KEY_PASSWORD", "value": "hunter2"}]}]}},
    ),
    "database.host": ("database.host", "postgres://gregory:hunter2@postgres/gregory"),
    "annotations.note": ("annotations.note", "-----BEGIN EC PRIVATE KEY-----\nhunter2"),
}


@pytest.mark.parametrize("where", SECRETS)
def test_a_secret_is_an_error_and_not_shown(tmp_path: Path, where: str):
    path, value = SECRETS[where]

    message = error_text(tmp_path, changed(path, value))

    assert message == (
        f"{where} seems to be a secret; put it into a Secret of the namespace and name that in database.existingSecret, env or envFrom"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("database.passwordKey", ["hunter2"]),
        ("database.hostKey", "hunter2!"),
        ("env", [{"name": "A", "valueFrom": "hunter2"}]),
        ("podTemplatePatch", "hunter2"),
    ],
)
def test_a_wrong_value_in_place_of_a_secret_name_is_not_shown(tmp_path: Path, path: str, value: object):
    assert "hunter2" not in error_text(tmp_path, changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.pullSecrets", ["registry"]),
        ("annotations", {"vault.hashicorp.com/agent-inject-token": "yes"}),
        ("podTemplatePatch", {"spec": {"automountServiceAccountToken": True}}),
        ("podTemplatePatch", {"spec": {"volumes": [{"name": "token", "secret": {"secretName": "one"}}]}}),
        ("env", [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}]),
    ],
)
def test_the_name_of_a_secret_is_no_secret(path: str, value: object):
    ClusterConfig.model_validate(changed(path, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping with at least the keys image, volumes, database"),
        ("- image", "must be a mapping with at least the keys image, volumes, database"),
        ("image: {\n  tag: x\npassword: hunter2", "is not YAML: expected ',' or '}', but got ':' in line 3"),
        ("password: *hunter2", "is not YAML: an alias or a tag in line 1; quote a value that begins with * or !"),
        ("a: 1\npassword: !hunter2 x", "is not YAML: an alias or a tag in line 2; quote a value that begins with * or !"),
        ("a: 1\npassword: 2020-99-99", "is not YAML: an impossible timestamp, quote it if it is a text in line 2"),
        ("a: &a [1, *a]", "is not YAML: a part contains itself by an alias in line 1"),
        ("image: \x07", "is not YAML: it contains a character that YAML does not allow"),
    ],
)
def test_a_file_without_a_mapping_is_an_error(tmp_path: Path, text: str, message: str):
    assert error_text(tmp_path, text).strip() == message


def test_a_missing_file_is_an_error(tmp_path: Path):
    with pytest.raises(
        PreconditionFailed, match=r"^cluster file .*/none\.yaml cannot be read: No such file or directory; GREGORY_CLUSTER_CONFIG names it$"
    ):
        load_cluster_config(tmp_path / "none.yaml")


def test_a_binary_file_is_an_error(tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    path.write_bytes(b"image: \xff")

    with pytest.raises(BadClusterConfig, match=re.escape(f"cluster file {path} is not UTF-8 text: invalid start byte at byte 7")):
        load_cluster_config(path)


def test_the_schema_is_closed_and_described_at_every_level():
    schema = ClusterConfig.model_json_schema(by_alias=True)

    for name, section in {"ClusterConfig": schema, **schema["$defs"]}.items():
        assert section["additionalProperties"] is False, name
        assert [key for key, value in section["properties"].items() if not value.get("description")] == [], name
    assert schema["$defs"]["Limits"]["properties"]["cpu"]["type"] == ["string", "number"]


def test_the_document_lists_every_key():
    def shown(default: object) -> str:
        match default:
            case _ if default is NOT_SET:
                return "required"
            case None | "" | () | {}:
                return ""
            case bool():
                return f"`{str(default).lower()}`"
        return f"`{default}`"

    rows = [(key.strip("`"), default, meaning) for key, default, meaning in table(DOCUMENT, "key")]

    assert rows == [(key, shown(default), description) for key, (default, description) in keys(ClusterConfig).items()]


def test_the_document_shows_the_minimal_file():
    (block,) = [block for block in blocks(DOCUMENT) if block.name == "cluster.yaml"]

    assert yaml.safe_load(block.text) == MINIMAL
