import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.utils.function_calling import convert_to_openai_tool

from base.errors import ConfigurationError, UnknownToolError
from base.settings import ROLES, load_settings
from tools.declaration import tool
from tools.registry import Registry, open_registry

SETTINGS = load_settings({})
REGISTRY = open_registry(SETTINGS)
FIRST = ["get_time", "calculate", "list_files", "read_file", "search_files", "write_file", "delete_file"]


@tool(effect="read", role="guest", missing=lambda settings: "SEARCH_KEY is not set")
def unconfigured() -> str:
    """Need a key that is not there."""
    return ""


@tool(effect="execute", role="admin")
def reboot() -> str:
    """Restart the machine."""
    return ""


def names(tools) -> list[str]:
    return [each.name for each in tools]


def test_every_install_has_the_clock_the_calculator_and_the_file_tools_in_a_stable_order():
    assert [name for name in names(REGISTRY) if name in FIRST] == FIRST


def test_what_changes_files_asks_first_and_what_reads_them_does_not():
    asking = {each.name for each in REGISTRY if each.confirm}
    assert {"write_file", "delete_file"} <= asking
    assert asking.isdisjoint({"get_time", "calculate", "list_files", "read_file", "search_files"})


@given(role=st.sampled_from(ROLES), allow=st.none() | st.sets(st.sampled_from([*names(REGISTRY), "reboot"])))
def test_neither_the_role_nor_the_allow_list_widens_the_other(role, allow):
    registry = Registry([*REGISTRY, reboot, unconfigured])
    offered = names(registry.offered(role, allow, SETTINGS))
    by_role = names(registry.offered(role, None, SETTINGS))
    assert offered == [name for name in by_role if allow is None or name in allow]
    assert ("reboot" in by_role) == (role == "admin")


def test_an_unavailable_tool_is_known_but_not_offered():
    registry = Registry([unconfigured])
    assert "unconfigured" in registry
    assert registry.get("unconfigured") is unconfigured
    assert registry.offered("admin", None, SETTINGS) == []


def test_an_empty_allow_list_allows_nothing():
    assert REGISTRY.offered("admin", [], SETTINGS) == []


@pytest.mark.parametrize("name", ["Read_File", "readFile", "read-file", "READ FILE", "read.file"])
def test_a_name_in_other_case_or_with_other_separators_is_recognised_but_not_the_same(name):
    assert REGISTRY.get(name) is None
    assert REGISTRY.find(name) is REGISTRY.get("read_file")


@pytest.mark.parametrize("name", ["read_files", "", "rm"])
def test_another_name_is_not_guessed_at(name):
    assert REGISTRY.find(name) is None


def test_a_name_that_fits_two_tools_is_not_guessed_at():
    def re_boot() -> str:
        """Put the boots on again."""
        return ""

    assert Registry([reboot, tool(effect="write")(re_boot)]).find("ReBoot") is None


def test_two_tools_of_one_name_are_a_configuration_error():
    with pytest.raises(ConfigurationError, match="Two tools are named 'reboot'"):
        Registry([reboot, reboot])


def test_required_names_that_no_tool_has_are_named_with_the_ones_there_are():
    REGISTRY.require(["get_time", "read_file"])
    with pytest.raises(UnknownToolError, match=r"Unknown tools 'fly', 'rm'\. .*calculate, .*delete_file"):
        REGISTRY.require(["fly", "get_time", "rm"])


@pytest.mark.parametrize("declared", list(REGISTRY), ids=names(REGISTRY))
def test_every_tool_describes_itself_and_each_argument_in_a_plain_closed_schema(declared):
    spec = declared.spec()["function"]
    assert spec["description"]
    assert spec["parameters"]["additionalProperties"] is False
    assert all(each["description"] for each in spec["parameters"]["properties"].values())
    assert not {"$ref", "$defs", "title", "anyOf"} & set(json.dumps(spec).split('"'))


@pytest.mark.parametrize("declared", list(REGISTRY), ids=names(REGISTRY))
def test_openai_and_anthropic_take_every_schema_as_it_is(declared):
    from langchain_anthropic.chat_models import convert_to_anthropic_tool

    assert convert_to_openai_tool(declared.spec()) == declared.spec()
    assert convert_to_anthropic_tool(declared.spec())["input_schema"] == declared.parameters
