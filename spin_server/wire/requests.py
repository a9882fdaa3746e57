"""Requests to commands and queries. Each raises INVALID_FIELDS with all violations of its request."""

import re
from typing import Final
from uuid import UUID

from protos.spin.v1 import spin_pb2 as pb
from service_kit.checks import (
    LONGEST_ROUND_ID,
    LONGEST_SEED_BYTES,
    NO_UUID,
    UUID_PATTERN,
    Checks,
    is_country,
    is_uuid,
    parse_uuid,
)
from service_kit.money import CURRENCIES, MAX_AMOUNT_MINOR
from spin_server.domain.commands import (
    CreateWallet,
    MoveMoney,
    Settle,
    SpinTerms,
    StakeKind,
    Void,
    WalletMethod,
)
from spin_server.queries import EntriesQuery, GamesQuery, SpinsQuery
from spin_server.wire import tokens

DEFAULT_WAIT_S: Final = 10.0
MAX_WAIT_S: Final = 60.0

_STAKE_KINDS: Final = frozenset(map(int, StakeKind))
# An unspecified stake kind is cash, for a repeat too.
_STAKE_KIND_OF: Final = {0: int(StakeKind.CASH), **{int(kind): int(kind) for kind in StakeKind}}

# All ids of a spin at once: none can hold a space, so five spaces part six ids.
_are_ids = re.compile(
    f"[!-~]{{1,64}} [!-~]{{1,64}} [!-~]{{1,64}} [!-~]{{1,64}} [!-~]{{0,64}} [!-~]{{0,{LONGEST_ROUND_ID}}}"
).fullmatch
_spin_name = re.compile(f"spins/({UUID_PATTERN})").fullmatch
_game_name = re.compile(r"games/([!-~]{1,64})").fullmatch
_wallet_name = re.compile(r"wallets/([!-~]{1,64})").fullmatch
_is_new_wallet_id = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch


def settle(request: pb.SettleSpinRequest) -> Settle:
    """What SettleSpin asks for."""
    payout = request.payout
    terms = _usual_terms(request)
    if terms is None or request.triggered_tiers or not 0 <= payout.amount_minor <= MAX_AMOUNT_MINOR:
        return _examined_settle(request)
    if payout.currency_code != terms.currency_code:
        return _examined_settle(request)
    return Settle(terms, payout.amount_minor)


def void(request: pb.VoidSpinRequest) -> Void:
    """What VoidSpin asks for."""
    check = Checks()
    command = Void(
        spin_id=check.uuid("spin_id", request.spin_id),
        operator_id=check.opaque_id("operator_id", request.operator_id),
        wallet_id=check.opaque_id("wallet_id", request.wallet_id),
        reason=check.text("reason", request.reason),
    )
    check.done()
    return command


def play(request: pb.PlaySpinRequest) -> SpinTerms:
    """What PlaySpin asks for; its outcome is still to be drawn."""
    terms = _usual_terms(request)
    if terms is None:
        check = Checks()
        terms = _examined_terms(check, request, "")
        check.done()
    return terms


def _usual_terms(request: pb.SettleSpinRequest | pb.PlaySpinRequest) -> SpinTerms | None:
    """The hot path: one test for everything. None: take the request apart; it is wrong, or unusual."""
    spin_id = request.spin_id
    operator_id = request.operator_id
    user_id = request.user_id
    wallet_id = request.wallet_id
    game_id = request.game_id
    provider_name = request.provider_name
    round_id = request.provider_round_id
    client_seed = request.client_seed
    country_code = request.country_code
    stake_kind = _STAKE_KIND_OF.get(request.stake_kind)
    wager = request.wager
    currency_code = wager.currency_code
    wager_minor = wager.amount_minor
    if (
        stake_kind is None
        or not 1 <= wager_minor <= MAX_AMOUNT_MINOR
        or currency_code not in CURRENCIES
        or not is_uuid(spin_id)
        or not _are_ids(f"{operator_id} {user_id} {wallet_id} {game_id} {provider_name} {round_id}")
        or not (
            client_seed.isascii() and client_seed.isprintable() and len(client_seed) <= LONGEST_SEED_BYTES
        )
        or (country_code and not is_country(country_code))
    ):
        return None
    return SpinTerms(
        parse_uuid(spin_id),
        operator_id,
        user_id,
        wallet_id,
        game_id,
        provider_name,
        round_id,
        currency_code,
        wager_minor,
        stake_kind,
        country_code,
        client_seed,
    )


def _examined_settle(request: pb.SettleSpinRequest) -> Settle:
    check = Checks()
    tiers = ",".join(check.tiers("triggered_tiers", request.triggered_tiers))
    terms = _examined_terms(check, request, tiers)
    payout = request.payout
    currency_code = check.currency("payout.currency_code", payout.currency_code)
    if currency_code in CURRENCIES and currency_code != terms.currency_code:
        check.wrong("payout.currency_code", "must be the wager's")
    payout_minor = check.amount("payout.amount_minor", payout.amount_minor, least=0)
    check.done()
    return Settle(terms, payout_minor)


def _examined_terms(
    check: Checks, request: pb.SettleSpinRequest | pb.PlaySpinRequest, triggered_tiers: str
) -> SpinTerms:
    free = request.stake_kind == pb.STAKE_KIND_FREE_ROUND
    return SpinTerms(
        spin_id=check.uuid("spin_id", request.spin_id),
        operator_id=check.opaque_id("operator_id", request.operator_id),
        user_id=check.opaque_id("user_id", request.user_id),
        wallet_id=check.opaque_id("wallet_id", request.wallet_id),
        game_id=check.opaque_id("game_id", request.game_id),
        provider_name=check.opaque_id("provider_name", request.provider_name, optional=True),
        provider_round_id=check.opaque_id(
            "provider_round_id", request.provider_round_id, longest=LONGEST_ROUND_ID, optional=True
        ),
        currency_code=check.currency("wager.currency_code", request.wager.currency_code),
        wager_minor=check.amount("wager.amount_minor", request.wager.amount_minor, least=0 if free else 1),
        stake_kind=check.enum("stake_kind", request.stake_kind, _STAKE_KINDS, optional=True)
        or StakeKind.CASH,
        country_code=check.country("country_code", request.country_code),
        client_seed=check.client_seed("client_seed", request.client_seed),
        triggered_tiers=triggered_tiers,
    )


def create_wallet(request: pb.CreateWalletRequest) -> CreateWallet:
    """What CreateWallet asks for."""
    check = Checks()
    if not _is_new_wallet_id(request.wallet_id):
        check.wrong("wallet_id", "must be 1 to 64 letters, digits, '-', '_' and '.'")
    command = CreateWallet(
        request_id=check.uuid("request_id", request.request_id),
        wallet_id=request.wallet_id,
        operator_id=check.opaque_id("operator_id", request.operator_id),
        user_id=check.opaque_id("user_id", request.user_id),
        currency_code=check.currency("currency_code", request.currency_code),
        is_test=request.is_test,
    )
    check.done()
    return command


def deposit(request: pb.DepositRequest) -> MoveMoney:
    """What Deposit asks for."""
    return _money_move(request, WalletMethod.DEPOSIT)


def withdrawal(request: pb.WithdrawRequest) -> MoveMoney:
    """What Withdraw asks for."""
    return _money_move(request, WalletMethod.WITHDRAW)


def _money_move(request: pb.DepositRequest | pb.WithdrawRequest, method: WalletMethod) -> MoveMoney:
    check = Checks()
    command = MoveMoney(
        request_id=check.uuid("request_id", request.request_id),
        method=method,
        wallet_id=_wallet_id(check, request.name),
        currency_code=check.currency("amount.currency_code", request.amount.currency_code),
        amount_minor=check.amount("amount.amount_minor", request.amount.amount_minor, least=1),
    )
    check.done()
    return command


def spin_name(request: pb.GetSpinRequest) -> UUID:
    """The spin's id."""
    check = Checks()
    spin_id = _spin_id(check, request.name)
    check.done()
    return spin_id


def wait(request: pb.WaitForJackpotRequest) -> tuple[UUID, float]:
    """The spin's id, and how long to wait at most, in seconds."""
    check = Checks()
    spin_id = _spin_id(check, request.name)
    given = request.HasField("timeout")
    timeout_s = check.duration_s("timeout", request.timeout, MAX_WAIT_S) if given else DEFAULT_WAIT_S
    check.done()
    return spin_id, timeout_s


def game_name(request: pb.GetGameRequest) -> str:
    """The game's id."""
    check = Checks()
    match = _game_name(request.name)
    if match is None:
        check.wrong("name", "must be games/{game}")
    check.done()
    return match[1] if match else ""


def wallet_name(request: pb.GetWalletRequest) -> str:
    """The wallet's id."""
    check = Checks()
    wallet_id = _wallet_id(check, request.name)
    check.done()
    return wallet_id


def spins_query(request: pb.ListSpinsRequest) -> SpinsQuery:
    """What ListSpins asks for."""
    check = Checks()
    by_wallet = bool(request.wallet_id)
    operator_id = check.opaque_id("operator_id", request.operator_id, optional=by_wallet)
    user_id = check.opaque_id("user_id", request.user_id, optional=True)
    wallet_id = check.opaque_id("wallet_id", request.wallet_id, optional=True)
    game_id = check.opaque_id("game_id", request.game_id, optional=True)
    start = check.time("start_time", request.start_time, request.HasField("start_time"))
    end = check.time("end_time", request.end_time, request.HasField("end_time"))
    check.period(start, end)
    page_size = check.page_size("page_size", request.page_size)
    after = None
    if request.page_token:
        try:
            after = tokens.spin_position(
                request.page_token, operator_id, user_id, wallet_id, game_id, start, end
            )
        except tokens.BadToken:
            check.wrong("page_token", _BAD_TOKEN)
    check.done()
    return SpinsQuery(operator_id, user_id, wallet_id, game_id, start, end, page_size, after)


def entries_query(request: pb.ListWalletEntriesRequest) -> EntriesQuery:
    """What ListWalletEntries asks for."""
    check = Checks()
    wallet_id = _wallet_id(check, request.name)
    page_size = check.page_size("page_size", request.page_size)
    before = None
    if request.page_token:
        try:
            before = tokens.entry_number(request.page_token, wallet_id)
        except tokens.BadToken:
            check.wrong("page_token", _BAD_TOKEN)
    check.done()
    return EntriesQuery(wallet_id, page_size, before)


def games_query(request: pb.ListGamesRequest) -> GamesQuery:
    """What ListGames asks for."""
    check = Checks()
    page_size = check.page_size("page_size", request.page_size)
    after = ""
    if request.page_token:
        try:
            after = tokens.game_id(request.page_token)
        except tokens.BadToken:
            check.wrong("page_token", _BAD_TOKEN)
    check.done()
    return GamesQuery(page_size, after)


def _spin_id(check: Checks, name: str) -> UUID:
    match = _spin_name(name)
    if match:
        return parse_uuid(match[1])
    check.wrong("name", "must be spins/{spin_id}")
    return NO_UUID


def _wallet_id(check: Checks, name: str) -> str:
    match = _wallet_name(name)
    if match:
        return match[1]
    check.wrong("name", "must be wallets/{wallet}")
    return ""


_BAD_TOKEN: Final = "must be the next_page_token of the same list with the same fields"  # noqa: S105
