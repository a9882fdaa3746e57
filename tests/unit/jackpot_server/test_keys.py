"""The root key as text, and seeds that are used only where they were committed."""

import base64
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from jackpot_server.domain.draw import commitment
from jackpot_server.keys import (
    RootKey,
    RootKeys,
    older_root_keys,
    parse_root_key,
    read_root_key,
    root_key_of_command,
)
from jackpot_server.seeds import CommittedSeeds
from jackpot_server.settings import RootKeySettings
from service_kit.errors import StartRefused

SECRET = bytes(range(200, 232))
KEY = RootKey("root-1", SECRET)
POOLS = {1: "mini", 2: "major"}


@pytest.mark.parametrize(
    "text", [SECRET.hex(), SECRET.hex().upper() + "\n", base64.b64encode(SECRET).decode()]
)
def test_a_root_key_is_hexadecimal_or_base64(text: str) -> None:
    assert parse_root_key("root-1", text) == KEY


@pytest.mark.parametrize(
    "text", ["", "zz", SECRET[:31].hex(), base64.b64encode(SECRET[:31]).decode(), "é" * 40]
)
def test_a_bad_root_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="root key") as refused:
        parse_root_key("root-1", text)
    assert not text or text not in str(refused.value)


def test_a_root_key_never_shows_its_secret() -> None:
    assert SECRET.hex() not in repr(KEY)
    assert str(SECRET) not in repr(KEY)


def test_a_root_key_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET.hex())
    assert read_root_key("root-1", file) == KEY
    with pytest.raises(ValueError, match="cannot be read"):
        read_root_key("root-1", tmp_path / "none")


def test_pr_13_only_cycles_whose_commitments_are_stored_have_a_seed() -> None:
    seeds = CommittedSeeds(RootKeys(KEY))
    new = seeds.new([(1, 5), (2, 9)], POOLS)
    assert len(seeds) == 0
    seeds.add(new, POOLS)
    assert dict(seeds) == {(1, 5): KEY.seed("mini", 5), (2, 9): KEY.seed("major", 9)}
    assert [each.sha256 for each in new] == [commitment(seed) for seed in seeds.values()]


def test_pr_13_a_start_with_another_root_key_is_refused() -> None:
    committed = CommittedSeeds(RootKeys(KEY)).new([(1, 1)], POOLS)
    for other in (RootKey("root-2", SECRET), RootKey("root-1", SECRET[::-1])):
        with pytest.raises(StartRefused):
            CommittedSeeds(RootKeys(other)).add(committed, POOLS)


def test_seeds_of_closed_cycles_are_forgotten() -> None:
    seeds = CommittedSeeds(RootKeys(KEY))
    seeds.add(seeds.new([(1, cycle) for cycle in range(1, 10)], POOLS), POOLS)
    seeds.forget(1, before_cycle=6)
    assert sorted(seeds) == [(1, cycle) for cycle in range(6, 10)]


OLD = RootKey("root-0", SECRET[::-1])


def test_a_root_key_is_what_a_command_prints_and_its_failure_shows_nothing() -> None:
    program = f"print('{SECRET.hex()}')"
    assert root_key_of_command("root-1", f'{sys.executable} -c "{program}"') == KEY
    for failing in (f'{sys.executable} -c "{program}; exit(3)"', "no-such-program", "'unclosed", ""):
        with pytest.raises(ValueError, match="command") as refused:
            root_key_of_command("root-1", failing)
        assert SECRET.hex() not in str(refused.value)


def test_older_keys_come_from_files_commands_and_the_setting_itself(tmp_path: Path) -> None:
    file = tmp_path / "old key"
    file.write_text(OLD.secret.hex())
    text = f"root-0=file:{file}; root-a=command:{sys.executable} {{}}; root-b={SECRET.hex()} ;"
    script = tmp_path / "script.py"
    script.write_text(f"print('{SECRET.hex()}')")
    assert older_root_keys(text.format(script)) == [OLD, RootKey("root-a", SECRET), RootKey("root-b", SECRET)]
    assert older_root_keys("") == []
    for wrong in ("root-0", "=x", f"root-0={SECRET[:20].hex()}", "root-0=file:/none"):
        with pytest.raises(ValueError, match="root key"):
            older_root_keys(wrong)


def test_pr_13_the_older_key_makes_the_seeds_of_its_cycles_and_the_newest_commits_to_further_ones() -> None:
    before = CommittedSeeds(RootKeys(OLD)).new([(1, 1), (1, 2)], POOLS)
    rotated = CommittedSeeds(RootKeys(KEY, OLD))
    rotated.add(before, POOLS)
    new = rotated.new([(1, 3)], POOLS)
    assert [each.key_id for each in new] == ["root-1"]
    rotated.add(new, POOLS)
    assert dict(rotated) == {
        (1, 1): OLD.seed("mini", 1),
        (1, 2): OLD.seed("mini", 2),
        (1, 3): KEY.seed("mini", 3),
    }


def test_pr_13_an_older_key_that_still_has_committed_cycles_is_missed_at_the_start() -> None:
    before = CommittedSeeds(RootKeys(OLD)).new([(1, 7)], POOLS)
    with pytest.raises(StartRefused, match=r"pool mini from cycle 7 on .* 'root-0'"):
        CommittedSeeds(RootKeys(KEY)).add(before, POOLS)


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        RootKeys(KEY, RootKey("root-1", SECRET[::-1]))


def test_settings_take_one_source_and_name_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET.hex())
    for sources in (
        {},
        {"root_key_file": file, "root_key_command": "x"},
        {"root_key": SecretStr(SECRET.hex()), "root_key_file": file},
    ):
        with pytest.raises(ValueError, match="set one of JACKPOT_ROOT_KEY"):
            RootKeySettings(**sources)  # type: ignore[arg-type]
    settings = RootKeySettings(root_key_file=file, old_root_keys=SecretStr(f"root-0={OLD.secret.hex()}"))
    assert list(settings.read_root_keys()) == [KEY, OLD]
    same = RootKeySettings(root_key_file=file, old_root_keys=SecretStr(f"root-1={OLD.secret.hex()}"))
    with pytest.raises(StartRefused, match="same id"):
        same.read_root_keys()
    with pytest.raises(StartRefused, match="command ended with status 1"):
        RootKeySettings(root_key_command="false").read_root_keys()
