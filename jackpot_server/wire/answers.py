"""Facts to answers. Messages are filled where they will stand: a batch of fifty is built without copies."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from google.protobuf.timestamp_pb2 import Timestamp

from jackpot_server.domain.catalog import PoolLabel
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.draw import draw_bytes
from jackpot_server.domain.facts import Contribution, Recorded, ShareRow, Win, WinEvent
from jackpot_server.domain.pool import GameSays, MustDropBy, MustHitBy, Odds, PoolConfig, PoolView
from jackpot_server.domain.repeat_draw import PublishedDraw
from jackpot_server.queries import PublicWin
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.errors import ServiceError, internal_error
from service_kit.money import whole_minor

Labels: TypeAlias = Mapping[tuple[int, int], PoolLabel]
"""The pool and tier of a share, by pool key and config version."""

# Of one answer's list: a caller takes 4 MiB unless it is told otherwise.
MAX_PAGE_BYTES: Final = 3 * 1024 * 1024

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S: Final = 86_400


def contribution_name(spin_id: UUID) -> str:
    return f"contributions/{spin_id}"


def pool_name(pool_id: str) -> str:
    return f"pools/{pool_id}"


def win_name(pool_id: str, spin_id: UUID) -> str:
    return f"pools/{pool_id}/wins/{spin_id}"


def fill_recorded(target: pb.RecordContributionResponse, recorded: Recorded, labels: Labels) -> None:
    target.replayed = recorded.replayed
    fill_contribution(target.contribution, recorded.contribution, recorded.wins, labels)


def fill_command(target: pb.Contribution, command: Contribute) -> None:
    """What every contribution repeats of its request; tiers and `occur_time` are there in some only."""
    spin_id = str(command.spin_id)
    target.name = "contributions/" + spin_id
    target.spin_id = spin_id
    target.operator_id = command.operator_id
    target.user_id = command.user_id
    target.wallet_id = command.wallet_id
    wager = target.wager
    wager.currency_code = command.currency_code
    wager.amount_minor = command.wager_minor
    target.game_category = command.game_category  # type: ignore[assignment]
    target.game_id = command.game_id
    target.provider_name = command.provider_name
    target.provider_round_id = command.provider_round_id
    target.stake_kind = command.stake_kind  # type: ignore[assignment]
    target.country_code = command.country_code
    target.client_seed = command.client_seed


def fill_contribution(
    target: pb.Contribution, contribution: Contribution, wins: Sequence[Win], labels: Labels
) -> None:
    """`audit_head` stays unset where the batch was written before there was an audit trail."""
    command = contribution.command
    fill_command(target, command)
    if command.triggered_tiers:
        target.triggered_tiers.extend(command.triggered_tiers)
    if command.occur_time is not None:
        set_time(target.occur_time, command.occur_time)
    set_time(target.record_time, contribution.record_time)
    target.state = contribution.state  # type: ignore[assignment]
    add_share = target.shares.add
    for share in contribution.shares:
        fill_share(add_share(), share, labels)
    for won in wins:
        fill_win(target.wins.add(), won)
    head = contribution.recording.head
    if head is not None:
        audit_head = target.audit_head
        audit_head.chain, audit_head.sequence, audit_head.sha256 = head


def fill_share(target: pb.PoolShare, share: ShareRow, labels: Labels) -> None:
    """Field by field, and what is seldom there only where it is: half the time of an answer is here."""
    key, cycle, version, amount, reserve, overflow, balance, skip_reason, shadow = share
    label = labels[key, version]
    target.pool = "pools/" + label.pool_id
    target.tier = label.tier
    target.cycle = cycle
    target.amount_micros = amount
    target.reserve_micros = reserve
    target.balance_micros = balance
    if overflow:
        target.overflow_micros = overflow
    if skip_reason:
        target.skip_reason = skip_reason  # type: ignore[assignment]
    if shadow:
        target.shadow = True


def fill_contributions(
    target: RepeatedCompositeFieldContainer[pb.Contribution],
    found: Sequence[tuple[Contribution, Sequence[Win]]],
    labels: Labels,
) -> int:
    """As many of them, from the first on, as one answer may hold, at least one; returns how many."""
    size = 0
    for contribution, wins in found:
        shown = target.add()
        fill_contribution(shown, contribution, wins, labels)
        size += shown.ByteSize()
        if size > MAX_PAGE_BYTES and len(target) > 1:
            del target[-1]
            break
    return len(target)


def fill_win(target: pb.Win, win: Win) -> None:
    target.name = win_name(win.pool_id, win.spin_id)
    target.pool = pool_name(win.pool_id)
    target.tier = win.tier
    target.cycle = win.cycle
    target.spin_id = str(win.spin_id)
    target.operator_id = win.operator_id
    target.user_id = win.user_id
    target.wallet_id = win.wallet_id
    target.game_id = win.game_id
    _set_money(target.amount, win.currency_code, win.amount_minor)
    target.state = win.state  # type: ignore[assignment]
    target.hold_reason = win.hold_reason  # type: ignore[assignment]
    target.review_required = win.review_required
    set_time(target.decide_time, win.decide_time)
    if win.pay_time is not None:
        set_time(target.pay_time, win.pay_time)
    target.wallet_entry_id = win.wallet_entry_id
    target.event_sequence = win.event_sequence
    target.spin_voided = win.spin_voided
    target.shadow = win.shadow


def fill_win_event(target: pb.WinEvent, event: WinEvent) -> None:
    target.sequence = event.win.event_sequence
    target.kind = event.kind  # type: ignore[assignment]
    fill_win(target.win, event.win)
    set_time(target.event_time, event.event_time)


def fill_public_win(target: pb.WatchPoolsResponse.PublicWin, win: PublicWin) -> None:
    target.pool = pool_name(win.pool_id)
    target.tier = win.tier
    target.cycle = win.cycle
    _set_money(target.amount, win.currency_code, win.amount_minor)
    set_time(target.decide_time, win.decide_time)


def fill_draw(target: pb.Draw, draw: PublishedDraw) -> None:
    record, proof = draw.record, draw.proof
    target.name = f"pools/{record.pool_id}/draws/{record.spin_id}"
    target.pool = pool_name(record.pool_id)
    target.cycle = record.cycle
    target.spin_id = str(record.spin_id)
    target.client_seed = record.client_seed
    target.wager_minor = record.wager_minor
    target.config_sha256 = record.config_sha256
    target.config_json = record.config_json
    target.key_id = record.key_id
    target.seed_commitment = record.seed_commitment
    set_time(target.commit_time, record.commit_time)
    target.seed = draw.seed
    if proof.value is not None:
        target.value = draw_bytes(proof.value)
    if proof.threshold is not None:
        target.threshold = draw_bytes(proof.threshold)
    target.reached = proof.reached or 0
    target.hidden = proof.hidden or 0
    target.cycle_start_micros = proof.cycle_start_micros or 0
    if proof.cycle_start_time is not None:
        set_time(target.cycle_start_time, proof.cycle_start_time)
    if proof.cycle_deadline is not None:
        set_time(target.cycle_deadline, proof.cycle_deadline)
    target.won = record.won
    set_time(target.draw_time, record.draw_time)


def pool(view: PoolView) -> pb.Pool:
    state = view.state
    message = pb.Pool(
        name=pool_name(state.pool_id),
        config=pool_config(view.config),
        state=state.state,  # type: ignore[arg-type]
        balance_micros=state.current_micros,
        reserve_micros=state.reserve_micros,
        overflow_micros=state.overflow_micros,
        cycle=state.cycle,
        version=state.version,
        seed_commitment=view.seed_commitment,
        next_config=pool_config(view.next_config) if view.next_config is not None else None,
    )
    _set_money(message.balance, state.currency_code, whole_minor(state.current_micros))
    set_time(message.update_time, state.update_time)
    if state.last_win_minor is not None and state.last_win_time is not None:
        _set_money(message.last_win, state.currency_code, state.last_win_minor)
        set_time(message.last_win_time, state.last_win_time)
    if state.cycle_deadline is not None:
        set_time(message.cycle_deadline, state.cycle_deadline)
    return message


def pool_snapshot(view: PoolView) -> bytes:
    """What the cache keeps of a pool."""
    return pool(view).SerializeToString()


def fill_item_error(target: pb.ItemError, error: Exception) -> None:
    """What a call of its own would have answered as its status. Of a bug it says not one word."""
    shown = error if isinstance(error, ServiceError) else internal_error()
    target.code = shown.code.value[0]
    target.reason = shown.reason
    target.message = shown.message
    target.fields.extend(dict.fromkeys(violation.field for violation in shown.violations))


def pool_config(config: PoolConfig) -> pb.PoolConfig:
    message = pb.PoolConfig(
        display_name=config.display_name,
        tier=config.tier,
        currency_code=config.currency_code,
        operator_ids=config.operator_ids,
        game_ids=config.game_ids,
        provider_names=config.provider_names,
        game_categories=config.game_categories,  # type: ignore[arg-type]
        stake_kinds=config.stake_kinds,  # type: ignore[arg-type]
        country_codes=config.country_codes,
        min_wager_minor=config.min_wager_minor,
        contribution_ppm=config.contribution_ppm,
        reserve_ppm=config.reserve_ppm,
        max_contribution_minor=config.max_contribution_minor,
        reset_minor=config.reset_minor,
        ceiling_minor=config.ceiling_minor,
        overflow_limit_minor=config.overflow_limit_minor,
        hold_wins_above_minor=config.hold_wins_above_minor,
        allow_long_odds=config.allow_long_odds,
    )
    match config.trigger:
        case Odds(one_in, per_wager_minor):
            message.odds.one_in = one_in
            message.odds.per_wager_minor = per_wager_minor
        case MustHitBy(floor_minor, ceiling_minor):
            message.must_hit_by.floor_minor = floor_minor
            message.must_hit_by.ceiling_minor = ceiling_minor
        case MustDropBy(period_s, first_deadline):
            message.must_drop_by.period.seconds = period_s
            set_time(message.must_drop_by.first_deadline, first_deadline)
        case GameSays():
            message.game.SetInParent()
    return message


def set_time(stamp: Timestamp, moment: datetime) -> None:
    since = moment - _EPOCH
    stamp.seconds = since.days * _DAY_S + since.seconds
    stamp.nanos = since.microseconds * 1000


def _set_money(money: pb.Money, currency_code: str, amount_minor: int) -> None:
    money.currency_code = currency_code
    money.amount_minor = amount_minor
