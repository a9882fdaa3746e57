"""docs/rules.md names every rule once, and tests that exist."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/rules.md").read_text()
PROMISES = [f"PR-{number:02}" for number in range(1, 24)] + [f"V{number}" for number in range(1, 9)]
REQUIREMENTS = [f"R{number}" for number in range(1, 43)]
# The first cell of a row.
ROW = re.compile(r"^\| (PR-\d\d|V\d|R\d+) \|(.*)\|$", re.MULTILINE)
STATES = {"tested", "not applicable", "open"}


def all_tests() -> set[str]:
    """The names of all tests of the project."""
    return {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


TESTS = all_tests()


def test_every_rule_and_requirement_has_one_row() -> None:
    assert Counter(name for name, _ in ROW.findall(TEXT)) == Counter(PROMISES + REQUIREMENTS)


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert named - TESTS == set()


@pytest.mark.parametrize("rule", PROMISES)
def test_every_promise_is_named_by_a_test(rule: str) -> None:
    number = "pr_" + rule[3:] if rule.startswith("PR") else rule.lower()
    assert [name for name in TESTS if f"_{number}_" in name]


@pytest.mark.parametrize(("rule", "row"), ROW.findall(TEXT), ids=lambda value: value.split(" ")[0])
def test_a_row_says_how_its_rule_is_kept(rule: str, row: str) -> None:
    cells = [cell.strip() for cell in row.split("|")]
    if rule.startswith("R"):
        assert cells[1] in STATES
        assert cells[2]
    if not rule.startswith("R") or cells[1] == "tested":
        assert re.search(r"`test_\w+`", cells[-1])
