"""The section `database` of the cluster file."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gregory.env import DATABASE_VARIABLES, SSL_MODES
from gregory.launch.kubernetes.cluster_values import Name, SecretKey, Section


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

    @model_validator(mode="after")
    def _has_certificate(self) -> Self:
        if self.ssl_mode.startswith("verify-") and not self.ssl_root_cert_key:
            raise ValueError(f"sslMode {self.ssl_mode} needs certificates; put them into {self.existing_secret} and give sslRootCertKey")
        return self

    @model_validator(mode="after")
    def _has_one_source_each(self) -> Self:
        for name in ("host", "name", "user"):
            given = [key for key in (name, f"{name}_key") if getattr(self, key)]
            if len(given) != 1:
                raise ValueError(f"give either {name} or {name}Key; {'both are' if given else 'neither is'} given")
        return self
