"""The movements of one batch, added up: one entry per account and kind, zero in sum (PR-02)."""

from collections import defaultdict

from jackpot_server.domain.facts import Account, Entry, EntryKind


class Ledger:
    """Collects what one batch moves, in micros."""

    def __init__(self) -> None:
        self._moved: defaultdict[tuple[Account, EntryKind, int | None, str | None, str], int] = defaultdict(
            int
        )

    def pool(
        self, account: Account, kind: EntryKind, pool_key: int, currency_code: str, amount_micros: int
    ) -> None:
        """Adds to an account of a pool."""
        self._moved[account, kind, pool_key, None, currency_code] += amount_micros

    def operator(
        self, account: Account, kind: EntryKind, operator_id: str, currency_code: str, amount_micros: int
    ) -> None:
        """Adds to an account of an operator."""
        self._moved[account, kind, None, operator_id, currency_code] += amount_micros

    def house(self, kind: EntryKind, currency_code: str, amount_micros: int) -> None:
        """Adds to the house, which pays what a reset lacks."""
        self._moved[Account.HOUSE, kind, None, None, currency_code] += amount_micros

    def correction(self, kind: EntryKind, currency_code: str, amount_micros: int) -> None:
        """Adds to the account against which people correct pools."""
        self._moved[Account.CORRECTION, kind, None, None, currency_code] += amount_micros

    def entries(self) -> list[Entry]:
        """One entry per account and kind that moved. Raises if they do not balance: a bug."""
        sums: defaultdict[str, int] = defaultdict(int)
        entries = []
        for (account, kind, pool_key, operator_id, currency_code), amount_micros in self._moved.items():
            if amount_micros:
                entries.append(Entry(account, kind, pool_key, operator_id, currency_code, amount_micros))
                sums[currency_code] += amount_micros
        if any(sums.values()):
            raise AssertionError(f"a batch does not balance: {dict(sums)}")
        return entries
