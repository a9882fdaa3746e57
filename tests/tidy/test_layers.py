"""Who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOMAINS = sorted(ROOT.glob("*/domain"))
# The standard library, but no I/O, clock or randomness: those are passed in.
IMPURE = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
    "shutil", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


def imported_by(file: Path) -> Iterator[str]:
    package = ".".join(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield f"{package}.{module}".rstrip(".") if node.level else module


def is_pure(module: str, domain: str) -> bool:
    top = module.partition(".")[0]
    return (
        module == "service_kit.money"
        or module == domain
        or module.startswith(f"{domain}.")
        or (top in sys.stdlib_module_names and top not in IMPURE)
    )


def test_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([linter, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.parent.name)
def test_a_domain_imports_only_itself_money_and_the_pure_standard_library(domain: Path) -> None:
    package = ".".join(domain.relative_to(ROOT).parts)
    foreign = [
        f"{file.relative_to(ROOT)}: {module}"
        for file in sorted(domain.glob("*.py"))
        for module in imported_by(file)
        if not is_pure(module, package)
    ]
    assert foreign == []


def test_both_servers_have_a_domain() -> None:
    assert [domain.parent.name for domain in DOMAINS] == ["jackpot_server", "spin_server"]


@pytest.mark.parametrize(
    ("module", "pure"),
    [("json", True), ("service_kit.money", True), ("spin_server.domain.game", True), ("random", False),
     ("asyncpg", False), ("service_kit.errors", False), ("spin_server.store", False), ("os.path", False)],
)  # fmt: skip
def test_the_domain_check_tells_pure_from_impure(module: str, pure: bool) -> None:
    assert is_pure(module, "spin_server.domain") is pure


def test_only_the_outbox_client_calls_a_jackpot_server() -> None:
    """Beside what a person starts to look at one from outside."""
    product = (file for part in ("service_kit", "jackpot_outbox", "jackpot_server", "spin_server")
               for file in (ROOT / part).rglob("*.py"))  # fmt: skip
    users = [str(file.relative_to(ROOT)) for file in product if "JackpotServiceStub" in file.read_text()]
    looking = {"jackpot_server/monitor.py", "jackpot_server/probe.py"}
    assert set(users) - looking == {"jackpot_outbox/client.py"}


@pytest.mark.parametrize("server", ["jackpot_server", "spin_server"])
def test_a_server_starts_without_what_only_migrations_need(server: str) -> None:
    look = f"import sys, {server}.__main__; print('alembic' in sys.modules)"
    outcome = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert outcome.stdout.strip() == "False"
