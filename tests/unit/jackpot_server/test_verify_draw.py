"""PR-15: a stranger's program, which shares no code with the engine, repeats all draws, notices changes."""

import ast
import base64
import io
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from jackpot_server import verify_draw
from jackpot_server.domain.draw import commitment
from jackpot_server.domain.facts import Recorded, Share
from jackpot_server.domain.pool import (
    GameSays,
    MustDropBy,
    MustHitBy,
    Odds,
    PoolConfig,
    canonical_text,
    config_digest,
)
from jackpot_server.domain.repeat_draw import DrawRecord, publish
from jackpot_server.verify_draw import verify
from jackpot_server.wire import answers
from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.support.engine import START, Engine, pool_config, spin

PROGRAM = Path(verify_draw.__file__)
EVEN = pool_config(Odds(one_in=2, per_wager_minor=100))
MYSTERY = pool_config(MustHitBy(1000, 1010), contribution_ppm=10_000)
# A spin a second: a pool falls about every seventh.
TIMED = pool_config(MustDropBy(7, START + timedelta(seconds=3)))


@st.composite
def configs(draw: st.DrawFn) -> PoolConfig:
    reset = draw(st.integers(1, 2000))
    ceiling = reset + draw(st.integers(1, 50))
    trigger = draw(
        st.one_of(
            st.builds(Odds, st.integers(1, 60), st.integers(1, 200)),
            st.builds(MustHitBy, st.integers(1, ceiling), st.just(ceiling)),
            st.builds(
                MustDropBy,
                st.integers(1, 20),
                st.builds(lambda s: START + timedelta(seconds=s), st.integers(-50, 50)),
            ),
        )
    )
    rate = draw(st.integers(10_000, 500_000))
    return pool_config(trigger, contribution_ppm=rate, reset_minor=reset)


def published(engine: Engine, config: PoolConfig, *, also_running: bool = False) -> list[dict[str, Any]]:
    """The records of all draws of the engine's only pool, as grpcurl prints them; of closed cycles."""
    text = canonical_text(config)
    pool = engine.pool("pool")
    opened: dict[int, tuple[Any, ...]] = {
        win.cycle: (win.proof.cycle_start_micros, win.proof.cycle_start_time, win.proof.cycle_deadline)
        for win in engine.wins.values()
    }
    opened[pool.cycle] = (pool.cycle_start_micros, pool.cycle_start_time, pool.cycle_deadline)
    records = []
    for recorded in engine.recorded.values():
        command, share = recorded.contribution.command, Share(*recorded.contribution.shares[0])
        seed = engine.seed(1, share.cycle)
        record = DrawRecord(
            pool_id="pool",
            cycle=share.cycle,
            spin_id=command.spin_id,
            client_seed=command.client_seed,
            wager_minor=command.wager_minor,
            config_json=text,
            config_sha256=config_digest(text),
            balance_micros=share.balance_micros,
            cycle_start_micros=opened[share.cycle][0],
            cycle_start_time=opened[share.cycle][1],
            cycle_deadline=opened[share.cycle][2],
            is_over=share.cycle < engine.pool("pool").cycle,
            won=("pool", command.spin_id) in engine.wins,
            key_id="root-1",
            seed_commitment=commitment(seed),
            commit_time=START - timedelta(days=1),
            draw_time=recorded.contribution.record_time,
        )
        if record.is_over or also_running:
            draw = publish(record, seed)
            assert draw is not None
            message = pb.GetDrawResponse()
            answers.fill_draw(message.draw, draw)
            records.append(json_format.MessageToDict(message))
    return records


def played(config: PoolConfig, wagers: list[tuple[int, str]]) -> Engine:
    engine = Engine({"pool": config})
    for number, (wager, seed) in enumerate(wagers, 1):  # a batch each: its clock is its own
        [answer] = engine.submit(spin(number, wager, client_seed=seed))
        assert isinstance(answer, Recorded)
    return engine


def wrong(record: object, noted: bytes = b"") -> list[str]:
    """The names of the steps that fail."""
    return [step.name for step in verify(record, noted) if not step.is_right]


@settings(max_examples=60)
@given(
    configs(), st.lists(st.tuples(st.integers(1, 10_000), st.sampled_from(["", "ünïcode ☘"])), max_size=40)
)
def test_pr_15_every_draw_of_the_engine_is_repeated_from_its_record(
    config: PoolConfig, wagers: list[tuple[int, str]]
) -> None:
    for record in published(played(config, wagers), config):
        assert wrong(record) == [], record


def draws_of(config: PoolConfig) -> list[dict[str, Any]]:
    draws = [record["draw"] for record in published(played(config, [(100, "lucky")] * 60), config)]
    assert {bool(draw.get("won")) for draw in draws} == {False, True}
    return draws


def flipped(data: str) -> str:
    """Base64 of the same bytes but for the last bit."""
    changed = bytearray(base64.b64decode(data))
    changed[-1] ^= 1
    return base64.b64encode(changed).decode()


ALTERED = [
    ("name", lambda value: value[:-1] + ("0" if value[-1] != "0" else "1")),
    ("pool", lambda value: value + "x"),
    ("cycle", lambda value: str(int(value) + 1)),
    ("spinId", lambda value: "ffffffff" + value[8:]),
    ("configSha256", flipped),
    ("configJson", lambda value: value.replace('"Pool"', '"P00l"')),
    ("seedCommitment", flipped),
    ("seed", flipped),
    ("won", lambda value: not value),
    ("commitTime", lambda value: value.replace("2025", "2036")),
]
ALTERED_ODDS = [
    ("clientSeed", lambda value: value + "!"),
    ("wagerMinor", lambda value: str(int(value) + 1)),
    ("value", flipped),
    ("threshold", flipped),
]
ALTERED_AMOUNTS = [
    ("reached", lambda value: "1"),
    ("hidden", lambda value: str(int(value) + 1)),
    ("cycleStartMicros", lambda value: str(int(value) + 1)),
]
ALTERED_MOMENTS = [
    ("reached", lambda value: str(int(value) + 1)),
    ("hidden", lambda value: str(int(value) - 1)),
    ("cycleStartTime", lambda value: value.replace("2026", "2027")),
    ("cycleDeadline", lambda value: value.replace("2026", "2027")),
    ("drawTime", lambda value: value.replace("2026", "2027")),
]


@pytest.mark.parametrize(
    ("config", "field", "alter"),
    [(EVEN, *each) for each in ALTERED + ALTERED_ODDS]
    + [(MYSTERY, *each) for each in ALTERED + ALTERED_AMOUNTS]
    + [(TIMED, *each) for each in ALTERED + ALTERED_MOMENTS],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pr_15_an_altered_record_is_not_proved(config: PoolConfig, field: str, alter: Any) -> None:
    for draw in draws_of(config):
        assert wrong(draw) == []
        assert wrong(draw | {field: alter(draw.get(field, False))}), draw


@pytest.mark.parametrize("config", [EVEN, MYSTERY, TIMED], ids=["odds", "must hit by", "must drop by"])
def test_pr_15_a_record_that_lacks_something_is_not_proved(config: PoolConfig) -> None:
    for draw in draws_of(config):
        # A text that is not in the proof, and what JSON leaves out where it is false.
        for field in (
            draw.keys() - {"keyId", "won"} - ({"wagerMinor", "clientSeed"} if config is not EVEN else set())
        ):
            assert wrong({name: value for name, value in draw.items() if name != field}), field


def test_pr_15_a_commitment_made_up_afterwards_is_noticed_by_who_noted_the_first() -> None:
    [draw, *_] = draws_of(EVEN)
    first = base64.b64decode(draw["seedCommitment"])
    assert wrong(draw, first) == []
    assert wrong(draw, bytes(32)) == ["noted"]


def test_pr_15_of_an_open_cycle_nothing_is_proved_yet() -> None:
    engine = played(EVEN, [(100, "")] * 60)
    [running] = [
        record
        for record in published(engine, EVEN, also_running=True)
        if int(record["draw"]["cycle"]) == engine.pool("pool").cycle
    ][-1:]
    assert "seed" not in running["draw"]
    [step] = [step for step in verify(running) if not step.is_right]
    assert "still open" in step.account


def test_a_threshold_that_always_wins_is_understood() -> None:
    [record] = published(played(EVEN, [(200, "")]), EVEN)
    assert len(base64.b64decode(record["draw"]["threshold"])) == 33
    assert wrong(record) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.data())
def test_whatever_stands_in_a_record_is_answered(data: st.DataObject) -> None:
    draw = dict(data.draw(st.sampled_from(FEW)))
    draw[data.draw(st.sampled_from(sorted(draw)))] = data.draw(JSON)
    for document in (draw, draw.get("name")):
        assert verify(document)


FEW = [draw for config in (EVEN, MYSTERY, TIMED) for draw in draws_of(config)[:2]]


def test_where_the_game_decides_nothing_was_drawn_and_nothing_is_proved() -> None:
    text = canonical_text(pool_config(GameSays()))
    digest = base64.b64encode(config_digest(text)).decode()
    [step] = [s for s in verify(FEW[0] | {"configJson": text, "configSha256": digest}) if not s.is_right]
    assert "the game itself decides" in step.account


def test_the_same_name_twice_in_a_record_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "draw.json"
    file.write_text(json.dumps(FEW[0])[:-1] + ', "won": true}')
    out = io.StringIO()
    assert verify_draw.check(str(file), "", out) == 1
    assert "twice" in out.getvalue()


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    imported = set()
    for node in ast.walk(ast.parse(PROGRAM.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("command", [["-I", "-S", str(PROGRAM)], ["-m", "jackpot_server", "verify-draw"]])
def test_pr_15_the_command_says_how_it_looked_and_by_its_status_whether_it_is_proved(
    command: list[str],
) -> None:
    draw = next(draw for draw in FEW if "value" in draw)
    for record, status, word in (
        (draw, 0, "followed"),
        (draw | {"won": not draw.get("won")}, 1, "not proved"),
    ):
        ran = subprocess.run(
            [sys.executable, *command, "-"],
            input=json.dumps({"draw": record}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == status, ran
        assert word in ran.stdout
        for step in ("commitment", "configuration", "draw", "threshold", "result"):
            assert any(line.split()[1] == step for line in ran.stdout.splitlines()[:-1]), step
