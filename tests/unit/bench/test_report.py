"""The report that people read is what report.json says, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import plots, report


def test_the_committed_page_is_written_from_the_committed_figures() -> None:
    assert report.PAGE.read_text() == report.page(json.loads(report.REPORT.read_text()))


def test_the_same_figures_make_the_same_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "FOLDER", tmp_path)
    shown = {
        "title": "Latency against load", "x_title": "spins/s", "y_title": "ms",
        "lines": {"slots": [[200.0, 3.5], [1000.0, 9.25]], "table": [[200.0, 3.0], [1000.0, 4.0]]},
    }  # fmt: skip
    first = plots.draw("B1", shown).read_text()
    assert plots.draw("B1", shown).read_text() == first
    changed: dict[str, Any] = {**shown, "lines": {"slots": [[200.0, 3.5], [1000.0, 99.0]]}}
    assert plots.draw("B1", changed).read_text() != first
    # A page of figures fetches and runs nothing.
    assert "<script" not in first
    assert "href" not in first
