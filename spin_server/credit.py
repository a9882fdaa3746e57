"""The wallet's side of a jackpot win: the one function that puts a win into a wallet."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from jackpot_outbox.rows import Credit, Credited, Impossible, WinNotice
from spin_server import store
from spin_server.domain.facts import WalletEntry
from spin_server.domain.money_moves import credit_win
from spin_server.domain.wallet import Wallet


def entry_id(wallet_id: str, entry_number: int) -> str:
    """The id of a wallet's entry on the wire."""
    return f"{wallet_id}:{entry_number}"


def credit_to(wallets: Mapping[str, Wallet], now: datetime) -> Credit:
    """The credit function of one transaction: `wallets` are those that it has locked, as they are now.

    One statement for all wins. `wallet_entries` refuses a second entry of a win, whatever happened before.
    """

    async def credit(
        connection: asyncpg.Connection, wins: Sequence[WinNotice], /
    ) -> list[Credited | Impossible]:
        outcomes: list[Credited | Impossible] = []
        entries: list[WalletEntry] = []
        for win in wins:
            entry = credit_win(
                win.win,
                win.operator_id,
                win.user_id,
                win.currency_code,
                win.amount_minor,
                wallets.get(win.wallet_id),
                now,
            )
            if isinstance(entry, WalletEntry):
                entries.append(entry)
                outcomes.append(Credited(entry_id(entry.wallet_id, entry.entry_number), now))
            else:
                outcomes.append(Impossible(entry))
        if entries:
            credited = {entry.wallet_id: wallets[entry.wallet_id] for entry in entries}
            await store.write_money(connection, (), (), entries, credited.values())
        return outcomes

    return credit
