"""The draws once more (PR-12 to PR-15): who won had to win, and nobody else did. Needs the root keys."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jackpot_server.audit.trail import RecordedBatch
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.draw import commitment, draw_bytes
from jackpot_server.domain.evidence import (
    CONTRIBUTIONS,
    POOL_CONFIGS,
    POOLS,
    SEED_COMMITMENTS,
    UNWON_CYCLES,
    WINS,
)
from jackpot_server.domain.facts import Proof, Share
from jackpot_server.domain.pool import GameSays, Odds, PoolConfig
from jackpot_server.domain.trigger import CycleTrigger, Opening, cycle_trigger, moment_of
from jackpot_server.keys import RootKeys
from jackpot_server.recall import share_rows
from service_kit.audit_report import Findings

SEEDS: Final = "every seed is the one that was committed to"
DRAWS: Final = "every draw decides as it did"

_CYCLES_KEPT: Final = 4_096


class DrawCheck:
    """Takes batches in the order of their numbers, after the books have read their configurations."""

    def __init__(
        self, root_keys: RootKeys, configs: Mapping[tuple[int, int], PoolConfig], findings: Findings
    ) -> None:
        self._keys = root_keys
        self._configs = configs
        self._digests: dict[tuple[int, int], bytes] = {}
        self._findings = findings
        self._pool_ids: dict[int, str] = {}
        self._seeds: dict[tuple[int, int], bytes] = {}
        self._openings: OrderedDict[tuple[int, int], Opening] = OrderedDict()
        self._triggers: OrderedDict[tuple[int, int, int], CycleTrigger] = OrderedDict()

    def take(self, batch: RecordedBatch) -> None:
        """Makes every draw of the batch again."""
        for pool_key, pool_id, _ in batch.of(POOLS):
            self._pool_ids[pool_key] = pool_id
        for pool_key, version, _, digest, *_ in batch.of(POOL_CONFIGS):
            self._digests[pool_key, version] = digest
        self._take_commitments(batch)
        self._take_openings(batch)
        wins = {(values[0], values[1]): values for values in batch.of(WINS)}
        for values in batch.of(CONTRIBUTIONS):
            *fields, tiers, occur_time, numbers = values
            command = Contribute._make([*fields, tuple(tiers.split(",")) if tiers else (), occur_time])
            for share in map(Share._make, share_rows(numbers)):
                if not share.skip_reason:
                    self._repeat(command, share, wins.get((share.pool_key, command.spin_id)), batch)
        for pool_key, _, cycle, *_ in batch.of(WINS):
            self._seeds.pop((pool_key, cycle), None)
        for pool_key, cycle, *_ in batch.of(UNWON_CYCLES):
            self._seeds.pop((pool_key, cycle), None)

    def _take_commitments(self, batch: RecordedBatch) -> None:
        for pool_key, cycle, key_id, sha256 in batch.of(SEED_COMMITMENTS):
            key, pool_id = self._keys.get(key_id), self._pool_ids.get(pool_key)
            where = f"seed_commitments pool_key {pool_key}, cycle {cycle}"
            if key is None or pool_id is None:
                self._findings.add(SEEDS, where, f"the root key {key_id!r} is not here")
                continue
            seed = key.seed(pool_id, cycle)
            self._findings.equal(SEEDS, where, "the commitment", sha256.hex(), commitment(seed).hex())
            self._seeds[pool_key, cycle] = seed

    def _take_openings(self, batch: RecordedBatch) -> None:
        """What cycles opened with: those that the batch left running, and those that it ended."""
        for state in batch.pool_states:
            pool_key, cycle, start_micros = state[0], state[4], state[5]
            start_us, deadline_us = state[6], state[14]
            deadline = None if deadline_us < 0 else moment_of(deadline_us)
            self._open(pool_key, Opening(cycle, start_micros, moment_of(start_us), deadline))
        for values in batch.of(WINS):
            start_micros, start_time, deadline = values[-3:]
            if start_micros is not None or start_time is not None:
                opening = Opening(values[2], start_micros or 0, start_time or batch.time, deadline)
                self._open(values[0], opening)

    def _open(self, pool_key: int, opening: Opening) -> None:
        self._openings[pool_key, opening.cycle] = opening
        if len(self._openings) > _CYCLES_KEPT:
            self._openings.popitem(last=False)

    def _repeat(
        self, command: Contribute, share: Share, win: Sequence[Any] | None, batch: RecordedBatch
    ) -> None:
        trigger = self._trigger(share)
        if trigger is None:
            return
        self._findings.examined[DRAWS] += 1
        proof = trigger.falls(command, share.balance_micros, batch.time)
        where = f"contributions spin_id {command.spin_id}, pool {share.pool_key}, {batch.where}"
        if (proof is None) != (win is None):
            self._findings.add(DRAWS, where, "it won and had not to" if proof is None else "it had to win")
        elif proof is not None and win is not None and win[12:16] != _stored(proof):
            self._findings.add(DRAWS, where, "its draw is not the one that is stored")

    def _trigger(self, share: Share) -> CycleTrigger | None:
        """None: the configuration or the seed is not here, or the game decides."""
        name = (share.pool_key, share.cycle, share.config_version)
        known = self._triggers.get(name)
        if known is not None:
            return known
        config = self._configs.get((share.pool_key, share.config_version))
        seed = self._seeds.get((share.pool_key, share.cycle))
        opening = self._openings.get((share.pool_key, share.cycle))
        if config is None or seed is None or isinstance(config.trigger, GameSays):
            return None
        if opening is None:
            if not isinstance(config.trigger, Odds):
                return None
            opening = Opening(share.cycle, 0, moment_of(0), None)
        digest = self._digests[share.pool_key, share.config_version]
        trigger = cycle_trigger(config, self._pool_ids[share.pool_key], opening, seed, digest)
        self._triggers[name] = trigger
        if len(self._triggers) > _CYCLES_KEPT:
            self._triggers.popitem(last=False)
        return trigger


def _stored(proof: Proof) -> tuple[Any, ...]:
    """As a win's row has it: draw and threshold, reached and hidden."""
    value, threshold = (None if each is None else draw_bytes(each) for each in (proof.value, proof.threshold))
    return value, threshold, proof.reached, proof.hidden
