"""Requests to commands and queries. Each raises INVALID_FIELDS with all violations of its request."""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from jackpot_server.domain.commands import Acknowledge, Contribute, GameCategory, Outcome, StakeKind, Void
from jackpot_server.domain.facts import WinState
from jackpot_server.queries import (
    ContributionsQuery,
    EventsQuery,
    PoolsQuery,
    WatchQuery,
    WinsQuery,
)
from jackpot_server.wire import tokens
from jackpot_server.wire.checks import LONGEST_ENTRY_ID, Checks
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.checks import (
    LONGEST_ROUND_ID,
    LONGEST_SEED_BYTES,
    in_range,
    is_country,
    is_uuid,
    parse_uuid,
    to_datetime,
)
from service_kit.errors import Refusal
from service_kit.money import CURRENCIES, MAX_AMOUNT_MINOR

MAX_BATCH: Final = 500
MAX_WAIT_S: Final = 30
MAX_WATCHED: Final = 1000
# A spin takes part in no more pools.
MAX_CREDITED: Final = 16

P = TypeVar("P")

_CATEGORIES: Final = frozenset(map(int, GameCategory))
_STAKE_KINDS: Final = frozenset(map(int, StakeKind))
# An unspecified stake kind is cash, for a repeat too.
_STAKE_KIND_OF: Final = {0: int(StakeKind.CASH), **{int(kind): int(kind) for kind in StakeKind}}

# All ids of a contribution at once: none can hold a space, so five spaces part six ids.
_are_ids = re.compile(
    f"[!-~]{{1,64}} [!-~]{{1,64}} [!-~]{{1,64}} [!-~]{{1,64}} [!-~]{{0,64}} [!-~]{{0,{LONGEST_ROUND_ID}}}"
).fullmatch


def contribution(request: pb.RecordContributionRequest) -> Contribute:
    """The hot path: one test for everything; only a request that fails it is taken apart to say why."""
    spin_id = request.spin_id
    operator_id = request.operator_id
    user_id = request.user_id
    wallet_id = request.wallet_id
    game_id = request.game_id
    provider_name = request.provider_name
    round_id = request.provider_round_id
    client_seed = request.client_seed
    country_code = request.country_code
    category = request.game_category
    stake_kind = _STAKE_KIND_OF.get(request.stake_kind)
    wager = request.wager
    currency_code = wager.currency_code
    wager_minor = wager.amount_minor
    occur_time = request.occur_time if request.HasField("occur_time") else None
    if (
        stake_kind is None
        or request.triggered_tiers
        or category not in _CATEGORIES
        or not 1 <= wager_minor <= MAX_AMOUNT_MINOR
        or currency_code not in CURRENCIES
        or not is_uuid(spin_id)
        or not _are_ids(f"{operator_id} {user_id} {wallet_id} {game_id} {provider_name} {round_id}")
        or not (
            client_seed.isascii() and client_seed.isprintable() and len(client_seed) <= LONGEST_SEED_BYTES
        )
        or (country_code and not is_country(country_code))
        or (occur_time is not None and not in_range(occur_time))
    ):
        return examined_contribution(request)
    return Contribute(
        parse_uuid(spin_id),
        user_id,
        wallet_id,
        round_id,
        client_seed,
        wager_minor,
        operator_id,
        currency_code,
        category,
        game_id,
        provider_name,
        stake_kind,
        country_code,
        (),
        None if occur_time is None else to_datetime(occur_time),
    )


def examined_contribution(request: pb.RecordContributionRequest) -> Contribute:
    """The thorough way: says what is wrong with each field."""
    check = Checks()
    command = Contribute(
        spin_id=check.uuid("spin_id", request.spin_id),
        operator_id=check.opaque_id("operator_id", request.operator_id),
        user_id=check.opaque_id("user_id", request.user_id),
        wallet_id=check.opaque_id("wallet_id", request.wallet_id),
        currency_code=check.currency("wager.currency_code", request.wager.currency_code),
        wager_minor=check.amount("wager.amount_minor", request.wager.amount_minor, least=1),
        game_category=check.enum("game_category", request.game_category, _CATEGORIES),
        game_id=check.opaque_id("game_id", request.game_id),
        provider_name=check.opaque_id("provider_name", request.provider_name, optional=True),
        provider_round_id=check.opaque_id(
            "provider_round_id", request.provider_round_id, longest=LONGEST_ROUND_ID, optional=True
        ),
        stake_kind=check.enum("stake_kind", request.stake_kind, _STAKE_KINDS, optional=True)
        or StakeKind.CASH,
        country_code=check.country("country_code", request.country_code),
        client_seed=check.client_seed("client_seed", request.client_seed),
        triggered_tiers=check.tiers("triggered_tiers", request.triggered_tiers),
        occur_time=check.time("occur_time", request.occur_time, request.HasField("occur_time")),
    )
    check.done()
    return command


def contributions(request: pb.BatchRecordContributionsRequest) -> list[Contribute | Refusal]:
    """`results[i]` is `requests[i]`, or what a call of its own would have been refused with."""
    check = Checks()
    _check_count(check, "requests", request.requests)
    check.done()
    parsed: list[Contribute | Refusal] = []
    for item in request.requests:
        try:
            parsed.append(contribution(item))
        except Refusal as refusal:
            parsed.append(refusal)
    return parsed


def acknowledgement(request: pb.AcknowledgeWinRequest) -> Acknowledge:
    check = Checks()
    pool_id, spin_id = check.win_name("name", request.name)
    outcome = check.enum("outcome", request.outcome, frozenset(Outcome))
    credited = request.credited if request.HasField("credited") else None
    wallet_entry_id = check.opaque_id(
        "wallet_entry_id",
        request.wallet_entry_id,
        longest=LONGEST_ENTRY_ID,
        optional=outcome != Outcome.CREDITED,
    )
    if credited is not None:
        check.currency("credited.currency_code", credited.currency_code)
        check.amount("credited.amount_minor", credited.amount_minor, least=0)
    elif outcome == Outcome.CREDITED:
        check.wrong("credited", "must be given")
    credit_time = check.time("credit_time", request.credit_time, request.HasField("credit_time"))
    failure_reason = check.text("failure_reason", request.failure_reason)
    event_sequence = check.not_negative("event_sequence", request.event_sequence)
    check.done()
    return Acknowledge(
        pool_id=pool_id,
        spin_id=spin_id,
        outcome=Outcome(outcome),
        wallet_entry_id=wallet_entry_id,
        credited_minor=credited.amount_minor if credited is not None else None,
        currency_code=credited.currency_code if credited is not None else "",
        event_sequence=event_sequence,
        credit_time=credit_time,
        failure_reason=failure_reason,
    )


def void(request: pb.VoidContributionRequest) -> Void:
    check = Checks()
    spin_id = check.uuid("spin_id", request.spin_id)
    operator_id = check.opaque_id("operator_id", request.operator_id)
    if len(request.credited_wins) > MAX_CREDITED:
        check.wrong("credited_wins", f"must be at most {MAX_CREDITED}")
    pool_ids = set()
    for index, name in enumerate(request.credited_wins):
        pool_id, win_spin_id = check.win_name(f"credited_wins[{index}]", name)
        pool_ids.add(pool_id)
        if pool_id and win_spin_id != spin_id:
            check.wrong(f"credited_wins[{index}]", "must be a win of this spin")
    reason = check.text("reason", request.reason)
    check.done()
    return Void(spin_id, operator_id, tuple(sorted(pool_ids)), reason)


def contribution_name(request: pb.GetContributionRequest) -> UUID:
    check = Checks()
    spin_id = check.contribution_name("name", request.name)
    check.done()
    return spin_id


def contribution_names(request: pb.BatchGetContributionsRequest) -> list[UUID]:
    """`results[i]` is the spin's id in `names[i]`."""
    check = Checks()
    _check_count(check, "names", request.names)
    check.done()
    spin_ids = [check.contribution_name(f"names[{index}]", name) for index, name in enumerate(request.names)]
    check.done()
    return spin_ids


def win_name(request: pb.GetWinRequest) -> tuple[str, UUID]:
    """The pool's id and the spin's."""
    check = Checks()
    pool_id, spin_id = check.win_name("name", request.name)
    check.done()
    return pool_id, spin_id


def draw_name(request: pb.GetDrawRequest) -> tuple[str, UUID]:
    """The pool's id and the spin's."""
    check = Checks()
    pool_id, spin_id = check.draw_name("name", request.name)
    check.done()
    return pool_id, spin_id


def pool_name(request: pb.GetPoolRequest | pb.GetPoolRulesRequest) -> str:
    """The pool's id."""
    check = Checks()
    pool_id = check.pool_name("name", request.name)
    check.done()
    return pool_id


def contributions_query(request: pb.ListContributionsRequest) -> ContributionsQuery:
    check = Checks()
    operator_id = check.opaque_id("operator_id", request.operator_id)
    start = check.time("start_time", request.start_time, request.HasField("start_time"))
    end = check.time("end_time", request.end_time, request.HasField("end_time"))
    check.period(start, end)
    page_size = check.page_size("page_size", request.page_size)
    after = _position(check, request.page_token, tokens.contribution_position, operator_id, start, end)
    check.done()
    return ContributionsQuery(operator_id, start, end, page_size, after)


def wins_query(request: pb.ListWinsRequest) -> WinsQuery:
    check = Checks()
    operator_id = check.opaque_id("operator_id", request.operator_id, optional=True)
    pool_id = check.pool_name("pool", request.pool, optional=True)
    state = check.enum("state", request.state, frozenset(WinState), optional=True)
    start = check.time("start_time", request.start_time, request.HasField("start_time"))
    end = check.time("end_time", request.end_time, request.HasField("end_time"))
    check.period(start, end)
    page_size = check.page_size("page_size", request.page_size)
    after = _position(check, request.page_token, tokens.win_position, operator_id, pool_id, state, start, end)
    check.done()
    return WinsQuery(operator_id, pool_id, WinState(state) if state else None, start, end, page_size, after)


def pools_query(request: pb.ListPoolsRequest) -> PoolsQuery:
    check = Checks()
    operator_id = check.opaque_id("operator_id", request.operator_id, optional=True)
    currency_code = check.currency("currency_code", request.currency_code, optional=True)
    page_size = check.page_size("page_size", request.page_size)
    after = _position(check, request.page_token, tokens.pool_position, operator_id, currency_code)
    check.done()
    return PoolsQuery(operator_id, currency_code, page_size, after or "")


def events_query(request: pb.ListWinEventsRequest) -> EventsQuery:
    check = Checks()
    query = EventsQuery(
        operator_id=check.opaque_id("operator_id", request.operator_id),
        after_sequence=check.not_negative("after_sequence", request.after_sequence),
        page_size=check.page_size("page_size", request.page_size),
        wait_s=check.duration_s("wait", request.wait, MAX_WAIT_S),
    )
    check.done()
    return query


def watch_query(request: pb.WatchPoolsRequest) -> WatchQuery:
    check = Checks()
    if len(request.pools) > MAX_WATCHED:
        check.wrong("pools", f"must name at most {MAX_WATCHED} pools")
    pool_ids = [check.pool_name(f"pools[{index}]", name) for index, name in enumerate(request.pools)]
    operator_id = check.opaque_id("operator_id", request.operator_id, optional=True)
    check.done()
    return WatchQuery(tuple(dict.fromkeys(pool_ids)), operator_id)


def _check_count(check: Checks, field: str, items: Sequence[object]) -> None:
    if len(items) > MAX_BATCH:
        check.wrong(field, f"must be at most {MAX_BATCH}")


def _position(check: Checks, token: str, read: Callable[..., P], *list_fields: object) -> P | None:
    if not token:
        return None
    try:
        return read(token, *list_fields)
    except tokens.BadToken:
        check.wrong("page_token", "must be the next_page_token of the same list with the same fields")
        return None
