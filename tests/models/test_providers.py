"""A provider is one file and one line; the table of them is all that the rest knows."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from base.errors import ConfigurationError
from base.settings import ModelCard, Price, load_settings
from models.call import Ask, Caller
from models.catalog import ModelRegistry
from models.prices import cost_of
from models.providers import MODULES, EmbeddingCard, provider
from nodes.context import docstrings_of
from tests.wires.brain import Reply
from tests.wires.cards import at, configure
from tests.wires.clients import OpenWire

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
KEY = "sk-acme-0123456789abcdef"


@pytest.fixture
def acme(tmp_path: Path, monkeypatch) -> Iterator[str]:
    """Have the page's provider stand where the page says; return its name."""
    section = PAGE.read_text(encoding="utf-8").split("## A provider")[1].split("\n## ")[0]
    code, line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    [(name, module)] = ast.literal_eval(f"{{{line}}}").items()
    path = tmp_path / "acme.py"
    path.write_text(code)
    spec = spec_from_file_location(module, path)
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    monkeypatch.setitem(sys.modules, module, loaded)
    monkeypatch.setitem(MODULES, name, module)
    return name


async def test_the_provider_on_the_page_answers_once_its_file_and_its_line_are_there(
    acme, open_wire: OpenWire, tmp_path
):
    wire = open_wire("openai", brain=lambda heard: Reply(text="Noon."), key=KEY)
    card = at(wire, provider=acme, api_key_env=None)
    environ = configure(tmp_path, {"model": card}, {"chat": ["model"]})
    caller = Caller(load_settings({**environ, "ACME_API_KEY": KEY}))
    await caller.warm("chat", "local")
    attempts = []

    async def account(attempt):
        attempts.append((attempt.cost_usd, attempt.error))

    reply = await caller.call(Ask("chat", [HumanMessage("When?")], "local"), account)
    await caller.close()
    assert reply.message.text == "Noon."
    assert (wire.rejected, attempts) == ([], [(None, None)])


def test_the_key_of_the_provider_on_the_page_is_enough(acme):
    registry = ModelRegistry(load_settings({"ACME_API_KEY": KEY}))
    assert (registry.roles["orchestrator"], registry.roles["chat"]) == (("acme",), ("acme",))
    assert registry.missing("acme") is None


def test_every_provider_is_named_where_a_card_is_explained():
    told = docstrings_of(ModelCard)["provider"]
    assert [name for name in MODULES if name not in told] == []


@pytest.mark.parametrize("name", MODULES)
def test_an_embedding_needs_a_provider_that_has_them(name):
    card = {"provider": name, "model": "m"}
    if provider(name).embed:
        assert EmbeddingCard.model_validate(card).provider == name
    else:
        with pytest.raises(ValueError, match="those with embeddings are google, openai"):
            EmbeddingCard.model_validate(card)


def test_an_unknown_provider_is_named_with_its_line_and_those_there_are(tmp_path):
    config = tmp_path / "twobrain.toml"
    config.write_text('[models.m]\nmodel = "m"\nprovider = "acme"\n')
    settings = load_settings({"TWOBRAIN_CONFIG": str(config)})
    with pytest.raises(
        ConfigurationError, match=r"line 3: models\.m\.provider: unknown provider 'acme'.*'openai'"
    ):
        ModelRegistry(settings)


@pytest.mark.parametrize(
    "usage", [{"total_tokens": 7}, {"input_tokens": 7}, {"input_tokens": None, "output_tokens": 7}]
)
@pytest.mark.parametrize("price", [None, Price(input=1.0, output=1.0)])
def test_counts_that_are_missing_leave_the_cost_unknown(usage, price):
    card = ModelCard(provider="anthropic", model="claude-sonnet-4-6", price=price)
    assert cost_of(card, usage) is None
