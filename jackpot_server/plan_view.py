"""A plan for people, as a table, and for programs."""

import json
from dataclasses import fields
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from jackpot_server.domain.commands import GameCategory, StakeKind
from jackpot_server.domain.plan import FieldChange, Plan, PoolChange
from jackpot_server.domain.pool import GameSays, MustDropBy, MustHitBy, Odds, trigger_name

_NAMES: dict[str, type[GameCategory] | type[StakeKind]] = {
    "game_categories": GameCategory,
    "stake_kinds": StakeKind,
}


def show(plan: Plan, console: Console) -> None:
    """What differs, field by field; a line for what does not."""
    if not plan.is_empty:
        table = Table(title="plan", title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("pool", "field", "is", "will be", "takes effect"):
            table.add_column(column, overflow="fold")
        for mark, style, changes in (("+", "green", plan.created), ("~", "yellow", plan.changed)):
            for change in changes:
                for number, each in enumerate(change.fields):
                    pool_id = f"{mark} {change.pool_id}" if number == 0 else ""
                    before = "" if each.before is None else _text(each.field, each.before)
                    after = _text(each.field, each.after)
                    table.add_row(pool_id, each.field, before, after, each.effect.value, style=style)
        console.print(table)
    for verb, pool_ids in (("unchanged", plan.unchanged), ("left alone", plan.left_alone)):
        if pool_ids:
            console.print(f"{verb}: {', '.join(pool_ids)}", highlight=False)


def to_json(plan: Plan, *, is_done: bool) -> str:
    """The same for a program. `is_done`: whether it was carried out."""

    def shown(change: PoolChange) -> dict[str, Any]:
        return {"pool": change.pool_id, "fields": [_field(each) for each in change.fields]}

    return json.dumps(
        {
            "applied": is_done,
            "created": [shown(change) for change in plan.created],
            "changed": [shown(change) for change in plan.changed],
            "unchanged": plan.unchanged,
            "left_alone": plan.left_alone,
        },
        indent=2,
    )


def _field(change: FieldChange) -> dict[str, Any]:
    return {
        "field": change.field,
        "before": _plain(change.field, change.before),
        "after": _plain(change.field, change.after),
        "takes_effect": change.effect.value,
    }


def _text(field: str, value: Any) -> str:
    plain = _plain(field, value)
    if isinstance(plain, dict):
        ((name, parts),) = plain.items()
        return f"{name} " + ", ".join(f"{part} {_text('', inner)}" for part, inner in parts.items())
    if isinstance(plain, list):
        return ", ".join(map(str, plain)) or "everybody"
    return f"{plain:,}" if isinstance(plain, int) and not isinstance(plain, bool) else str(plain)


def _plain(field: str, value: Any) -> Any:
    """As `jackpots.toml` has it."""
    if isinstance(value, Odds | MustHitBy | MustDropBy | GameSays):
        parts = {part.name: _plain("", getattr(value, part.name)) for part in fields(value)}
        return {trigger_name(value): parts}
    if isinstance(value, tuple):
        return [_NAMES[field](each).name if field in _NAMES else each for each in value]
    return value.isoformat() if isinstance(value, datetime) else value
