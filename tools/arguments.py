"""A function's parameters, as the schema a model reads and the check its calls must pass."""

import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

_SHOWN_PROBLEMS = 5


class ArgumentsError(ValueError):
    """The arguments do not fit the tool; the text tells a model what to change.

    Attributes:
        problem: what is wrong, in words for a person, without the schema.
    """

    def __init__(self, message: str, problem: str = "") -> None:
        super().__init__(message)
        self.problem = problem or message


def wants_here(function: Callable[..., Any]) -> bool:
    """Tell whether the first parameter is `here`, which no model sees."""
    return next(iter(inspect.signature(function).parameters), "") == "here"


def model_of(function: Callable[..., Any]) -> type[BaseModel]:
    """Return a pydantic model of the parameters that a model fills in; unknown names are refused."""
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[wants_here(function) :]
    fields: dict[str, Any] = {
        each.name: (_described(hints[each.name]), ... if each.default is each.empty else each.default)
        for each in parameters
    }
    config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)
    return create_model(getattr(function, "__name__", "arguments"), __config__=config, **fields)


def _described(hint: Any) -> Any:
    """Turn `Annotated[str, "words"]` into a field whose description is those words."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    for note in notes:
        kind = Annotated[kind, Field(description=note) if isinstance(note, str) else note]
    return kind


def parameters_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's JSON schema without references, titles and null alternatives."""
    schema = model.model_json_schema()
    plain: dict[str, Any] = plain_schema(schema, schema.get("$defs", {}))
    plain.setdefault("properties", {})
    return plain


def plain_schema(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema in the dialect that Gemini, OpenAI and Anthropic share; it must not be recursive."""
    if isinstance(schema, list):
        return [plain_schema(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return plain_schema(definitions[schema["$ref"].rpartition("/")[2]] | rest, definitions)
    return {
        key: _plain_value(key, value, definitions)
        for key, value in _without_null(schema).items()
        if key not in {"title", "$defs"} and (key, value) != ("default", None)
    }


def _plain_value(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key == "properties":
        return {name: plain_schema(each, definitions) for name, each in value.items()}
    if key in {"default", "enum", "const", "required", "examples"}:
        return value
    return plain_schema(value, definitions)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop `null` from the alternatives: an argument that may be absent is not required, which says it."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    if len(kinds) != 1:
        return schema
    return kinds[0] | {key: value for key, value in schema.items() if key != "anyOf"}


def checker(model: type[BaseModel], parameters: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a check that gives coerced plain data, holding only the names the call held.

    The check raises ArgumentsError.
    """

    def check(args: dict[str, Any]) -> dict[str, Any]:
        try:
            return _storable(model.model_validate(args).model_dump(mode="json", exclude_unset=True))
        except ValidationError as error:
            problems = "; ".join(_problem(each) for each in error.errors()[:_SHOWN_PROBLEMS])
        except UnicodeEncodeError:
            problems = "a text holds half a character (a lone surrogate)"
        raise ArgumentsError(
            f"Invalid arguments for {model.__name__}: {problems}. "
            f"Its arguments are: {json.dumps(parameters, ensure_ascii=False)}",
            problems,
        )

    return check


def _storable(args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments; UnicodeEncodeError where a text is none that a file or a request can hold."""
    json.dumps(args, ensure_ascii=False).encode()
    return args


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{place!r} is missing"
    if error["type"] == "extra_forbidden":
        return f"there is no argument {place!r}"
    return f"{place!r}: {error['msg']}" if place else "expected an object of arguments by name"
