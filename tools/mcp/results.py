"""What an MCP server answered, as text for a model."""

import json
from typing import Any

_LONGEST = 200_000
"""Characters."""


def text_of(result: Any) -> str:
    """Return a `CallToolResult` as text: texts as they are, images and resources by name, cut where long."""
    parts = [_part(each) for each in result.content]
    if not parts and result.structuredContent is not None:
        parts = [json.dumps(result.structuredContent, ensure_ascii=False)]
    text = "\n".join(parts)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\n… (cut; the whole has {len(text):,} characters)"
    return text


def _part(content: Any) -> str:
    match content.type:
        case "text":
            return str(content.text)
        case "resource":
            resource = content.resource
            named = f"[resource {resource.uri}{_kind(resource)}"
            text = getattr(resource, "text", None)
            return f"{named}]\n{text}" if text is not None else f"{named}, {_size(resource.blob)}]"
        case "resource_link":
            return f"[resource {content.name}: {content.uri}{_kind(content)}]"
        case kind:
            return f"[{kind}{_kind(content)}, {_size(content.data)}]"


def _kind(content: Any) -> str:
    return f", {content.mimeType}" if content.mimeType else ""


def _size(base64: str) -> str:
    return f"{len(base64) * 3 // 4:,} bytes, not shown"
