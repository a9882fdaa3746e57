"""What deploy/ and the Dockerfile say, held against what the programs know."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jackpot_outbox.settings import OutboxSettings, SidecarSettings
from jackpot_server.settings import ApplySettings, JackpotSettings
from jackpot_server.settings import MigrateSettings as JackpotMigrateSettings
from service_kit.settings import ProcessSettings
from spin_server.settings import MigrateSettings as SpinMigrateSettings
from spin_server.settings import SpinSettings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "deploy/compose.yaml").read_text()
SETTINGS: tuple[type[ProcessSettings], ...] = (
    SpinSettings, SpinMigrateSettings, JackpotSettings, JackpotMigrateSettings, ApplySettings,
    OutboxSettings, SidecarSettings,
)  # fmt: skip
OURS = re.compile(r"\b(?:SPIN|JACKPOT|OUTBOX)_[A-Z_]+(?==|:\s|`)")
# Passwords that the database is made with, and reasons of errors.
OTHERS = {"SPIN_SERVER_PASSWORD", "JACKPOT_SERVER_PASSWORD", "SPIN_ID_REUSED"}


def known_variables() -> set[str]:
    return {settings.variable(field) for settings in SETTINGS for field in settings.model_fields}


@pytest.mark.parametrize(
    "file", ["deploy/compose.yaml", "deploy/secrets.sh", "docs/integration.md", "docs/container.md"]
)
def test_every_setting_that_is_written_down_exists(file: str) -> None:
    named = set(OURS.findall((ROOT / file).read_text()))
    assert named
    assert named - OTHERS - known_variables() == set()


def test_a_setting_that_does_not_exist_would_be_found() -> None:
    assert OURS.findall("      SPIN_LISTENS: 0.0.0.0:50051") == ["SPIN_LISTENS"]
    assert "SPIN_LISTENS" not in known_variables()


def test_compose_publishes_only_on_the_loopback() -> None:
    published = re.findall(r'- "?([\d.:]+:\d+)"?$', COMPOSE, re.MULTILINE)
    assert len(published) == 4
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_text((ROOT / "deploy/secrets.sh").read_text())

    def run() -> None:
        subprocess.run(["sh", str(script)], check=True, capture_output=True, timeout=20)

    run()
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert set(re.findall(r"secrets/(\w+(?:\.env)?)", COMPOSE)) == made.keys()
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    secret_texts = re.findall(r"[0-9a-f]{48,}", "".join(made.values()))
    # Five passwords, four of them in a DSN too, and the key.
    assert len(secret_texts) == 10
    assert len(set(secret_texts)) == 6
    run()
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == made


def test_the_image_gets_every_package_that_it_needs_and_nothing_else() -> None:
    allowed = re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(allowed) - {"LICENSE"} == {
        "protos", "service_kit", "jackpot_outbox", "jackpot_server", "spin_server"
    }  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"],
    ],
    ids=lambda command: command[0],
)
def test_the_linters_of_deploy_have_nothing_to_say(command: list[str]) -> None:
    program = Path(sys.executable).with_name(command[0])
    outcome = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
