"""games.toml: what is wrong is named with its key, all of it at once."""

import tomllib
from pathlib import Path

import pytest

from service_kit.errors import StartRefused
from spin_server.domain.game import GameCategory
from spin_server.games import load_games, read_catalog

GOOD = """
[providers]
may_trigger_tiers = ["studio"]
[[games]]
game_id = "dice"
display_name = "Dice"
category = "TABLE"
provider_name = "house"
currency_code = "EUR"
min_wager_minor = 10
max_wager_minor = 10
pay_table = [{ multiplier_ppm = 1900000, weight = 1 }, { multiplier_ppm = 0, weight = 1 }]
[[games]]
game_id = "reels"
display_name = "Reels"
category = "SLOTS"
provider_name = "studio"
currency_code = "COIN"
min_wager_minor = 1
max_wager_minor = 500
enabled = false
"""


def test_a_good_file_is_read_whole() -> None:
    catalog, problems = read_catalog(tomllib.loads(GOOD))
    assert problems == []
    assert catalog is not None
    dice, reels = catalog.games["dice"], catalog.games["reels"]
    assert (dice.category, dice.return_ppm, dice.enabled) == (GameCategory.TABLE, 950_000, True)
    assert (reels.pay_table, reels.return_ppm, reels.enabled) == (None, 0, False)
    assert catalog.tier_providers == {"studio"}


@pytest.mark.parametrize(
    ("good", "bad", "key"),
    [
        ('game_id = "reels"', 'game_id = "re els"', "games[1].game_id"),
        ('game_id = "reels"', 'game_id = "dice"', "games"),
        ('category = "SLOTS"', 'category = "slots"', "games[1].category"),
        ('category = "SLOTS"', "", "games[1].category"),
        ('currency_code = "COIN"', 'currency_code = "GOLD"', "games[1].currency_code"),
        ("max_wager_minor = 500", "max_wager_minor = 0", "games[1].max_wager_minor"),
        ("max_wager_minor = 500", "max_wager_minor = 1.5", "games[1].max_wager_minor"),
        ("max_wager_minor = 500", "max_wager = 500", "games[1].max_wager"),
        ("min_wager_minor = 1\n", "min_wager_minor = 600\n", "games[1].max_wager_minor"),
        ("enabled = false", "enabled = 0", "games[1].enabled"),
        ("weight = 1 }]", "weight = 0 }]", "games[0].pay_table[1].weight"),
        ("weight = 1 }]", "weight = 2 }]", "games[0].pay_table"),
        ("max_wager_minor = 10\n", "max_wager_minor = 11\n", "games[0].pay_table[0].multiplier_ppm"),
        (
            "min_wager_minor = 10\nmax_wager_minor = 10\n",
            "min_wager_minor = 3\nmax_wager_minor = 3\n",
            "games[0].pay_table[0].multiplier_ppm",
        ),
        ("= 1900000", "= 1000000000000000000", "games[0].pay_table[0].multiplier_ppm"),
        ('["studio"]', '["stu dio"]', "providers.may_trigger_tiers[0]"),
        ("[providers]", "[provider]", "provider"),
    ],
)
def test_a_mistake_is_named_with_its_key(good: str, bad: str, key: str) -> None:
    assert good in GOOD
    catalog, problems = read_catalog(tomllib.loads(GOOD.replace(good, bad)))
    assert catalog is None
    assert key in [problem.partition(":")[0] for problem in problems]


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "games.toml"
    file.write_text(
        GOOD.replace('"TABLE"', '"T"').replace("weight = 1 }]", "weight = 2 }]").replace("= 500", '= "x"')
    )
    with pytest.raises(StartRefused) as caught:
        load_games(file)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{file}: games[") for line in lines)


def test_an_empty_missing_or_broken_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "games.toml"
    for text in (None, "", "games = 3", "games = [", "\udcff"):
        if text is not None:
            file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(StartRefused, match=r"games\.toml"):
            load_games(file)
