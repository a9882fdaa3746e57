"""Outcomes of played spins, from the operating system's generator."""

import secrets

from spin_server.domain.commands import Play, SpinTerms
from spin_server.domain.game import Catalog


def draw(terms: SpinTerms, catalog: Catalog) -> Play:
    """The spin with its outcome: one ticket of the game's pay table, each equally likely.

    Called once per request, before it is queued; what it drew stays, however often its batch is run.
    """
    game = catalog.games.get(terms.game_id)
    if game is None or game.pay_table is None:
        return Play(terms, None)
    table = game.pay_table
    return Play(terms, table.prize_of(secrets.randbelow(table.tickets)).multiplier_ppm)
