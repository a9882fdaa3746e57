"""Draws as strangers ask for them: read, and made once more with the seed that was committed."""

from uuid import UUID

from jackpot_server.domain.draw import commitment
from jackpot_server.domain.facts import SkipReason
from jackpot_server.domain.pool import Lifecycle
from jackpot_server.domain.repeat_draw import DrawRecord, PublishedDraw, publish
from jackpot_server.keys import RootKeys
from jackpot_server.reads import ReadConnections

# In the order of DrawRecord. One statement, so that no cycle is half open: whoever sees the cycle closed sees
# the win that closed it. A skipped share made no draw. What a running cycle opened with is in its pool's row,
# a won one's on its win; either only if the draw was made under the same configuration. EXISTS instead of
# IS NOT NULL would let the planner put every win into a hash table first.
_DRAW = f"""
SELECT p.pool_id, s.cycle, c.spin_id, c.client_seed, c.wager_minor, k.config, k.config_sha256,
       s.balance_micros,
       o.cycle_start_micros, o.cycle_start_time, o.cycle_deadline,
       p.cycle > s.cycle OR p.state = {int(Lifecycle.CLOSED)},
       (SELECT spin_id FROM wins WHERE pool_key = s.pool_key AND spin_id = s.spin_id) IS NOT NULL,
       m.key_id, m.commitment, m.commit_time, c.record_time
  FROM contribution_shares s
  JOIN contributions c ON c.spin_id = s.spin_id
  JOIN pools p ON p.pool_key = s.pool_key
  JOIN pool_configs k ON k.pool_key = s.pool_key AND k.version = s.config_version
  JOIN seed_commitments m ON m.pool_key = s.pool_key AND m.cycle = s.cycle
  LEFT JOIN LATERAL (
        SELECT p.cycle_start_micros, p.cycle_start_time, p.cycle_deadline
         WHERE p.cycle = s.cycle AND p.cycle_config_version = s.config_version
         UNION ALL
        SELECT cycle_start_micros, cycle_start_time, cycle_deadline FROM wins
         WHERE pool_key = s.pool_key AND cycle = s.cycle AND config_version = s.config_version
         UNION ALL
        SELECT cycle_start_micros, cycle_start_time, cycle_deadline FROM unwon_cycles
         WHERE pool_key = s.pool_key AND cycle = s.cycle AND config_version = s.config_version) o ON true
 WHERE s.spin_id = $2 AND p.pool_id = $1 AND s.skip_reason = {int(SkipReason.NOT_SKIPPED)}"""


class DrawReads:
    """May be asked again; nothing is changed."""

    def __init__(self, connections: ReadConnections, root_keys: RootKeys) -> None:
        self._fetch = connections.fetch
        self._root_keys = root_keys

    async def draw(self, pool_id: str, spin_id: UUID) -> PublishedDraw | None:
        """What may be known of the spin's draw in the pool; None if it made none there."""
        rows = await self._fetch(_DRAW, pool_id, spin_id)
        if not rows:
            return None
        record = DrawRecord(*rows[0])
        return publish(record, self._seed(record))

    def _seed(self, record: DrawRecord) -> bytes | None:
        """The seed that was committed, or none: of another root key it would prove the wrong thing."""
        root_key = self._root_keys.get(record.key_id)
        if root_key is None:
            return None
        seed = root_key.seed(record.pool_id, record.cycle)
        return seed if commitment(seed) == record.seed_commitment else None
