"""Plots of the report's rows: each an SVG of its own in bench/plots/, drawn from what report.json keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

FOLDER = Path(__file__).parent / "plots"
STYLE = Style(background="white", plot_background="white", font_family="sans-serif")


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over a common axis. `lines`: by name, points (x, y)."""

    title: str
    x_title: str
    y_title: str
    lines: dict[str, list[tuple[float, float]]]


def draw(name: str, plot: dict[str, Any]) -> Path:
    """Writes the plot of this row, as report.json keeps it; the same file for the same figures."""
    chart = pygal.XY(
        title=plot["title"],
        x_title=plot["x_title"],
        y_title=plot["y_title"],
        style=STYLE,
        js=(),
        width=720,
        height=400,
        legend_at_bottom=True,
        include_x_axis=True,
        show_minor_x_labels=False,
    )
    chart.uuid = name
    chart.add_xml_filter(_without_scripts)
    for line, points in plot["lines"].items():
        chart.add(line, [tuple(point) for point in points])
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.svg"
    file.write_bytes(chart.render())
    return file


def _without_scripts(root: Any) -> Any:
    """A page of figures runs nothing."""
    for parent in list(root.iter()):
        for script in parent.findall("script"):
            parent.remove(script)
    return root
