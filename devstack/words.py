"""What `make run` says: amounts, spins, their jackpots, and commands to paste."""

import json
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from devstack.player import CURRENCY, OPERATOR, PROVIDER, SLOTS, USER, WAGER_MINOR, WALLET, Played
from protos.jackpot.v1 import jackpot_pb2
from protos.spin.v1 import spin_pb2
from service_kit.money import format_micros, format_minor


def coins(amount_minor: int) -> str:
    """`1,234.50`."""
    return format_minor(amount_minor, CURRENCY).removesuffix(f" {CURRENCY}")


def exact_coins(micros: int) -> str:
    """`0.0015`: every digit that is not a trailing zero, at least two."""
    whole, _, fraction = format_micros(micros, CURRENCY).removesuffix(f" {CURRENCY}").partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


def duration(seconds: float) -> str:
    """`1.6 ms`, and from one second on `1.6 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def answered(played: Played) -> str:
    """One spin as its caller saw it."""
    spin = played.spin
    outcome = f"pays {coins(spin.payout.amount_minor)}" if spin.payout.amount_minor else "pays nothing"
    return (
        f"{spin.game_id}: {coins(spin.wager.amount_minor)} {outcome}, answered in "
        f"{duration(played.answer_s)}; balance {coins(spin.balance.amount_minor)}"
    )


def followed(spin: spin_pb2.Spin, after_s: float) -> Iterator[str]:
    """What the jackpot server made of a spin, a line for the shares and one for each win."""
    states = spin_pb2.Spin.JackpotState
    if spin.jackpot_state == states.JACKPOT_STATE_NOT_APPLICABLE:
        yield "no jackpot: this game is not SLOTS"
        return
    if spin.jackpot_state != states.JACKPOT_STATE_RECORDED:
        state = states.Name(spin.jackpot_state).removeprefix("JACKPOT_STATE_").lower()
        yield f"its jackpot is {state} after {duration(after_s)}"
        return
    shares = [f"{pool_id(share.pool)} +{exact_coins(share.amount_micros)}" for share in spin.jackpot_shares]
    yield f"{duration(after_s)} later: {', '.join(shares) or 'no share'}"
    yield from wins(spin, after_s)


def wins(spin: spin_pb2.Spin, after_s: float) -> Iterator[str]:
    """A line for each pool that fell to this spin."""
    for win in spin.jackpot_wins:
        state = spin_pb2.JackpotWin.State.Name(win.state).removeprefix("STATE_").lower()
        amount = f"{coins(win.amount.amount_minor)} {CURRENCY}"
        when = f"{duration(after_s)} after the spin's answer"
        yield f"*** {pool_id(win.pool)} falls: {amount}, {state} {when}"


def amounts(pools: Sequence[jackpot_pb2.Pool]) -> str:
    """`mini 0.43  minor 25.12 …`."""
    return "  ".join(f"{pool_id(pool.name)} {coins(pool.balance.amount_minor)}" for pool in pools)


def pool_id(name: str) -> str:
    """`mini` of `pools/mini`."""
    return name.removeprefix("pools/")


def grpcurl_commands(spin_address: str, jackpot_address: str) -> Iterator[tuple[str, str]]:
    """Commands that run as they stand, each with what it does; the spin's id is a new one."""
    spin_id = str(uuid.uuid4())
    spin = {
        "spin_id": spin_id,
        "operator_id": OPERATOR,
        "user_id": USER,
        "wallet_id": WALLET,
        "game_id": SLOTS,
        "provider_name": PROVIDER,
        "provider_round_id": "by-hand",
        "wager": {"currency_code": CURRENCY, "amount_minor": WAGER_MINOR},
        "payout": {"currency_code": CURRENCY, "amount_minor": 0},
    }
    spins, jackpots = "spin.v1.SpinService", "jackpot.v1.JackpotService"
    yield (
        "settle a spin (again: the same decision, replayed)",
        _grpcurl(spin_address, f"{spins}/SettleSpin", spin),
    )
    yield (
        "what its jackpot came to",
        _grpcurl(spin_address, f"{spins}/WaitForJackpot", {"name": f"spins/{spin_id}"}),
    )
    yield (
        "the wallet",
        _grpcurl(spin_address, "spin.v1.WalletService/GetWallet", {"name": f"wallets/{WALLET}"}),
    )
    yield "a pool", _grpcurl(jackpot_address, f"{jackpots}/GetPool", {"name": "pools/mini"})
    yield (
        "the last wins",
        _grpcurl(jackpot_address, f"{jackpots}/ListWins", {"operator_id": OPERATOR, "page_size": 5}),
    )
    yield "pools as they grow, until Ctrl-C", _grpcurl(jackpot_address, f"{jackpots}/WatchPools", {})


def _grpcurl(address: str, method: str, request: object) -> str:
    program = Path(sys.executable).with_name("grpcurl")
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    # grpcurl takes a Unix socket as a path, with a flag of its own.
    target = f"-unix {address.removeprefix('unix:')}" if address.startswith("unix:") else address
    return f"{program} -plaintext -d '{json.dumps(request)}' {target} {method}"
