"""Requests of the administration to commands. Each raises INVALID_FIELDS with all of its violations."""

import json
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from google.protobuf.descriptor import FieldDescriptor

from jackpot_server import config
from jackpot_server.admin_transaction import AdminCommand
from jackpot_server.domain.admin_commands import (
    ApproveWin,
    ClosePool,
    CorrectPool,
    CreatePool,
    HoldWin,
    PausePool,
    RejectWin,
    ResumePool,
    UpdatePool,
    What,
)
from jackpot_server.domain.commands import GameCategory, StakeKind
from jackpot_server.domain.pool import Lifecycle
from jackpot_server.queries import AdminEventsQuery
from jackpot_server.wire import tokens
from jackpot_server.wire.checks import Checks
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.checks import in_range, to_datetime
from service_kit.money import MAX_ACCOUNT_MICROS

_TRIGGERS: Final = frozenset({"odds", "must_hit_by", "must_drop_by", "game"})
_FIELDS: Final = frozenset(pb.PoolConfig.DESCRIPTOR.fields_by_name)
_NANOS: Final = 1_000_000_000


class _Asked(Protocol):
    """What every request of the administration has."""

    @property
    def request_id(self) -> str: ...
    @property
    def reason(self) -> str: ...


def create_pool(request: pb.CreatePoolRequest, actor: str) -> AdminCommand:
    check = Checks()
    pool_id = check.pool_name("pool_id", f"pools/{request.pool_id}")
    opening = check.not_negative("opening_micros", request.opening_micros)
    state = check.enum("state", request.state, {Lifecycle.ACTIVE, Lifecycle.SHADOW}, optional=True)
    wanted = None
    try:
        wanted = config.parse_pool(pool_table(request.config))
    except config.InvalidConfig as invalid:
        _note(check, invalid)
    if state == Lifecycle.SHADOW and opening:
        check.wrong("opening_micros", "must be 0: a shadow pool holds no money")
    asked = _asked(check, request)
    assert wanted is not None
    return _command(asked, actor, CreatePool(pool_id, wanted, opening, Lifecycle(state or Lifecycle.ACTIVE)))


def update_pool(request: pb.UpdatePoolRequest, actor: str) -> AdminCommand:
    check = Checks()
    pool_id = check.pool_name("name", request.name)
    paths = sorted(set(request.update_mask.paths))
    if unknown := [path for path in paths if path not in _FIELDS | {"trigger"}]:
        check.wrong("update_mask", f"has no such field of a pool's configuration: {', '.join(unknown[:5])}")
    table = pool_table(request.config)
    if not paths:
        try:
            config.parse_pool(table)
        except config.InvalidConfig as invalid:
            _note(check, invalid)
    asked = _asked(check, request)
    keys = tuple(sorted({"trigger" if path in _TRIGGERS else path for path in paths}))
    return _command(asked, actor, UpdatePool(pool_id, json.dumps(table, sort_keys=True, default=_text), keys))


def pause_pool(request: pb.PausePoolRequest, actor: str) -> AdminCommand:
    check = Checks()
    what = PausePool(check.pool_name("name", request.name))
    return _command(_asked(check, request), actor, what)


def resume_pool(request: pb.ResumePoolRequest, actor: str) -> AdminCommand:
    check = Checks()
    what = ResumePool(check.pool_name("name", request.name))
    return _command(_asked(check, request), actor, what)


def close_pool(request: pb.ClosePoolRequest, actor: str) -> AdminCommand:
    check = Checks()
    what = ClosePool(
        check.pool_name("name", request.name),
        check.pool_name("transfer_to", request.transfer_to),
        request.accept_worse_odds,
    )
    return _command(_asked(check, request), actor, what)


def correct_pool(request: pb.CorrectPoolRequest, actor: str) -> AdminCommand:
    check = Checks()
    what = CorrectPool(check.pool_name("name", request.name), request.amount_micros)
    if not 0 < abs(request.amount_micros) <= MAX_ACCOUNT_MICROS:
        check.wrong("amount_micros", "must not be 0, and no more than a pool can hold")
    return _command(_asked(check, request), actor, what)


def hold_win(request: pb.HoldWinRequest, actor: str) -> AdminCommand:
    check = Checks()
    what = HoldWin(*check.win_name("name", request.name))
    return _command(_asked(check, request), actor, what)


def approve_win(request: pb.ApproveWinRequest, actor: str) -> AdminCommand:
    check = Checks()
    what = ApproveWin(*check.win_name("name", request.name))
    return _command(_asked(check, request), actor, what)


def reject_win(request: pb.RejectWinRequest, actor: str) -> AdminCommand:
    check = Checks()
    what = RejectWin(*check.win_name("name", request.name))
    return _command(_asked(check, request), actor, what)


def events_query(request: pb.ListAuditEventsRequest) -> AdminEventsQuery:
    check = Checks()
    resource = request.resource
    if resource and "/wins/" in resource:
        check.win_name("resource", resource)
    else:
        check.pool_name("resource", resource, optional=True)
    start = check.time("start_time", request.start_time, request.HasField("start_time"))
    end = check.time("end_time", request.end_time, request.HasField("end_time"))
    check.period(start, end)
    page_size = check.page_size("page_size", request.page_size)
    before = None
    if request.page_token:
        try:
            before = tokens.event_position(request.page_token, resource, start, end)
        except tokens.BadToken:
            check.wrong("page_token", "must be the next_page_token of the same list with the same fields")
    check.done()
    return AdminEventsQuery(resource, start, end, page_size, before)


def pool_table(message: pb.PoolConfig) -> dict[str, Any]:
    """The configuration as `jackpots.toml` would have it, so that one set of rules checks both."""
    table: dict[str, Any] = {"contribution_ppm": 0}  # the only number that must be said and may be 0
    for field, value in message.ListFields():
        if field.name in _TRIGGERS:
            table["trigger"] = {field.name: _trigger(value)}
        elif field.name == "game_categories":
            table[field.name] = [_name(GameCategory, each) for each in value]
        elif field.name == "stake_kinds":
            table[field.name] = [_name(StakeKind, each) for each in value]
        else:
            table[field.name] = list(value) if _is_repeated(field) else value
    return table


def _is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _trigger(message: Any) -> dict[str, Any]:
    if not isinstance(message, pb.MustDropByTrigger):
        # Of the others every field is a number, and 0 is refused with its key.
        return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
    period, deadline = message.period, message.first_deadline
    return {
        "period_s": period.seconds if not period.nanos else period.seconds + period.nanos / _NANOS,
        "first_deadline": to_datetime(deadline) if in_range(deadline) else None,
    }


def _name(names: type[GameCategory] | type[StakeKind], number: int) -> str:
    """The enumeration's name; for an unknown number one that is refused with its key."""
    return names(number).name if number in names._value2member_map_ else str(number)


def _note(check: Checks, invalid: config.InvalidConfig) -> None:
    for problem in invalid.problems:
        key, _, text = problem.partition(": ")
        check.wrong(key, text)


def _asked(check: Checks, request: _Asked) -> tuple[UUID, str]:
    """Request id and reason, when everything else was checked."""
    request_id = check.uuid("request_id", request.request_id)
    if not request.reason.strip():
        check.wrong("reason", "must say why")
    reason = check.text("reason", request.reason)
    check.done()
    return request_id, reason


def _command(asked: tuple[UUID, str], actor: str, what: What) -> AdminCommand:
    request_id, reason = asked
    return AdminCommand(request_id, actor, what, reason)


def _text(value: object) -> str:
    assert isinstance(value, datetime)
    return value.isoformat()
