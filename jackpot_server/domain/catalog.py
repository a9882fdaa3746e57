"""All pools and all versions of their configurations, as of one version of the catalog."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jackpot_server.domain.pool import PoolConfig


class PoolLabel(NamedTuple):
    """What an answer shows of a share's pool."""

    pool_id: str
    tier: str


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """A configuration and the SHA-256 of its canonical text."""

    config: PoolConfig
    digest: bytes


@dataclass(frozen=True, slots=True)
class Catalog:
    """Immutable; a newer one replaces it. `newest` is the number of each pool's newest configuration.

    A pool never leaves it; those in `closed` take part in nothing any more.
    """

    version: int
    pool_ids: Mapping[int, str]
    newest: Mapping[int, int]
    configs: Mapping[tuple[int, int], StoredConfig]
    # By pool key and config version, as a share names them.
    labels: Mapping[tuple[int, int], PoolLabel]
    pool_keys: Mapping[str, int]
    closed: Collection[int] = frozenset()
