"""THE table of environment variables: name, type, default and why. Nothing else in the project reads the environment.

The database names are GregoryAI's own, so that its `.env` works here unchanged.
"""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parents[1]
# The variables of the database connection, by the names that Django and the cluster file give to its parts.
DATABASE_VARIABLES = {"name": "POSTGRES_DB", "user": "POSTGRES_USER", "password": "POSTGRES_PASSWORD", "host": "DB_HOST", "port": "DB_PORT"}
_BYTES = r"^([1-9][0-9]*[kmg])?$"


class Environment(BaseSettings):
    """Each field is one variable; the description says what it is for."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=True)

    POSTGRES_DB: str = Field("", description="PostgreSQL database; empty means the embedded SQLite file")
    POSTGRES_USER: str = Field("", description="PostgreSQL role")
    POSTGRES_PASSWORD: SecretStr = Field(SecretStr(""), description="its password; never logged, never in a run's specification")
    DB_HOST: str = Field("localhost", description="PostgreSQL host")
    DB_PORT: int = Field(5432, description="PostgreSQL port")
    SQLITE_FILE: Path = Field(BASE_DIR / "db.sqlite3", description="database file of the embedded default")
    SECRET_KEY: SecretStr = Field(
        SecretStr(""), description="Django's signing key; empty draws a new one per process, which commands do not mind"
    )

    GREGORY_RUNNER: str = Field("local", description="where train_models sends runs when --runner is not given")
    GREGORY_BASE_MODELS: Path = Field(BASE_DIR / "base_models", description="folder of the base-model bundle")
    GREGORY_HYPERPARAMETERS: Path | None = Field(None, description="YAML file that overrides single hyper-parameters")
    GREGORY_STALE_AFTER: int = Field(900, ge=60, description="seconds without a heartbeat after which a run on another host counts as dead")
    GREGORY_STALL_AFTER: int = Field(
        0, ge=0, description="seconds without progress after which reconcile_runs ends a local run or a container; 0: never"
    )
    GREGORY_REQUIRE_GPU: bool = Field(False, description="runs must find a GPU and fail at once where there is none")
    GREGORY_IMAGE_DIGEST: str = Field("", description="digest of the image a run executes in; kept in the manifest")

    GREGORY_DOCKER_IMAGE: str = Field("gregory-train:cpu", description="image of the docker runner's containers")
    GREGORY_DOCKER_MODELS: str = Field(
        "", description="folder of the Docker host, or volume, that containers write models to; empty: models/ of this checkout"
    )
    GREGORY_DOCKER_BASE_MODELS: str = Field(
        "", description="folder or volume with the base models; empty: GREGORY_BASE_MODELS; `image`: those inside the image"
    )
    GREGORY_DOCKER_USER: str = Field(
        "", description="user of the containers, UID:GID; empty: the owner of the models folder, or the image's where that is root"
    )
    GREGORY_DOCKER_NETWORK: str = Field("bridge", description="network of the containers: bridge, host, or the name of one")
    GREGORY_DOCKER_DB_HOST: str = Field("", description="the database as containers reach it; empty: DB_HOST")
    GREGORY_DOCKER_GPUS: str = Field(
        "", pattern=r"^(all|[1-9][0-9]*)?$", description="GPUs of a container, a number or `all`; its run must then find one"
    )
    GREGORY_DOCKER_MEMORY: str = Field("", pattern=_BYTES, description="memory limit of a container, such as 8g; empty: none")
    GREGORY_DOCKER_SHM: str = Field("1g", pattern=_BYTES, description="size of a container's /dev/shm")

    GREGORY_CLUSTER_CONFIG: Path | None = Field(None, description="YAML file that says how runs become Jobs of a Kubernetes cluster")

    KUBECONFIG: str = Field(
        "", description="kubeconfig that names the cluster and who we are there; empty: ~/.kube/config, or the pod's own identity"
    )
    GREGORY_KUBECONTEXT: str = Field("", description="context of the kubeconfig; empty: its current one")

    GREGORY_RUN_SPEC: str = Field("", description="one RunSpec as JSON: what `python -m job` shall do")
    GREGORY_RUN_HANDLE: str = Field("", description="where the run is, as JSON, if it is not this process: its container or its Job")
    GREGORY_EVENT_FORMAT: str = Field(
        "text", pattern="^(text|json)$", description="how a run logs: text for people, json for the command that follows it"
    )
    GREGORY_TERMINATION_LOG: Path | None = Field(None, description="file that a run leaves what became of it in, in at most 4,096 bytes")
    GREGORY_RETRIED: bool = Field(
        False,
        description="somebody else tries an interrupted run again: it leaves its open rows to them, and may be started more than once",
    )
    GREGORY_NODE_NAME: str = Field("", description="the machine of a cluster that a run was placed on; kept with the run")
    GREGORY_LIFELINE: bool = Field(
        False, description="end the run when standard input closes, that is, when the process that started it is gone"
    )


def read_environment() -> Environment:
    """The environment, checked. A bad value ends the process with one line that names it, whoever asked."""
    try:
        return Environment()
    except ValidationError as error:
        first = error.errors()[0]
        raise SystemExit(f"environment variable {first['loc'][0]}: {first['msg']} (got {first['input']!r})") from None
