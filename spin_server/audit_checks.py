"""What must hold in a spins database, as queries: each row of an answer is a deviation.

A query gives `place` (which row) and `message`. To check one thing more, add one line.
"""

from typing import Final, NamedTuple


class SpinsCheck(NamedTuple):
    """A query about the rows of `table`, which are counted as those that it examined."""

    name: str
    table: str
    sql: str


_WALLETS: Final = "every wallet is the sum of its entries"
_CHAINED: Final = "every entry follows on the one before"
_SPINS: Final = "every spin has its entries"
_REFERENCES: Final = "every entry has what is behind it"
_VOIDS: Final = "every void gave back what its spin moved"
_REQUESTS: Final = "every deposit and withdrawal has its entry"
_JACKPOTS: Final = "every SLOTS spin has its jackpot: on its way, or answered"
_WINS: Final = "every credited win has one entry"
_HEADS: Final = "every record was seen with one hash"

CHECKS: Final = (
    SpinsCheck(_WALLETS, "wallets", """
SELECT 'wallets wallet_id ' || coalesce(w.wallet_id, e.wallet_id) AS place,
       format('its balance is %s after %s entries, and should be %s after %s', w.balance_minor, w.entry_count,
              coalesce(e.total, 0), coalesce(e.n, 0)) AS message
  FROM wallets w
  FULL JOIN (SELECT wallet_id, sum(amount_minor) AS total, count(*) AS n
               FROM wallet_entries GROUP BY wallet_id) e USING (wallet_id)
 WHERE w.balance_minor IS DISTINCT FROM coalesce(e.total, 0)
    OR w.entry_count IS DISTINCT FROM coalesce(e.n, 0)"""),
    SpinsCheck(_CHAINED, "wallet_entries", """
SELECT format('wallet_entries wallet_id %s, entry_number %s', wallet_id, entry_number) AS place,
       CASE WHEN entry_number <> number_before + 1
            THEN format('the entry before it is number %s', number_before)
            ELSE format('its balance is %s, and should be %s', balance_minor, before + amount_minor) END
           AS message
  FROM (SELECT wallet_id, entry_number, amount_minor, balance_minor,
               lag(balance_minor, 1, 0::bigint) OVER by_number AS before,
               lag(entry_number, 1, 0::bigint) OVER by_number AS number_before
          FROM wallet_entries WINDOW by_number AS (PARTITION BY wallet_id ORDER BY entry_number)) e
 WHERE entry_number <> number_before + 1 OR balance_minor <> before + amount_minor"""),
    # A stake comes first, its payout right behind it; the spin's balance is the last one's.
    SpinsCheck(_SPINS, "spins", """
SELECT 'spins spin_id ' || s.spin_id AS place,
       format('its stake, payout and balance are %s, and should be %s',
              concat_ws(', ', coalesce(e.stakes::text, 'none'), coalesce(e.payouts::text, 'none'), e.balance),
              concat_ws(', ', s.wager_minor, s.payout_minor, s.balance_minor)) AS message
  FROM spins s
  LEFT JOIN (SELECT spin_id, wallet_id, -sum(amount_minor) FILTER (WHERE kind = 1) AS stakes,
                    sum(amount_minor) FILTER (WHERE kind = 2) AS payouts,
                    count(*) FILTER (WHERE kind = 1) AS stake_count,
                    count(*) FILTER (WHERE kind = 2) AS payout_count,
                    (array_agg(balance_minor ORDER BY entry_number DESC))[1] AS balance,
                    min(entry_time) AS first_time, max(entry_time) AS last_time
               FROM wallet_entries WHERE kind IN (1, 2) GROUP BY spin_id, wallet_id) e
    ON e.spin_id = s.spin_id AND e.wallet_id = s.wallet_id
 WHERE coalesce(e.stakes, 0) <> s.wager_minor OR coalesce(e.payouts, 0) <> s.payout_minor
    OR coalesce(e.stake_count, 0) <> (s.wager_minor > 0)::int
    OR coalesce(e.payout_count, 0) <> (s.payout_minor > 0)::int
    OR e.balance <> s.balance_minor OR e.first_time <> s.settle_time OR e.last_time <> s.settle_time"""),
    SpinsCheck(_SPINS, "spins", """
SELECT 'spins spin_id ' || s.spin_id AS place,
       'it is not of the operator, user and currency of wallet ' || s.wallet_id AS message
  FROM spins s LEFT JOIN wallets w USING (wallet_id)
 WHERE (s.operator_id, s.user_id, s.currency_code)
       IS DISTINCT FROM (w.operator_id, w.user_id, w.currency_code)"""),
    SpinsCheck(_REFERENCES, "wallet_entries", """
SELECT format('wallet_entries wallet_id %s, entry_number %s', e.wallet_id, e.entry_number) AS place,
       CASE WHEN e.spin_id IS NOT NULL THEN 'there is no spin ' || e.spin_id || ' of this wallet'
            WHEN e.win IS NOT NULL THEN 'it is not a credit of the win ' || e.win
            ELSE 'it is not what the request ' || e.request_id || ' moved' END AS message
  FROM wallet_entries e
  LEFT JOIN spins s ON s.spin_id = e.spin_id AND s.wallet_id = e.wallet_id
  LEFT JOIN jackpot_wins w ON w.win = e.win AND w.wallet_id = e.wallet_id AND w.amount_minor = e.amount_minor
        AND w.wallet_entry_id = e.wallet_id || ':' || e.entry_number
  LEFT JOIN wallet_requests r ON r.request_id = e.request_id AND r.wallet_id = e.wallet_id
        AND r.entry_number = e.entry_number AND r.method = e.kind - 4
 WHERE CASE WHEN e.kind IN (1, 2, 4, 5) THEN s.spin_id IS NULL
            WHEN e.kind = 3 THEN w.win IS NULL
            ELSE r.request_id IS NULL END"""),
    SpinsCheck(_VOIDS, "spin_voids", """
SELECT 'spin_voids spin_id ' || coalesce(v.spin_id, e.spin_id) AS place,
       CASE WHEN v.spin_id IS NULL THEN 'its stake or payout was given back without a void'
            ELSE format('its spin''s entries add up to %s, and should to 0', e.total) END AS message
  FROM spin_voids v
  FULL JOIN (SELECT spin_id, sum(amount_minor) AS total, count(*) FILTER (WHERE kind IN (4, 5)) AS returned
               FROM wallet_entries WHERE spin_id IS NOT NULL GROUP BY spin_id) e USING (spin_id)
 WHERE v.spin_id IS NULL AND e.returned > 0 OR v.spin_id IS NOT NULL AND e.total <> 0"""),
    SpinsCheck(_VOIDS, "spin_voids", """
SELECT 'spin_voids spin_id ' || v.spin_id AS place,
       CASE WHEN s.spin_id IS NULL THEN 'there is no such spin of this wallet'
            ELSE 'the jackpot server was not told, or need not have been' END AS message
  FROM spin_voids v
  LEFT JOIN spins s ON s.spin_id = v.spin_id AND s.wallet_id = v.wallet_id AND s.operator_id = v.operator_id
  LEFT JOIN jackpot_voids j ON j.spin_id = v.spin_id
 WHERE s.spin_id IS NULL OR s.has_jackpot <> (j.spin_id IS NOT NULL)"""),
    SpinsCheck(_VOIDS, "spins", """
SELECT 'spins spin_id ' || s.spin_id AS place, 'it stands for a void that is not there' AS message
  FROM spins s LEFT JOIN spin_voids v ON v.spin_id = s.spin_id AND v.void_time = s.settle_time
 WHERE s.method = 3 AND v.spin_id IS NULL"""),
    SpinsCheck(_VOIDS, "jackpot_voids", """
SELECT 'jackpot_voids spin_id ' || j.spin_id AS place, 'its spin was not voided' AS message
  FROM jackpot_voids j LEFT JOIN spin_voids v USING (spin_id) WHERE v.spin_id IS NULL"""),
    SpinsCheck(_REQUESTS, "wallet_requests", """
SELECT 'wallet_requests request_id ' || r.request_id AS place,
       CASE WHEN w.wallet_id IS NULL
            THEN 'it is not of the operator, user and currency of wallet ' || r.wallet_id
            ELSE format('its entry moves %s, and should move %s', coalesce(e.amount_minor::text, 'nothing'),
                        r.amount_minor) END AS message
  FROM wallet_requests r
  LEFT JOIN wallets w ON w.wallet_id = r.wallet_id AND w.operator_id = r.operator_id
        AND w.user_id = r.user_id AND w.currency_code = r.currency_code
  LEFT JOIN wallet_entries e ON e.request_id = r.request_id AND e.wallet_id = r.wallet_id
        AND e.entry_number = r.entry_number
 WHERE w.wallet_id IS NULL OR r.method <> 1
   AND e.amount_minor IS DISTINCT FROM CASE r.method WHEN 2 THEN r.amount_minor ELSE -r.amount_minor END"""),
    SpinsCheck(_JACKPOTS, "spins", """
SELECT 'spins spin_id ' || s.spin_id AS place,
       format('has_jackpot is %s, and should be %s', s.has_jackpot, NOT s.has_jackpot) AS message
  FROM spins s JOIN wallets w USING (wallet_id)
 WHERE s.has_jackpot <> (s.game_category = 1 AND s.wager_minor > 0 AND NOT w.is_test)"""),
    SpinsCheck(_JACKPOTS, "spins", """
SELECT 'spins spin_id ' || s.spin_id AS place,
       CASE WHEN r.spin_id IS NULL THEN 'it has neither an outbox row nor a result'
            ELSE 'it has an outbox row and a result' END AS message
  FROM spins s
  LEFT JOIN jackpot_results r USING (spin_id)
  LEFT JOIN jackpot_outbox o ON o.kind = 1 AND o.spin_id = s.spin_id
 WHERE s.has_jackpot AND (r.spin_id IS NULL) = (o.spin_id IS NULL)"""),
    SpinsCheck(_JACKPOTS, "jackpot_results", """
SELECT 'jackpot_results spin_id ' || r.spin_id AS place, 'there is no such spin of its operator' AS message
  FROM jackpot_results r
  LEFT JOIN spins s ON s.spin_id = r.spin_id AND s.operator_id = r.operator_id AND s.has_jackpot
 WHERE s.spin_id IS NULL"""),
    SpinsCheck(_JACKPOTS, "jackpot_outbox", """
SELECT format('jackpot_outbox spin_id %s, kind %s', o.spin_id, o.kind) AS place,
       'it is not what its spin says' AS message
  FROM jackpot_outbox o
  LEFT JOIN spins s ON s.spin_id = o.spin_id AND s.operator_id = o.operator_id AND s.has_jackpot
        AND (o.kind <> 1 OR (o.user_id, o.wallet_id, o.currency_code, o.wager_minor, o.game_category,
                             o.game_id, o.provider_name, o.provider_round_id, o.country_code, o.client_seed,
                             o.triggered_tiers)
             = (s.user_id, s.wallet_id, s.currency_code, s.wager_minor, s.game_category, s.game_id,
                s.provider_name, s.provider_round_id, s.country_code, s.client_seed, s.triggered_tiers))
 WHERE o.kind IN (1, 2) AND s.spin_id IS NULL"""),
    SpinsCheck(_WINS, "jackpot_wins", """
SELECT 'jackpot_wins win ' || w.win AS place,
       format('%s entries credit it with %s, and should one with %s', count(e.win),
              coalesce(sum(e.amount_minor), 0), w.amount_minor) AS message
  FROM jackpot_wins w LEFT JOIN wallet_entries e ON e.win = w.win AND e.kind = 3
 GROUP BY w.win
HAVING CASE WHEN w.wallet_entry_id IS NULL THEN count(e.win) <> 0
            ELSE count(e.win) <> 1 OR min(e.wallet_id || ':' || e.entry_number) <> w.wallet_entry_id
                 OR min(e.amount_minor) <> w.amount_minor END"""),
    SpinsCheck(_WINS, "jackpot_wins", """
SELECT 'jackpot_wins win ' || w.win AS place,
       'it is not of a spin of its wallet, user and operator' AS message
  FROM jackpot_wins w
  LEFT JOIN spins s ON s.spin_id = w.spin_id AND s.has_jackpot AND s.wallet_id = w.wallet_id
        AND s.user_id = w.user_id AND s.operator_id = w.operator_id AND s.currency_code = w.currency_code
 WHERE s.spin_id IS NULL OR w.win <> w.pool || '/wins/' || w.spin_id"""),
    SpinsCheck(_HEADS, "jackpot_results", """
SELECT format('jackpot_results spin_id %s, chain %s sequence %s', min(spin_id::text), audit_chain,
              audit_sequence) AS place,
       format('the record was seen with %s hashes', count(DISTINCT audit_sha256)) AS message
  FROM jackpot_results WHERE audit_chain IS NOT NULL
 GROUP BY audit_chain, audit_sequence HAVING count(DISTINCT audit_sha256) > 1"""),
)  # fmt: skip

# What this database has seen of the jackpot server's audit chains: a record per batch.
READ_HEADS: Final = """
SELECT DISTINCT audit_chain, audit_sequence, audit_sha256
  FROM jackpot_results WHERE audit_chain IS NOT NULL ORDER BY 1, 2, 3"""
