"""Settings from the environment: every mistake is named at once, and no value is shown."""

import pytest
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from service_kit.settings import Address, ProcessSettings, ServerSettings, load, unknown_variables

CANARY = "canary-5d1e"


class VaultSettings(ServerSettings):
    model_config = SettingsConfigDict(env_prefix="VAULT_")
    also_known = frozenset({"VAULT_MIGRATE_DSN"})

    listen: Address = Field(default="127.0.0.1:50055", description="host:port, or unix:path")
    root_key: SecretStr = Field(default=SecretStr("k" * 32), description="32 bytes, in hex")
    lease_ms: int = Field(default=500, ge=1)

    @field_validator("root_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 32:
            raise ValueError(f"too short: {value.get_secret_value()}")
        return value


class CourierSettings(ProcessSettings):
    model_config = SettingsConfigDict(env_prefix="COURIER_")
    pause_ms: float = Field(default=5.0, ge=0, description="the pause between two calls")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VAULT_DATABASE_DSN", f"postgresql://vault:{CANARY}@db.internal/vault")


def test_variables_have_the_prefix_of_their_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_LEASE_MS", "250")
    monkeypatch.setenv("VAULT_ALLOW_PLAINTEXT", "1")
    monkeypatch.setenv("COURIER_PAUSE_MS", "0.5")
    vault, courier = load(VaultSettings, CourierSettings)
    assert (vault.lease_ms, vault.allow_plaintext, vault.metrics_port) == (250, True, 0)
    assert courier.pause_ms == 0.5
    assert vault.variable("metrics_port") == "VAULT_METRICS_PORT"


def test_the_log_level_is_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("VAULT_LOG_LEVEL", "error")
    vault, courier = load(VaultSettings, CourierSettings)
    assert (vault.log_level, courier.log_level) == ("debug", "debug")
    assert VaultSettings.variable("log_level") == "LOG_LEVEL"


def test_all_that_is_wrong_is_named_at_once_and_no_value_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAULT_DATABASE_DSN", f"mysql://vault:{CANARY}@db/vault")
    monkeypatch.setenv("VAULT_LISTEN", "nowhere")
    monkeypatch.setenv("VAULT_METRICS_PORT", "70000")
    monkeypatch.setenv("VAULT_DRAIN_GRACE_S", "soon")
    monkeypatch.setenv("VAULT_ALLOW_PLAINTEXT", "perhaps")
    monkeypatch.setenv("VAULT_ROOT_KEY", CANARY)
    monkeypatch.setenv("VAULT_LEASE_MS", "")
    monkeypatch.setenv("VAULT_ENVIRONMENT", "Not Good")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    monkeypatch.setenv("COURIER_PAUSE_MS", "-1")
    with pytest.raises(SystemExit) as caught:
        load(VaultSettings, CourierSettings)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    lines = [line.split()[0] for line in said.splitlines()[1:]]
    assert sorted(lines) == [
        "COURIER_PAUSE_MS",
        "LOG_LEVEL",
        "VAULT_ALLOW_PLAINTEXT",
        "VAULT_DATABASE_DSN",
        "VAULT_DRAIN_GRACE_S",
        "VAULT_ENVIRONMENT",
        "VAULT_LEASE_MS",
        "VAULT_LISTEN",
        "VAULT_METRICS_PORT",
        "VAULT_ROOT_KEY",
    ], said
    assert "32 bytes, in hex" in said
    assert "the pause between two calls" in said
    assert "canary" not in said
    assert "mysql" not in said


def test_what_is_missing_is_named_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VAULT_DATABASE_DSN")
    with pytest.raises(SystemExit):
        load(VaultSettings)
    assert "VAULT_DATABASE_DSN is not set: postgresql://" in capsys.readouterr().err


def test_a_secret_is_not_shown_by_printing_the_settings() -> None:
    assert "canary" not in f"{load(VaultSettings)!r} {load(VaultSettings)}"


def test_typing_errors_are_found_with_what_was_meant() -> None:
    names = [
        "VAULT_LISTN",
        "VAULT_LEASE_MS",
        "VAULT_MIGRATE_DSN",
        "COURIER_PAUSE",
        "COURIER_ZZZZZZZZZZZZZZZ",
        "LOG_LEVEL",
        "SPIN_LISTEN",
        "PATH",
    ]
    assert unknown_variables([VaultSettings, CourierSettings], names) == [
        ("COURIER_PAUSE", "COURIER_PAUSE_MS"),
        ("COURIER_ZZZZZZZZZZZZZZZ", None),
        ("VAULT_LISTN", "VAULT_LISTEN"),
    ]


@pytest.mark.parametrize(
    "name",
    ["VAULT_SERVICE_HOST", "VAULT_SERVICE_PORT_GRPC", "VAULT_PORT", "VAULT_PORT_50055_TCP_ADDR"],
)
def test_what_kubernetes_sets_for_a_service_is_no_typing_error(name: str) -> None:
    assert unknown_variables([VaultSettings], [name]) == []


def test_settings_do_not_change() -> None:
    settings = load(CourierSettings)
    with pytest.raises(ValueError, match="frozen"):
        settings.pause_ms = 1.0
