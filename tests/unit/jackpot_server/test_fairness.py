"""docs/fairness.md: its vectors are what the engine draws, and a stranger's program repeats them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import fairness

PROGRAM = Path(__file__).parents[3] / "docs/examples/node/fairness.mjs"


def test_pr_15_the_vectors_are_what_the_engine_draws() -> None:
    assert json.loads(fairness.FILE.read_text("utf-8")) == fairness.vectors()


def test_pr_15_the_vectors_have_winners_losers_and_every_kind_of_hidden_value() -> None:
    vectors = fairness.vectors()
    assert {draw["won"] for draw in vectors["draws"]} == {True, False}
    amounts = [int(each["hidden_micros"]) for each in vectors["hidden_amounts"]]
    assert all(20_000_000 <= amount <= 60_000_000 for amount in amounts)
    assert len(set(amounts)) > 3
    assert len({each["hidden_us"] for each in vectors["hidden_moments"]}) == len(vectors["hidden_moments"])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
def test_pr_15_a_program_written_from_the_page_alone_repeats_them(tmp_path: Path) -> None:
    ran = run(fairness.FILE)
    assert (ran.returncode, ran.stderr) == (0, "")
    values = sum(len(each) for name, each in fairness.vectors().items() if name != "root_key")
    assert int(ran.stdout.split()[0]) > values
    other = fairness.vectors()
    other["draws"][0]["client_seed"] = "another"
    changed = tmp_path / "vectors.json"
    changed.write_text(json.dumps(other))
    assert run(changed).returncode == 1


def run(file: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["node", str(PROGRAM), str(file)], capture_output=True, text=True, check=False)
