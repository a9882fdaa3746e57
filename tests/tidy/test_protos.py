"""The contract and the code generated from it."""

import subprocess
import sys
from pathlib import Path

import pytest

from protos import generate

ROOT = Path(__file__).parents[2]


def test_generated_code_is_current() -> None:
    assert generate.differences() == []


def test_stale_generated_code_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "project"
    for path, content in generate.generated_files(ROOT).items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes(content)
    for proto in ROOT.glob("protos/*/v*/*.proto"):
        (copy / proto.relative_to(ROOT)).write_text(proto.read_text())
    monkeypatch.setattr(generate, "ROOT", copy)
    assert generate.differences() == []
    contract = copy / "protos/spin/v1/spin.proto"
    contract.write_text(contract.read_text().replace("int64 commit_micros = 2;", "int64 commit_ns = 2;"))
    assert "protos/spin/v1/spin_pb2.pyi" in generate.differences()


def test_the_contract_lints() -> None:
    buf = Path(sys.executable).with_name("buf")
    outcome = subprocess.run([buf, "lint", "protos"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout
