"""What is installed is pinned, hashed, and comes from wherever the reader's pip looks."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)(?:\[[a-z,]+\])?==(\S+)")


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text().splitlines()
    return {match[1]: match[2] for line in lines if (match := PIN.match(line))}


def required(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [
        line for extra in extras for line in project["optional-dependencies"][extra]
    ]
    return {re.split(r"[\[><=;]", line)[0].strip().lower().replace("_", "-") for line in lines}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_folder(lock: str) -> None:
    suspicious = [line for line in (ROOT / lock).read_text().splitlines() if "/" in line or "index" in line]
    assert suspicious == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    blocks = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    assert [block.partition(" ")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_every_dependency_is_pinned() -> None:
    assert required() - pins("requirements.lock").keys() == set()
    assert required("dev") - pins("requirements-dev.lock").keys() == set()


def test_development_uses_the_versions_of_production() -> None:
    production, development = pins("requirements.lock"), pins("requirements-dev.lock")
    assert production.items() - development.items() == set()
