"""The section `database` of the cluster file."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gregory.env import AUTH_METHODS, DATABASE_VARIABLES, SSL_CERTIFICATE, SSL_KEY, SSL_MODES, SSL_ROOT_CERTIFICATE
from gregory.launch.kubernetes.cluster_values import Name, OptionalName, SecretKey, Section


class PredictionRole(Section):
    """The database role of predictions. An empty value is that of `database`."""

    existing_secret: OptionalName = Field("", description="Secret of the namespace for predictions (empty: that of the runs)")
    password_key: SecretKey = Field("", description="key of the Secret with the password of the role (empty: that of the runs)")
    user: str = Field("", description="database role of predictions (empty: from userKey, or that of the runs)")
    user_key: SecretKey = Field("", description="key of the Secret with the role of predictions")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.user and self.user_key:
            raise ValueError("give either user or userKey; both are given")
        return self


class Database(Section):
    """The connection to GregoryAI's PostgreSQL. The password comes from a Secret, all other values from the Secret or this file."""

    existing_secret: Name = Field(description="Secret of the namespace that holds the password")
    password_key: Annotated[SecretKey, Field(min_length=1)] = Field(
        DATABASE_VARIABLES["password"], description="key of the Secret with the password"
    )
    host: str = Field("", pattern=r"^[A-Za-z0-9._:-]*$", description="host of the database as pods reach it (empty: from hostKey)")
    host_key: SecretKey = Field("", description="key of the Secret with the host")
    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(None, description="port of the database (empty: from portKey, or 5432)")
    port_key: SecretKey = Field("", description="key of the Secret with the port; a Secret without it means 5432")
    name: str = Field("", description="name of the database (empty: from nameKey)")
    name_key: SecretKey = Field("", description="key of the Secret with the name")
    user: str = Field("", description="database role of the runs (empty: from userKey)")
    user_key: SecretKey = Field("", description="key of the Secret with the role")
    ssl_mode: str = Field(
        "",
        pattern=SSL_MODES,
        description="encryption of the connection, as `DB_SSLMODE` (empty: that of the submitter)",
    )
    ssl_root_cert_key: SecretKey = Field("", description="key of the Secret with the certificates that sign the server's, in PEM")
    ssl_cert_key: SecretKey = Field("", description="key of the Secret with the certificate of the runs, in PEM")
    ssl_key_key: SecretKey = Field("", description="key of the Secret with the private key of that certificate, in PEM")
    require_auth: str = Field(
        "", pattern=AUTH_METHODS, description="proofs that the server may ask for, as `DB_REQUIRE_AUTH` (empty: that of the submitter)"
    )

    prediction: PredictionRole = Field(PredictionRole(), description="role of predictions, which alone may write predictions")

    def of_predictions(self) -> "Database":
        """The connection of predictions. Their Secret has the same keys as that of the runs, except for the role."""
        given = {name: value for name, value in self.prediction.model_dump().items() if value}
        other = {"user": "user_key", "user_key": "user"}
        return self.model_copy(update=given | {other[name]: "" for name in given if name in other})

    @property
    def secret_files(self) -> dict[str, str]:
        """The keys of the Secret whose values a pod gets as files, by the variables that name the files."""
        keys = {SSL_ROOT_CERTIFICATE: self.ssl_root_cert_key, SSL_CERTIFICATE: self.ssl_cert_key, SSL_KEY: self.ssl_key_key}
        return {variable: key for variable, key in keys.items() if key}

    @model_validator(mode="after")
    def _has_certificate(self) -> Self:
        if self.ssl_mode.startswith("verify-") and not self.ssl_root_cert_key:
            raise ValueError(f"sslMode {self.ssl_mode} needs certificates; put them into {self.existing_secret} and give sslRootCertKey")
        if bool(self.ssl_cert_key) != bool(self.ssl_key_key):
            given, lacking = ("sslCertKey", "sslKeyKey") if self.ssl_cert_key else ("sslKeyKey", "sslCertKey")
            raise ValueError(f"{given} is given without {lacking}; put certificate and private key into {self.existing_secret}")
        return self

    @model_validator(mode="after")
    def _has_one_source_each(self) -> Self:
        for name in ("host", "name", "user"):
            given = [key for key in (name, f"{name}_key") if getattr(self, key)]
            if len(given) != 1:
                raise ValueError(f"give either {name} or {name}Key; {'both are' if given else 'neither is'} given")
        return self
