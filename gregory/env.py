"""The environment variables: name, type, default and meaning. No other code reads the environment.

The variables of the database have the names of GregoryAI, so that its `.env` works here unchanged.
"""

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

BASE_DIR = Path(__file__).resolve().parents[1]
# The specification fixes the models folder, so there is no flag and no variable. The image puts the project at that path.
MODELS_DIR = BASE_DIR / "models"
# The variables of the database connection, by the names that Django and the cluster file give to its parts.
DATABASE_VARIABLES = {"name": "POSTGRES_DB", "user": "POSTGRES_USER", "password": "POSTGRES_PASSWORD", "host": "DB_HOST", "port": "DB_PORT"}
DEFAULT_PORT = 5432
# The role of the runs, by the variables that have it in the process of a run.
RUN_ROLE = {"POSTGRES_USER": "POSTGRES_RUN_USER", "POSTGRES_PASSWORD": "POSTGRES_RUN_PASSWORD"}
# How the connection is encrypted, and what the server may ask for.
SSL_MODE, REQUIRE_AUTH = "DB_SSLMODE", "DB_REQUIRE_AUTH"
SSL_ROOT_CERTIFICATE, SSL_CERTIFICATE, SSL_KEY = "DB_SSLROOTCERT", "DB_SSLCERT", "DB_SSLKEY"
# The variables with files of the connection, and libpq's names of them, which are read if ours are empty.
SSL_FILES = {SSL_ROOT_CERTIFICATE: "PGSSLROOTCERT", SSL_CERTIFICATE: "PGSSLCERT", SSL_KEY: "PGSSLKEY"}
# This value of the root certificate means the certificates of the operating system.
SYSTEM_CERTIFICATES = "system"
# Variables of libpq that change a connection and name no file. A container and a pod get them too.
LIBPQ_VARIABLES = (
    "PGSSLMODE", "PGOPTIONS", "PGCHANNELBINDING", "PGGSSENCMODE", "PGREQUIREAUTH", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION",
    "PGSSLNEGOTIATION", "PGSSLSNI", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS",
)  # fmt: skip
# Variables of libpq with files of this machine, which a container and a pod do not have.
LIBPQ_FILES = ("PGSSLCRL", "PGSSLCRLDIR", "PGSERVICE")
SSL_MODES = r"^(disable|allow|prefer|require|verify-ca|verify-full)?$"
_METHOD = "!?(password|md5|gss|sspi|scram-sha-256|oauth|none)"
AUTH_METHODS = f"^({_METHOD}(,{_METHOD})*)?$"
BASE_MODELS_DIGEST = "GREGORY_BASE_MODELS_DIGEST"
# The sha256 of a file in hexadecimal, or nothing.
SHA256 = r"^([0-9a-f]{64})?$"


def _form(pattern: str, remedy: str) -> AfterValidator:
    """The check of a text. remedy: what to give instead of another text."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value):
            return value
        raise PydanticCustomError("form", remedy)

    return AfterValidator(check)


def _absolute(value: str) -> str:
    """A container and a pod have other folders, so a relative path would name another file there."""
    if value in ("", SYSTEM_CERTIFICATES) or value.startswith("/"):
        return value
    raise PydanticCustomError("relative_path", "a relative path depends on the folder of the command; give an absolute path, or `system`")


def _absolute_file(value: str) -> str:
    if value == "" or value.startswith("/"):
        return value
    raise PydanticCustomError("relative_path", "a relative path depends on the folder of the command; give an absolute path")


def _web_address(value: str) -> str:
    """Passwords go through this address, so another machine must use TLS."""
    parts = urlsplit(value)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if value == "" or ((local or parts.scheme == "https") and parts.hostname and not parts.path.strip("/")):
        return value
    raise PydanticCustomError("web_address", "give https:// and a host without a path; http:// is for 127.0.0.1 and localhost only")


def _webhook(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if not value.get_secret_value() or (parts.scheme in ("http", "https") and parts.hostname):
        return value
    raise PydanticCustomError("webhook", "give https:// or http://, a host and a path")


RootCertificate = Annotated[str, AfterValidator(_absolute)]
SslFile = Annotated[str, AfterValidator(_absolute_file)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
WebhookAddress = Annotated[SecretStr, AfterValidator(_webhook)]
SslMode = Annotated[str, _form(SSL_MODES, "give disable, allow, prefer, require, verify-ca or verify-full")]
AuthMethods = Annotated[str, _form(AUTH_METHODS, "give methods of libpq's require_auth, separated by commas, such as scram-sha-256")]
Threads = Annotated[str, _form(r"([1-9][0-9]*(,[1-9][0-9]*)*)?", "give a number of threads, 1 or more")]
Sha256 = Annotated[str, _form(SHA256, "give 64 digits, 0-9 and a-f, as `sha256sum bundle.json` prints them")]
Gpus = Annotated[str, _form(r"(all|[1-9][0-9]*)?", "give a number of GPUs, 1 or more, or all")]
Size = Annotated[str, _form(r"([1-9][0-9]*[kmg])?", "give a whole number and a unit, k, m or g, such as 8g")]
EventFormat = Annotated[str, _form("text|json", "give text or json")]


class Environment(BaseModel):
    """All variables. Each field is one variable with its meaning as description."""

    model_config = ConfigDict(frozen=True)

    POSTGRES_DB: str = Field("", description="PostgreSQL database; empty: the SQLite file")
    POSTGRES_USER: str = Field("", description="PostgreSQL role")
    POSTGRES_PASSWORD: SecretStr = Field(SecretStr(""), description="its password; never logged, never in a run's specification")
    POSTGRES_RUN_USER: str = Field("", description="PostgreSQL role of the runs that this process starts; empty: POSTGRES_USER")
    POSTGRES_RUN_PASSWORD: SecretStr = Field(SecretStr(""), description="its password")
    DB_HOST: str = Field("localhost", description="PostgreSQL host; of several, separated by commas, the one that accepts writes")
    DB_PORT: int = Field(DEFAULT_PORT, description="PostgreSQL port")
    DB_SSLMODE: SslMode = Field(
        "",
        description="encryption of the connection; `verify-full` also checks the server; empty: libpq's default, `prefer`",
    )
    DB_SSLROOTCERT: RootCertificate = Field(
        "",
        description="file, by its absolute path, with the certificates of the authorities that sign the server's; "
        "`system`: those of the operating system",
    )
    DB_SSLCERT: SslFile = Field("", description="file, by its absolute path, with the certificate of this client, in PEM")
    DB_SSLKEY: SslFile = Field("", description="file, by its absolute path, with the key of DB_SSLCERT; only its user may read it")
    DB_REQUIRE_AUTH: AuthMethods = Field(
        "",
        description="proofs that the server may ask for, as libpq's require_auth, such as `scram-sha-256`; "
        "empty: all, but a password in clear text only to a checked server or through a local socket",
    )
    PGSSLROOTCERT: RootCertificate = Field("", description="libpq's name of DB_SSLROOTCERT, read if that is empty")
    PGSSLCERT: SslFile = Field("", description="libpq's name of DB_SSLCERT, read if that is empty")
    PGSSLKEY: SslFile = Field("", description="libpq's name of DB_SSLKEY, read if that is empty")
    PGSSLMODE: str = Field("", description="libpq's name of DB_SSLMODE, read if that is empty")
    PGREQUIREAUTH: str = Field("", description="libpq's name of DB_REQUIRE_AUTH, read if that is empty")
    SQLITE_FILE: Path = Field(BASE_DIR / "db.sqlite3", description="database file without PostgreSQL")
    SECRET_KEY: SecretStr = Field(
        SecretStr(""), description="Django's signing key; empty: a new one per process, which is enough for commands"
    )

    GREGORY_WEB_URL: WebAddress = Field(
        "", description="address of the operator pages in browsers, such as `https://models.example.org`; http only for this machine"
    )

    OMP_NUM_THREADS: Threads = Field(
        "",
        description="most threads of a stage; of several numbers, the first; empty: the processors that the run may use",
    )

    GREGORY_RUNNER: str = Field("local", description="runner of train_models without --runner")
    GREGORY_LOCAL_RUNS: int = Field(
        1,
        ge=1,
        le=64,
        description="runs that the local runner executes at once, at most 64; each gets its share of the processors, and needs memory",
    )
    GREGORY_BASE_MODELS: Path = Field(BASE_DIR / "base_models", description="folder of the bundle of base models")
    GREGORY_BASE_MODELS_DIGEST: Sha256 = Field(
        "", description="sha256 of their `bundle.json`; commands and runs refuse another bundle; empty: any bundle"
    )
    GREGORY_HYPERPARAMETERS: Path | None = Field(None, description="YAML file that overrides single hyper-parameters")
    GREGORY_STALE_AFTER: int = Field(900, ge=60, description="seconds without a heartbeat until a run on another host counts as terminated")
    # The longest step without a message is one prediction: BERT on a processor, for a pool of some ten thousand articles.
    GREGORY_STALL_AFTER: int = Field(
        6 * 3600, ge=0, description="seconds without progress until reconcile_runs ends a local run or a container; 0: never"
    )
    GREGORY_LIVENESS_FILE: Path | None = Field(
        None, description="file that the loop of reconcile_runs touches after each pass, for a liveness probe; empty: none"
    )
    GREGORY_METRICS_PORT: int | None = Field(
        None, ge=1, le=65_535, description="port on which the loop of reconcile_runs serves metrics for Prometheus; empty: none"
    )
    GREGORY_WEB_METRICS_PORT: int | None = Field(
        None, ge=1, le=65_535, description="port on which the operator pages serve metrics, another than that of the pages; empty: none"
    )
    GREGORY_METRICS_HOST: str = Field(
        "127.0.0.1", description="address of these ports; whoever reaches it reads names of teams and subjects"
    )
    GREGORY_NOTIFY_EMAIL: str = Field("", description="addresses, separated by commas, that reconcile_runs tells of failures; empty: none")
    GREGORY_NOTIFY_WEBHOOK: WebhookAddress = Field(
        SecretStr(""), description="address to which reconcile_runs posts the same as Slack's JSON; a secret; empty: none"
    )
    GREGORY_NOTIFY_DAYS: int = Field(14, ge=0, description="days without a successful training until a subject is told; 0: never")
    GREGORY_NOTIFY_TEMPLATES: Path | None = Field(
        None, description="folder whose templates replace those of gregory/reporting/templates/notices"
    )
    EMAIL_HOST: str = Field("localhost", description="mail server of the notifications")
    EMAIL_PORT: int = Field(25, description="its port")
    EMAIL_HOST_USER: str = Field("", description="account at the mail server; empty: none")
    EMAIL_HOST_PASSWORD: SecretStr = Field(SecretStr(""), description="its password")
    EMAIL_USE_TLS: bool = Field(False, description="encrypt the connection to the mail server with STARTTLS")
    DEFAULT_FROM_EMAIL: str = Field("gregory-train@localhost", description="sender of the notifications")
    GREGORY_REQUIRE_GPU: bool = Field(False, description="runs must find a GPU and fail at once without one")
    GREGORY_PROMOTE_MARGIN: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="promote a new version whose ROC AUC and PR AUC are at most this much lower than those of the version in use; "
        "empty: a training promotes nothing",
    )
    GREGORY_PROMOTE_MINIMUM: int = Field(10, ge=1, description="articles of each class that such a comparison needs")
    GREGORY_IMAGE_DIGEST: str = Field("", description="digest of the image that executes a run; the manifest keeps it")

    GREGORY_DOCKER_IMAGE: str = Field("gregory-train:cpu", description="image of the docker runner's containers")
    GREGORY_DOCKER_MODELS: str = Field(
        "", description="folder of the Docker host, or volume, for the models; empty: models/ of this checkout"
    )
    GREGORY_DOCKER_BASE_MODELS: str = Field(
        "", description="folder or volume of the base models; empty: GREGORY_BASE_MODELS; `image`: those inside the image"
    )
    GREGORY_DOCKER_USER: str = Field(
        "", description="user of the containers, UID:GID; empty: the owner of the models folder, or the image's user if the owner is root"
    )
    GREGORY_DOCKER_NETWORK: str = Field("bridge", description="network of the containers: bridge, host or the name of a network")
    GREGORY_DOCKER_DB_HOST: str = Field("", description="host of the database as containers reach it; empty: DB_HOST")
    GREGORY_DOCKER_GPUS: Gpus = Field("", description="GPUs of a container, a number or `all`; the run must then find one")
    GREGORY_DOCKER_MEMORY: Size = Field("", description="memory limit of a container, such as 8g; empty: none")
    GREGORY_DOCKER_SHM: Size = Field("1g", description="size of a container's /dev/shm")

    GREGORY_MODELS_MOUNTED: bool = Field(
        False,
        description="with the kubernetes runner: the models folder of this process is the volume of the runs, so predict_articles chooses "
        "the versions and starts no run without an article",
    )
    GREGORY_CLUSTER_CONFIG: Path | None = Field(None, description="cluster file: how runs become Jobs of a Kubernetes cluster")

    KUBECONFIG: str = Field(
        "", description="kubeconfig with the cluster and our identity; empty: ~/.kube/config, or in a pod the pod's own identity"
    )
    GREGORY_KUBECONTEXT: str = Field("", description="context of the kubeconfig; empty: its current context")

    GREGORY_IMPORT_LINE: int = Field(16_777_216, ge=1, lt=2**31, description="most characters of a line in an imported file")
    GREGORY_IMPORT_CELL: int = Field(16_777_216, ge=1, lt=2**31, description="most characters of a cell in an imported file")
    GREGORY_IMPORT_UNPACKED: int = Field(1_073_741_824, ge=1, description="most bytes of an imported workbook when it is unpacked")

    GREGORY_RUN_SPEC: str = Field("", description="the RunSpec, as JSON, that `python -m job` executes")
    GREGORY_RUN_HANDLE: str = Field("", description="the RunHandle, as JSON, of a run that is a container or a Job")
    GREGORY_EVENT_FORMAT: EventFormat = Field(
        "text", description="format of the log of a run: text for people, json for the command that follows it"
    )
    GREGORY_TERMINATION_LOG: Path | None = Field(
        None, description="file that the back end keeps after the run; the run writes its outcome report there, in at most 4,096 bytes"
    )
    GREGORY_RETRIED: bool = Field(
        False,
        description="a reconciler retries an interrupted run; the run then leaves its rows open, and it may be started more than once",
    )
    GREGORY_NODE_NAME: str = Field("", description="the cluster node of the run; the run store keeps it")
    GREGORY_LIFELINE: bool = Field(
        False, description="end the run when standard input closes because the process that started it has ended"
    )


def read_environment() -> Environment:
    """The checked environment. A bad value ends the process with one line that has its name."""
    try:
        return Environment(**_given())
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        field = Environment.model_fields[name]
        value = "" if field.annotation is SecretStr else f" is {first['input']!r}"
        raise SystemExit(f"environment variable {name}{value}: {_number_or_switch(field) or first['msg']}") from None


def _given() -> dict[str, str]:
    """The variables that are set. If the default is None, an empty variable is the same as none."""
    fields = Environment.model_fields.items()
    return {name: os.environ[name] for name, field in fields if name in os.environ and (os.environ[name] or field.default is not None)}


def _number_or_switch(field: FieldInfo) -> str:
    """What to give for this field. Empty for a text, whose own check tells it."""
    if field.annotation is bool:
        return "give true or false"
    kinds: dict[object, str] = {int: "a whole number", int | None: "a whole number", float | None: "a number"}
    return f"give {kinds[field.annotation]}{_limits(field)}" if field.annotation in kinds else ""


def _limits(field: FieldInfo) -> str:
    match {key: value for limit in field.metadata for key, value in asdict(limit).items()}:
        case {"ge": least, "le": most}:
            return f" from {least} to {most}"
        case {"ge": least, "lt": above}:
            return f" from {least} to less than {above}"
        case {"ge": least}:
            return f", {least} or more"
    return ""
