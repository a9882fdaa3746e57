"""The monitor's picture: made for a terminal of 80 columns and 24 lines, and wider where there is room."""

from collections.abc import Sequence
from math import ceil

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jackpot_server import narration
from jackpot_server.monitor_picture import Picture
from jackpot_server.scrape import Times
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.money import MICROS, format_minor

# The rest of the 24 lines is for what is always there.
MOST_POOLS = 6
BAR_WIDTH = 14
WIDEST = 110
_BARS = " ▁▂▃▄▅▆▇█"
_COLOURS = {"spins": "cyan", "contributions": "green", "wins": "yellow"}
_ACTIVE = pb.Pool.STATE_ACTIVE


def render(picture: Picture, size: ConsoleDimensions) -> RenderableType:
    """The whole picture, no wider than `size`."""
    width = min(size.width, WIDEST)
    below = Table.grid(expand=True, padding=(0, 0))
    below.add_column(ratio=9)
    below.add_column(ratio=7)
    below.add_row(_paths(picture), _health(picture))
    body = Group(_header(picture), _last_minute(picture, width), _pools(picture), below, _events(picture))
    frame = Table.grid()
    frame.add_column(width=width)
    frame.add_row(body)
    return frame


def _header(picture: Picture) -> Text:
    rates = picture.per_second
    return Text.assemble(
        (" AFTERSPIN ", "bold reverse"),
        (f"  {rates['spins']:,.0f} spins/s", _COLOURS["spins"]),
        (f"  {rates['contributions']:,.0f} contributions/s", _COLOURS["contributions"]),
        (f"  {rates['wins']:.1f} wins/s", _COLOURS["wins"]),
        (f"  {rates['replays']:,.0f} replays/s" if rates["replays"] else "", "dim"),
    )


def _last_minute(picture: Picture, width: int) -> Text:
    """A bar per look for each rate, the highest one full; the newest is the rightmost."""
    line = Text(no_wrap=True)
    each = width // len(_COLOURS) - 1
    for name, colour in _COLOURS.items():
        values = [rates[name] for rates in picture.history][-each:]
        line.append(" " + sparkline(values).rjust(each), colour)
    return line


def sparkline(values: Sequence[float]) -> str:
    """A character per value, as high as its part of the largest one; nothing for nothing."""
    largest = max(values, default=0.0)
    if not largest:
        return " " * len(values)
    return "".join(_BARS[ceil(value / largest * (len(_BARS) - 1))] for value in values)


def _pools(picture: Picture) -> RenderableType:
    pools = picture.look.pools
    if pools is None:
        return Panel(Text("the jackpot server does not answer", style="bold red"), title="pools")
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("pool", no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True, style="bold")
    table.add_column("falls", no_wrap=True)
    table.add_column("", width=BAR_WIDTH)
    table.add_column("cycle", justify="right")
    table.add_column("last win", justify="right", no_wrap=True)
    for pool in pools[:MOST_POOLS]:
        currency = pool.config.currency_code
        last = format_minor(pool.last_win.amount_minor, currency) if pool.HasField("last_win") else "–"
        name = pool.config.tier
        if pool.state != _ACTIVE:
            name += f" ({pb.Pool.State.Name(pool.state).removeprefix('STATE_').lower()})"
        amount = format_minor(pool.balance.amount_minor, currency)
        table.add_row(name, amount, _falls(pool), _bar(pool), f"{pool.cycle:,}", last)
    more = len(pools) - MOST_POOLS
    return Panel(table, title="pools", subtitle=f"and {more} more" if more > 0 else None, padding=(0, 0))


def _falls(pool: pb.Pool) -> str:
    config = pool.config
    match config.WhichOneof("trigger"):
        case "must_hit_by":
            return f"by {format_minor(config.must_hit_by.ceiling_minor, config.currency_code)}"
        case "odds":
            return f"1 in {config.odds.one_in:,}"
        case "must_drop_by":
            return "by its deadline"
        case _:
            return "with its game"


def _bar(pool: pb.Pool) -> RenderableType:
    """How far a pool has come from its reset to its ceiling, if it has one."""
    trigger = pool.config.WhichOneof("trigger")
    ceiling = pool.config.must_hit_by.ceiling_minor if trigger == "must_hit_by" else pool.config.ceiling_minor
    way = (ceiling - pool.config.reset_minor) * MICROS
    if way <= 0:
        return Text("")
    come = max(0, pool.balance_micros - pool.config.reset_minor * MICROS)
    return ProgressBar(total=way, completed=min(come, way), width=BAR_WIDTH)


def _paths(picture: Picture) -> Panel:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("path", no_wrap=True)
    for column in ("per s", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for path, times in picture.times.items():
        if path == "jackpot in answer" and not times.per_second:
            continue
        table.add_row(path, f"{times.per_second:,.0f}", _ms(times, "p50_ms"), _ms(times, "p99_ms"))
    sizes = ", ".join(f"{size:.1f} {name}" for name, size in picture.batch_size.items() if size is not None)
    return Panel(
        Group(table, Text(f" a batch: {sizes or 'none'}", style="dim")), title="times", padding=(0, 0)
    )


def _health(picture: Picture) -> Panel:
    gauges, look = picture.gauges, picture.look
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    if look.spin is None:
        table.add_row("outbox", Text("metrics do not answer", style="red"))
    else:
        table.add_row("outbox", f"{gauges['open'] or 0:,.0f} open, {gauges['oldest_s'] or 0:.1f} s")
        parked = gauges["parked"] or 0
        table.add_row("parked", Text(f"{parked:,.0f}", style="bold red" if parked else ""))
        held_back = bool(gauges["held back"])
        table.add_row(
            "calls", Text("held back" if held_back else "going", style="red" if held_back else "green")
        )
    cache = look.info.cache if look.info else None
    if cache is None:
        table.add_row("cache", "unknown")
    else:
        state = f"{cache.kind} {cache.version}" if cache.reachable else "does not answer"
        table.add_row("cache", Text(state, style="green" if cache.reachable else "red"))
    if look.jackpot is None:
        table.add_row("jackpot", Text("metrics do not answer", style="red"))
    else:
        table.add_row("watchers", f"{gauges['watchers'] or 0:,.0f}")
    return Panel(table, title="health")


def _events(picture: Picture) -> Panel:
    lines = Text(no_wrap=True, overflow="ellipsis")
    for win in picture.look.wins or ():
        amount = narration.amount(win.amount.amount_minor * MICROS, win.amount.currency_code)
        when = win.decide_time.ToDatetime().strftime("%H:%M:%S")
        state = pb.Win.State.Name(win.state).removeprefix("STATE_").lower()
        lines.append(f"{when} ", "dim")
        lines.append(narration.won(win.tier), "yellow")
        lines.append(f" {amount}, {state}\n")
    lines.rstrip()
    return Panel(lines if lines else Text("no win yet", style="dim"), title="last events")


def _ms(times: "Times", name: str) -> str:
    value = getattr(times, name)
    return "–" if value is None else f"{value:,.1f}"
