"""The seeds of committed cycles, derived from the root keys and checked against what was published."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from jackpot_server.domain.draw import commitment
from jackpot_server.keys import RootKeys
from service_kit.errors import StartRefused


class Commitment(NamedTuple):
    """A row of `seed_commitments`."""

    pool_key: int
    cycle: int
    key_id: str
    sha256: bytes


class CommittedSeeds(Mapping[tuple[int, int], bytes]):
    """Seeds by pool key and cycle: only of cycles whose commitments are in the database."""

    def __init__(self, root_keys: RootKeys) -> None:
        self._root_keys = root_keys
        self._seeds: dict[tuple[int, int], bytes] = {}

    def __getitem__(self, pool_and_cycle: tuple[int, int]) -> bytes:
        return self._seeds[pool_and_cycle]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)

    def add(self, committed: Iterable[Commitment], pool_ids: Mapping[int, str]) -> None:
        """Takes commitments as they are in the database.

        Raises StartRefused if one was made with a root key that is not here: draws would not follow from it.
        """
        for pool_key, cycle, key_id, sha256 in committed:
            if (pool_key, cycle) in self._seeds:
                continue
            root_key = self._root_keys.get(key_id)
            if root_key is None:
                known = ", ".join(repr(key.key_id) for key in self._root_keys)
                raise StartRefused(
                    f"The seeds of pool {pool_ids[pool_key]} from cycle {cycle} on are committed with the "
                    f"root key {key_id!r}, but this server has {known}."
                )
            seed = root_key.seed(pool_ids[pool_key], cycle)
            if commitment(seed) != sha256:
                raise StartRefused(
                    f"The root key {key_id!r} is not the one with which the seeds of pool "
                    f"{pool_ids[pool_key]} were committed."
                )
            self._seeds[pool_key, cycle] = seed

    def new(self, cycles: Iterable[tuple[int, int]], pool_ids: Mapping[int, str]) -> list[Commitment]:
        """Commitments to write for further cycles. Their seeds are not used before `add` has them back."""
        key = self._root_keys.newest
        return [
            Commitment(pool_key, cycle, key.key_id, commitment(key.seed(pool_ids[pool_key], cycle)))
            for pool_key, cycle in cycles
        ]

    def forget(self, pool_key: int, before_cycle: int) -> None:
        """Drops the seeds of a pool's closed cycles."""
        cycle = before_cycle - 1
        while self._seeds.pop((pool_key, cycle), None) is not None:
            cycle -= 1
