"""Memories found by meaning: the providers' own clients against their embeddings on loopback."""

import asyncio
import json
import sqlite3

import pytest

from base.errors import ConfigurationError
from base.settings import load_settings
from graphs.session import open_orchestrator
from models.catalog import open_embedder
from nodes.context import Context
from storage.memories import open_memories
from tests.tools.loopback import answer, open_site, stuck

MEANINGS = [{"bin", "rubbish", "trash"}, {"cat", "pet", "tom"}, {"car", "vehicle"}]
ALONE = "(Found by words alone: the embedding model did not answer, and the log says why.)"


def placed(text: str, dims: int) -> list[float]:
    """Return a vector that is near those of texts about the same things."""
    words = set(text.casefold().replace("?", "").split())
    return [1.0 * len(meaning & words) for meaning in MEANINGS] + [0.1] * (dims - len(MEANINGS))


class Minds:
    """An embedding endpoint of each kind, and the texts that reached it."""

    def __init__(self, site, folder):
        self.site, self.folder = site, folder
        self.asked: list[str] = []
        self.dims = 8
        self.up()

    def up(self):
        self.site.pages["/v1/embeddings"] = self._openai
        self.site.pages["/v1beta/models/small:batchEmbedContents"] = self._google

    def down(self, page=None):
        self.site.pages = dict.fromkeys(self.site.pages, page or answer("{}", status="503 Down"))

    async def _openai(self, writer):
        self.asked += (texts := json.loads(self.site.seen[-1].body)["input"])
        data = [{"index": i, "embedding": placed(text, self.dims)} for i, text in enumerate(texts)]
        writer.write(answer(json.dumps({"object": "list", "data": data}), "application/json"))

    async def _google(self, writer):
        requests = json.loads(self.site.seen[-1].body)["requests"]
        self.asked += (texts := [request["content"]["parts"][0]["text"] for request in requests])
        found = [{"values": placed(text, self.dims)} for text in texts]
        writer.write(answer(json.dumps({"embeddings": found}), "application/json"))

    def settings(self, provider="openai", more=""):
        """Return settings under which memories are placed by this endpoint; provider None: by none."""
        config = self.folder / "twobrain.toml"
        base = self.site.url("/v1" if provider == "openai" else "")
        table = f'[tools.memory]\nprovider = "{provider}"\nmodel = "small"\nbase_url = "{base}"\n{more}'
        config.write_text(f"[users.ada]\n{table if provider else ''}")
        environ = {"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(self.folder / "data")}
        return load_settings({**environ, "GEMINI_KEY": "moonlight sonata"})

    def open(self, provider="openai", more=""):
        return open_orchestrator(self.settings(provider, more))

    def vectors(self):
        connection = sqlite3.connect(self.folder / "data" / "store.db")
        try:
            return connection.execute("SELECT key, model FROM vectors").fetchall()
        finally:
            connection.close()


@pytest.fixture
async def minds(tmp_path):
    async with open_site() as site:
        yield Minds(site, tmp_path)


async def recalled(orchestrator, about, user="local"):
    result = await orchestrator.ask(f"what do you remember about {about}?", context=Context(user=user))
    return result.tool_calls[0]["result"].splitlines()


async def tell(orchestrator, *texts, user="local"):
    for text in texts:
        result = await orchestrator.ask(f"remember that {text}", context=Context(user=user))
        assert result.tool_calls[0]["status"] == "executed"


@pytest.mark.parametrize(
    ("provider", "more"), [("openai", ""), ("google", 'api_key_env = "GEMINI_KEY"'), ("openai", "dims = 5")]
)
async def test_a_memory_is_found_by_what_it_means_though_it_shares_no_word(minds, provider, more):
    async with minds.open(provider, more) as orchestrator:
        await tell(orchestrator, "the bin goes out on Monday", "her cat is called Tom", "red car sold")
        lines = await recalled(orchestrator, "rubbish")
        assert "bin goes out" in lines[0]
        assert "cat" in (await recalled(orchestrator, "pet"))[0]
    assert len(minds.vectors()) == 3
    assert max(minds.asked) == "the bin goes out on Monday"
    assert len(minds.asked) == 5, "each text is placed once, and each query"
    asked = json.loads(minds.site.seen[0].body)
    if provider == "google":
        assert minds.site.seen[0].headers["x-goog-api-key"] == "moonlight sonata"
    else:
        assert asked.get("dimensions") == (5 if more else None)


async def test_what_was_remembered_before_there_was_a_model_is_found_by_meaning_and_keeps_its_date(minds):
    async with minds.open(None) as orchestrator:
        await tell(orchestrator, "the bin goes out on Monday", "her cat is called Tom")
    connection = sqlite3.connect(minds.folder / "data" / "store.db")
    connection.execute(
        "UPDATE store SET created_at = '2020-02-02 10:00:00', value = json_remove(value, '$.at')"
    )
    connection.commit()
    connection.close()
    async with minds.open() as orchestrator:
        assert "the bin goes out on Monday (2020-02-02" in (await recalled(orchestrator, "rubbish"))[0]


@pytest.mark.parametrize(
    ("page", "timeout_s"),
    [(None, 60), (answer("not json"), 60), (stuck(), 1)],
    ids=["503", "nonsense", "silence"],
)
async def test_with_the_model_away_nothing_is_lost_and_words_still_find(minds, page, timeout_s):
    minds.down(page)
    async with minds.open(more=f"timeout_s = {timeout_s}") as orchestrator:
        await tell(orchestrator, "the bin goes out on Monday")
        assert [line[11:] for line in await recalled(orchestrator, "the bin")][1:] == [ALONE[11:]]
        assert await recalled(orchestrator, "rubbish") == ["Nothing is remembered about 'rubbish'.", ALONE]
        minds.up()
        assert "bin goes out" in (await recalled(orchestrator, "rubbish"))[0]


async def test_a_key_that_is_not_set_costs_only_the_meaning(minds):
    async with minds.open(more='api_key_env = "NOT_THERE"') as orchestrator:
        await tell(orchestrator, "the bin goes out on Monday")
        first, note = await recalled(orchestrator, "the bin")
    assert ("Monday" in first, note) == (True, ALONE)
    assert minds.site.seen == []


async def test_whoever_waits_for_the_model_holds_up_nobody_else(minds):
    asked = asyncio.Event()

    async def silence(writer):
        asked.set()
        await asyncio.Event().wait()

    minds.down(silence)
    async with minds.open(more="timeout_s = 600") as orchestrator:
        waiting = asyncio.ensure_future(recalled(orchestrator, "rubbish"))
        await asyncio.wait_for(asked.wait(), 60)
        await asyncio.wait_for(tell(orchestrator, "the bin goes out on Monday"), 60)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_another_model_places_everything_anew_though_its_vectors_are_longer(minds):
    async with minds.open() as orchestrator:
        await tell(orchestrator, "the bin goes out on Monday", "her cat is called Tom")
        await recalled(orchestrator, "rubbish")
    minds.dims = 16
    async with minds.open() as orchestrator:
        assert "bin goes out" in (await recalled(orchestrator, "rubbish"))[0]
    assert {name for _, name in minds.vectors()} == {"openai:small/16"}


async def test_one_persons_search_sends_nothing_of_anothers_to_the_model(minds):
    async with minds.open() as orchestrator:
        await tell(orchestrator, "my safe opens at 1234", user="ada")
        await tell(orchestrator, "the bin goes out on Monday")
        assert len(await recalled(orchestrator, "rubbish")) == 1
    assert minds.asked == ["rubbish", "the bin goes out on Monday"]


@pytest.mark.parametrize(("provider", "more"), [("openai", ""), ("google", 'api_key_env = "GEMINI_KEY"')])
async def test_neither_key_nor_memory_follows_a_redirect(minds, provider, more):
    async with open_site() as away:
        where = away.url().replace("127.0.0.1", "localhost")
        minds.down(answer("", status="307 Temporary Redirect", Location=where))
        async with minds.open(provider, more) as orchestrator:
            await tell(orchestrator, "the bin goes out on Monday")
            assert ALONE in await recalled(orchestrator, "the bin")
        assert away.seen == []


@pytest.mark.parametrize("provider", ["openai", None])
async def test_what_is_forgotten_leaves_no_vector_even_where_the_model_was_taken_away(minds, provider):
    async with minds.open() as orchestrator:
        await tell(orchestrator, "the bin goes out on Monday")
        await recalled(orchestrator, "rubbish")
    [(key, _)] = minds.vectors()
    settings = minds.settings(provider)
    async with open_memories(settings.data_dir / "store.db", open_embedder(settings)) as store:
        await store.adelete(("memories", "local"), key)
    assert minds.vectors() == []


@pytest.mark.parametrize(
    "table",
    ['provider = "x"\nmodel = "m"', 'provider = "openai"', 'provider = "openai"\nmodel = "m"\nkey = "k"'],
)
async def test_a_table_that_is_wrong_fails_at_the_start_and_names_its_line(tmp_path, table):
    config = tmp_path / "twobrain.toml"
    config.write_text(f"[tools.memory]\n{table}\n")
    settings = load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")})
    with pytest.raises(ConfigurationError, match=r"twobrain.toml, line \d: tools.memory"):
        async with open_orchestrator(settings):
            raise AssertionError
