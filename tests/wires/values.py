"""Replies that hold some JSON where no answer has so much of it."""

import json

from tests.wires.brain import Kind, Reply

WAYS = ("stream", "whole", "error")
PLACES = ("beside", "calls", "content")
"""Beside the words, where a client leaves it as it is; for calls or their arguments; for the words."""


def row(unit: str, size: int) -> str:
    """Return a list of about so many characters, of the same again and again."""
    return f"[{', '.join([unit] * (size // (len(unit) + 2)))}]"


def reply_with(kind: Kind, values: str, way: str, place: str = "beside") -> Reply:
    """Return a reply that holds JSON there: streamed in one event, whole, or in what an error says."""
    if way == "error":
        return Reply(raw=f'{{"error": {{"message": "No.", "more": {values}}}}}'.encode(), status=400)
    body = {"openai": _openai, "gemini": _gemini, "anthropic": _anthropic}[kind](values, place)
    if way == "whole":
        return Reply(raw=body.encode())
    if kind != "anthropic":
        return Reply(raw=(f"data: {body}",))
    told = (
        f'{{"type": "message_start", "message": {_anthropic("[]", "beside")}}}',
        f'{{"type": "content_block_start", "index": 0, "content_block": {_block(values, place)}}}',
        '{"type": "content_block_stop", "index": 0}',
        '{"type": "message_stop"}',
    )
    return Reply(raw=tuple(f"event: {json.loads(each)['type']}\ndata: {each}" for each in told))


def _openai(values: str, place: str) -> str:
    said = {
        "beside": f'"content": "Done.", "more": {values}',
        "calls": f'"content": "Done.", "tool_calls": {values}',
        "content": f'"content": {values}',
    }[place]
    message = f'{{"role": "assistant", {said}}}'
    choice = f'{{"index": 0, "message": {message}, "delta": {message}, "finish_reason": "stop"}}'
    return f'{{"id": "1", "created": 1, "model": "m", "choices": [{choice}]}}'


def _gemini(values: str, place: str) -> str:
    part = {
        "beside": f'{{"text": "Done.", "more": {values}}}',
        "calls": f'{{"functionCall": {{"name": "note", "args": {{"text": {values}}}}}}}',
        "content": values[1:-1],
    }[place]
    content = f'{{"role": "model", "parts": [{part}]}}'
    return f'{{"candidates": [{{"content": {content}, "finishReason": "STOP"}}]}}'


def _block(values: str, place: str) -> str:
    return {
        "beside": f'{{"type": "text", "text": "Done.", "more": {values}}}',
        "calls": f'{{"type": "tool_use", "id": "c", "name": "note", "input": {{"text": {values}}}}}',
        "content": f'{{"type": "text", "text": {values}}}',
    }[place]


def _anthropic(values: str, place: str) -> str:
    usage = '"usage": {"input_tokens": 1, "output_tokens": 1}'
    message = '"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"'
    return f'{{{message}, "content": [{_block(values, place)}], {usage}}}'
