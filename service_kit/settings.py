"""Settings from environment variables: units in the names, every wrong one named at once, no secret shown.

A server's settings are a subclass with a prefix; the field `metrics_port` is then read from
`JACKPOT_METRICS_PORT`. LOG_LEVEL and LOG_FORMAT have no prefix.

    class JackpotSettings(ServerSettings):
        model_config = SettingsConfigDict(env_prefix="JACKPOT_")
        cache_url: str = Field(default="", description="redis://host:port/0, or empty for no cache")

    settings = load(JackpotSettings)
"""

import difflib
import os
import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self, TypeVar, overload

import asyncpg
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service_kit import database
from service_kit.address import check_address
from service_kit.telemetry import LogFormat, LogLevel, get_log

_log = get_log("settings")

# What Kubernetes puts into the environment for a service of the same name.
_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP)(_\w+)?)?$")


def _postgres_dsn(dsn: SecretStr) -> SecretStr:
    if not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("not a DSN")
    return dsn


Address = Annotated[str, AfterValidator(check_address)]
PostgresDsn = Annotated[SecretStr, AfterValidator(_postgres_dsn)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class ProcessSettings(BaseSettings):
    """What every process has."""

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, env_ignore_empty=False, enable_decoding=False
    )
    # Variables with this prefix that other parts of the program read.
    also_known: ClassVar[frozenset[str]] = frozenset()

    environment: str = Field(
        default="production",
        pattern=r"^[a-z][a-z0-9-]{0,31}$",
        description="the name of the environment: small letters, digits, hyphens",
    )
    log_level: LogLevel = Field(
        default="info", validation_alias="LOG_LEVEL", description="the least that is logged"
    )
    log_format: LogFormat = Field(
        default="console", validation_alias="LOG_FORMAT", description="how the logs are written"
    )
    metrics_host: str = Field(default="127.0.0.1", description="the address of the metrics' HTTP endpoint")
    metrics_port: Port = Field(default=0, description="the port of the metrics' HTTP endpoint, 0 for none")

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable that `field` is read from."""
        alias = cls.model_fields[field].validation_alias
        return alias if isinstance(alias, str) else f"{cls.model_config.get('env_prefix', '')}{field}".upper()


class DatabaseSettings(BaseSettings):
    """A PostgreSQL database and the limits of its connections (mixed into a process's settings)."""

    database_dsn: PostgresDsn = Field(
        description="postgresql://user:password@host:port/database; may name several hosts"
    )
    database_lock_timeout_ms: int = Field(
        default=1_000, ge=1, le=60_000, description="how long to wait for a lock"
    )
    database_statement_timeout_ms: int = Field(
        default=5_000, ge=10, le=300_000, description="how long a statement may take"
    )
    database_statement_cache_size: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="prepared statements per connection; 0 behind a transaction pooler",
    )
    database_pool_size: int = Field(default=4, ge=1, le=100, description="connections for reads")
    database_allow_unsafe: bool = Field(
        default=False, description="1 to take a database that may forget what it confirmed (fsync off)"
    )

    async def connect(
        self, application_name: str, *, lock_timeout_ms: int | None = None
    ) -> asyncpg.Connection:
        """One connection, owned by the caller, with these limits; see `database.connect`."""
        return await database.connect(
            self.database_dsn.get_secret_value(),
            application_name=application_name,
            lock_timeout_ms=self.database_lock_timeout_ms if lock_timeout_ms is None else lock_timeout_ms,
            statement_timeout_ms=self.database_statement_timeout_ms,
            statement_cache_size=self.database_statement_cache_size,
        )

    async def create_pool(self, application_name: str) -> asyncpg.Pool:
        """A pool for reads, owned by the caller, with these limits; see `database.create_pool`."""
        return await database.create_pool(
            self.database_dsn.get_secret_value(),
            application_name=application_name,
            max_size=self.database_pool_size,
            lock_timeout_ms=self.database_lock_timeout_ms,
            statement_timeout_ms=self.database_statement_timeout_ms,
            statement_cache_size=self.database_statement_cache_size,
        )


class OwnerSettings(ProcessSettings):
    """How to reach the database as the one who may change its schema."""

    migrate_dsn: PostgresDsn | None = Field(
        default=None, description="the owner's DSN; the variable of the server's own if not set"
    )
    database_dsn: PostgresDsn | None = Field(
        default=None, description="postgresql://user:password@host:port/database"
    )

    @model_validator(mode="after")
    def _has_a_dsn(self) -> Self:
        if self.migrate_dsn is None and self.database_dsn is None:
            prefix = self.model_config["env_prefix"]
            raise ValueError(f"set {prefix}MIGRATE_DSN or {prefix}DATABASE_DSN")
        return self

    @property
    def owner_dsn(self) -> str:
        """The DSN, password and all."""
        dsn = self.migrate_dsn or self.database_dsn
        assert dsn is not None
        return dsn.get_secret_value()


class ServerSettings(ProcessSettings, DatabaseSettings):
    """What a gRPC server with a database has. Sizes are bounded on both sides (G7)."""

    listen: Address = Field(description="host:port, or unix:path")
    allow_plaintext: bool = Field(
        default=False,
        description="1 to listen beyond this machine without TLS, e.g. behind a mesh that encrypts",
    )
    drain_delay_s: float = Field(
        default=0.2, ge=0, le=60, description="how long a drain waits for load balancers to look elsewhere"
    )
    drain_grace_s: float = Field(
        default=10.0,
        ge=0.1,
        le=300,
        description="how long calls in flight may take from the signal to stop on",
    )
    max_request_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="the largest request"
    )
    max_response_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="the largest response"
    )
    max_concurrent_streams: int = Field(
        default=4096, ge=1, le=100_000, description="calls in flight on one client's connection"
    )


A = TypeVar("A", bound=ProcessSettings)
B = TypeVar("B", bound=ProcessSettings)


@overload
def load(first: type[A], /) -> A: ...
@overload
def load(first: type[A], second: type[B], /) -> tuple[A, B]: ...
def load(*classes: type[ProcessSettings]) -> Any:
    """The settings from the environment, one object per class.

    If any is wrong, says on stderr which variables, all of them, and what is expected, and exits
    with status 2; a value is never shown.
    """
    loaded: list[ProcessSettings] = []
    problems: list[str] = []
    for settings_class in classes:
        try:
            loaded.append(settings_class())
        except ValidationError as error:
            problems += _problems(settings_class, error)
    if problems:
        sys.stderr.write(
            "These settings are wrong:\n" + "".join(f"  {line}\n" for line in dict.fromkeys(problems))
        )
        raise SystemExit(2)
    return loaded[0] if len(classes) == 1 else tuple(loaded)


def warn_of_unknown_variables(*classes: type[ProcessSettings]) -> None:
    """Logs variables that look like settings of `classes` and are none: most likely typing errors."""
    for variable, meant in unknown_variables(classes, os.environ):
        _log.warning("setting_not_known", variable=variable, did_you_mean=meant)


def unknown_variables(
    classes: Iterable[type[ProcessSettings]], names: Iterable[str]
) -> list[tuple[str, str | None]]:
    """Those of `names` with a prefix of `classes` that no class reads, each with the likeliest meant one."""
    classes = list(classes)
    prefixes = tuple(
        prefix for prefix in (cls.model_config.get("env_prefix", "").upper() for cls in classes) if prefix
    )
    known = {cls.variable(field) for cls in classes for field in cls.model_fields}
    known.update(*(cls.also_known for cls in classes))
    return [
        (name, next(iter(difflib.get_close_matches(name, known, n=1)), None))
        for name in sorted(names)
        if name.startswith(prefixes) and name not in known and not _OF_KUBERNETES.search(name)
    ]


def _problems(settings_class: type[ProcessSettings], error: ValidationError) -> list[str]:
    by_variable = {settings_class.variable(field): field for field in settings_class.model_fields}
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        place = str(problem["loc"][0]) if problem["loc"] else ""
        field = by_variable.get(place, place)
        if field not in settings_class.model_fields:
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        info = settings_class.model_fields[field]
        what = _what_is_wrong(problem["type"], problem["msg"], secret="Secret" in str(info.annotation))
        lines.append(
            f"{settings_class.variable(field)} {what}: {info.description or 'see the documentation'}"
        )
    return lines


def _what_is_wrong(kind: str, message: str, *, secret: bool) -> str:
    if kind == "missing":
        return "is not set"
    if secret:
        return "is not usable"
    return f"is wrong ({message.removeprefix('Value error, ')})"
