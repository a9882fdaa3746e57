"""What a simulation found, as a table for people and as JSON for programs."""

import json

from rich.table import Table

from jackpot_server.randomness import LEAST_P
from jackpot_server.simulate_draws import Simulated
from jackpot_server.simulate_pool import PoolFigures
from service_kit.money import format_micros, format_minor


def draws_table(simulated: Simulated) -> Table:
    """One line per test."""
    table = Table(
        title=f"{simulated.draws:,} draws; fair: p between {LEAST_P:g} and 1 − {LEAST_P:g}",
        caption=f"root key {simulated.root_key.hex()}",
    )
    table.add_column("test")
    for column in ("counted", "expected", "p"):
        table.add_column(column, justify="right")
    table.add_column("")
    for finding in simulated.findings:
        table.add_row(
            finding.name,
            f"{finding.counted:,.7g}" if abs(finding.counted) < 1 else f"{finding.counted:,.1f}",
            f"{finding.expected:,.7g}" if abs(finding.expected) < 1 else f"{finding.expected:,.1f}",
            f"{finding.p_value:.6f}",
            "fair" if finding.is_fair else "NOT FAIR",
        )
    return table


def draws_json(simulated: Simulated) -> str:
    """The same for a program."""
    return json.dumps(
        {
            "root_key": simulated.root_key.hex(),
            "draws": simulated.draws,
            "is_fair": simulated.is_fair,
            "tests": [
                {
                    "name": finding.name,
                    "counted": finding.counted,
                    "expected": finding.expected,
                    "p_value": finding.p_value,
                    "is_fair": finding.is_fair,
                }
                for finding in simulated.findings
            ],
        },
        indent=2,
    )


def pool_table(figures: PoolFigures, root_key: bytes) -> Table:
    """One line per figure."""
    currency = figures.config.currency_code

    def money(amount_minor: int | None) -> str:
        return "–" if amount_minor is None else format_minor(amount_minor, currency)

    table = Table(
        title=f"{figures.pool_id}: {figures.wagers:,} wagers",
        caption=f"root key {root_key.hex()}",
        show_header=False,
        min_width=80,
    )
    table.add_column()
    table.add_column(justify="right")
    amounts = figures.amounts_minor
    for name, value in (
        ("wagered", money(figures.wagered_minor)),
        ("wagers that took no part", f"{figures.skipped:,}"),
        ("falls", f"{len(amounts):,}"),
        ("falls about every (wagered)", money(figures.wagered_per_win_minor)),
        ("average win", money(figures.average_minor)),
        ("smallest win", money(min(amounts, default=None))),
        ("largest win", money(max(amounts, default=None))),
        ("returned to players", _percent(figures.returned_ppm)),
        ("paid in (pool, reserve, overflow)", format_micros(figures.contributed_micros, currency)),
        ("added by the house to resets", format_micros(figures.house_micros, currency)),
        ("the house's part of what was wagered", _percent(figures.house_ppm)),
        ("left in the pool", format_micros(figures.current_micros, currency)),
        ("left in its reserve", format_micros(figures.reserve_micros, currency)),
        ("left in its overflow", format_micros(figures.overflow_micros, currency)),
    ):
        table.add_row(name, value)
    return table


def pool_json(figures: PoolFigures, root_key: bytes) -> str:
    """The same for a program."""
    amounts = figures.amounts_minor
    return json.dumps(
        {
            "pool": figures.pool_id,
            "currency_code": figures.config.currency_code,
            "root_key": root_key.hex(),
            "wagers": figures.wagers,
            "skipped": figures.skipped,
            "wagered_minor": figures.wagered_minor,
            "falls": len(amounts),
            "wagered_per_fall_minor": figures.wagered_per_win_minor,
            "average_minor": figures.average_minor,
            "least_minor": min(amounts, default=None),
            "most_minor": max(amounts, default=None),
            "returned_ppm": figures.returned_ppm,
            "contributed_micros": figures.contributed_micros,
            "house_micros": figures.house_micros,
            "house_ppm": figures.house_ppm,
            "current_micros": figures.current_micros,
            "reserve_micros": figures.reserve_micros,
            "overflow_micros": figures.overflow_micros,
        },
        indent=2,
    )


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.4f} %"
