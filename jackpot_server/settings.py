"""Settings of the jackpot server: JACKPOT_* variables, units in the names."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jackpot_server.keys import (
    RootKey,
    RootKeys,
    older_root_keys,
    parse_root_key,
    read_root_key,
    root_key_of_command,
)
from service_kit.errors import StartRefused
from service_kit.settings import Address, OwnerSettings, Port, ServerSettings


class RootKeySettings(BaseSettings):
    """The secrets from which the seeds of all cycles follow."""

    root_key: SecretStr | None = Field(
        default=None, description="the root key, at least 32 bytes as hexadecimal or base64"
    )
    root_key_command: str = Field(
        default="", description="a command that prints the root key, without a shell"
    )
    root_key_file: Path | None = Field(
        default=None, validate_default=True, description="a file with the root key"
    )
    root_key_id: str = Field(
        default="root-1", pattern=r"^[!-~]{1,64}$", description="the root key's public name"
    )
    old_root_keys: SecretStr = Field(
        default=SecretStr(""),
        description="keys before it, while cycles or draws of theirs are needed: ID=file:PATH; ID=KEY; …",
    )

    # Of the fields, not of the whole, so that they are named together with whatever else is wrong.
    @field_validator("root_key")
    @classmethod
    def _is_a_key(cls, root_key: SecretStr | None) -> SecretStr | None:
        if root_key is not None:
            parse_root_key("", root_key.get_secret_value())
        return root_key

    @field_validator("root_key_file")
    @classmethod
    def _is_the_only_key(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if "root_key" in info.data and "root_key_command" in info.data:
            sources = (
                info.data["root_key"] is not None,
                file is not None,
                bool(info.data["root_key_command"]),
            )
            if sum(sources) != 1:
                raise ValueError(
                    "set one of JACKPOT_ROOT_KEY, JACKPOT_ROOT_KEY_FILE and JACKPOT_ROOT_KEY_COMMAND"
                )
        if file is not None:
            read_root_key("", file)
        return file

    def read_root_keys(self) -> RootKeys:
        """The root key and those before it. StartRefused, without any of them, if one cannot be read."""
        try:
            return RootKeys(self._newest(), *older_root_keys(self.old_root_keys.get_secret_value()))
        except ValueError as error:
            raise StartRefused(f"The root keys: {error}.") from None

    def _newest(self) -> RootKey:
        if self.root_key is not None:
            return parse_root_key(self.root_key_id, self.root_key.get_secret_value())
        if self.root_key_file is not None:
            return read_root_key(self.root_key_id, self.root_key_file)
        return root_key_of_command(self.root_key_id, self.root_key_command)


class MigrateSettings(OwnerSettings):
    """What `migrate` needs."""

    model_config = SettingsConfigDict(env_prefix="JACKPOT_")


class ApplySettings(RootKeySettings, OwnerSettings):
    """What `apply` needs: it commits the seeds of new pools."""

    model_config = SettingsConfigDict(env_prefix="JACKPOT_")


class AuditSettings(OwnerSettings):
    """What `audit` needs, unless it repeats draws."""

    model_config = SettingsConfigDict(env_prefix="JACKPOT_")


class JackpotSettings(RootKeySettings, ServerSettings):
    """What `serve` needs."""

    model_config = SettingsConfigDict(env_prefix="JACKPOT_")
    also_known = frozenset({"JACKPOT_MIGRATE_DSN"})

    listen: Address = Field(default="127.0.0.1:50052", description="host:port, or unix:path")
    metrics_port: Port = Field(default=9465, description="the port of the metrics' HTTP endpoint, 0 for none")
    cache_url: SecretStr = Field(
        default=SecretStr(""), description="redis://host:port/0 of a Dragonfly or Valkey, empty for none"
    )
    cache_prefix: str = Field(
        default="jackpot",
        pattern=r"^[!-~]{1,64}$",
        description="what the cache's keys begin with; servers of one database share it",
    )
    max_batch: int = Field(default=500, ge=1, le=5_000, description="commands in one transaction")
    max_waiting: int = Field(
        default=20_000, ge=1, le=1_000_000, description="commands that may wait; more are OVERLOADED"
    )
    witness_file: Path | None = Field(
        default=None,
        description="audit heads that another database keeps; one that lacks them is not served",
    )
    watch_max_streams: int = Field(
        default=2_000, ge=1, le=100_000, description="open WatchPools streams; more are TOO_MANY_STREAMS"
    )
    watch_max_age_s: float = Field(
        default=3_600.0, ge=1, le=86_400, description="how old a WatchPools stream may become"
    )
