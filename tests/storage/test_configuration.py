import stat
import tomllib

import pytest

from base.environment import variables_of
from base.errors import ConfigurationError
from base.settings import ModelCard
from storage.configuration import write_answers

CLAUDE = ModelCard(provider="anthropic", model="m", context_window=1_000)
SHAPES = {
    "tables": '# a\n[models.gemini] # b\nprovider = "google"\nmodel = "g"\n\n[limits]\nmax_rounds = 3 # c\n',
    "apart": '[models.a]\nprovider = "offline"\n[limits]\nmax_rounds = 3\n[models.b]\nprovider = "offline"\n',
    "dotted": 'models.a.provider = "offline"\n[limits]\n',
    "one table": '[models]\na = { provider = "offline", model = "writer" } # in a line\n',
    "Windows": '# a\r\n[models.a]\r\nprovider = "offline"\r\n',
    "a mark": '\ufeff[models.a]\nprovider = "offline"\n',
    "no end": '[models.a]\nprovider = "offline" # z',
    "nothing": "",
    "comments": "# only\n\n# these\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_table_is_added_and_changed_and_all_else_stays(tmp_path, shape):
    path = tmp_path / "twobrain.toml"
    path.write_bytes(SHAPES[shape].encode())
    before = tomllib.loads(SHAPES[shape].removeprefix("\ufeff"))
    for card in (
        CLAUDE,
        CLAUDE.model_copy(update={"model": "n", "base_url": "http://x", "context_window": None}),
    ):
        assert write_answers(tmp_path, {}, {"claude": card}) == [path.resolve()]
        after = tomllib.loads(path.read_text())
        assert ModelCard.model_validate(after["models"].pop("claude")) == card
        assert {"models": {}, **after} == {"models": {}, **before}
        assert all(
            line.partition("#")[2] in path.read_text() for line in SHAPES[shape].splitlines() if "#" in line
        )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("key", ["plain", "it's", 'a"b', "back\\slash", "hash#tag", "$HOME", "a=b=="])
def test_a_key_is_read_as_it_was_written_beside_what_was_there(tmp_path, key):
    path = tmp_path / ".env"
    path.write_text("# mine\nexport OLD=1\nKEY=before\nLAST=2")
    path.chmod(0o644)
    left = tmp_path / ".env.new"
    left.touch()
    left.chmod(0o644)  # by somebody who was cut short
    write_answers(tmp_path, {"KEY": key}, {})
    assert variables_of(path) == {"OLD": "1", "KEY": key, "LAST": "2"}
    assert path.read_text().startswith("# mine\nexport OLD=1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("odd", ["models = 3\n", 'models = { a = { provider = "offline" } }\n', "no TOML"])
def test_what_cannot_be_written_as_it_is_changes_neither_file(tmp_path, odd):
    for name in (".env", "twobrain.toml"):
        (tmp_path / name).write_text("# mine\n")
    with pytest.raises(ConfigurationError, match="variable of the environment"):
        write_answers(tmp_path, {"KEY": "a${HOME}b"}, {"claude": CLAUDE})
    (tmp_path / "twobrain.toml").write_text(odd)
    with pytest.raises(ConfigurationError, match=r"add these models yourself: claude"):
        write_answers(tmp_path, {"KEY": "fine"}, {"claude": CLAUDE})
    assert (tmp_path / ".env").read_text() == "# mine\n"
    assert (tmp_path / "twobrain.toml").read_text() == odd
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_to_either_file_stays_one(tmp_path):
    real = tmp_path / "dotfiles"
    real.mkdir()
    (real / "env").write_text("OLD=1\n")
    (tmp_path / ".env").symlink_to(real / "env")
    write_answers(tmp_path, {"KEY": "x"}, {})
    assert (tmp_path / ".env").is_symlink()
    assert variables_of(real / "env") == {"OLD": "1", "KEY": "x"}
