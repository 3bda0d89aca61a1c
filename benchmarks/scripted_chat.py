"""The scripted model as a LangChain chat model: answers at once, whole or as a stream of one chunk."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from benchmarks.script import ANSWER, script

_USAGE = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}


class ScriptedChat(BaseChatModel):
    """Calls what the script says, then answers."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_options: Any) -> Any:
        """Return the model that is offered the tools."""
        return self.bind(tools=list(tools))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **_options: Any,
    ) -> ChatResult:
        await script.think()
        ids = _next(messages)
        calls = [{"name": script.tool(call_id), "args": _args(call_id), "id": call_id} for call_id in ids]
        message = AIMessage("" if ids else ANSWER, tool_calls=calls, usage_metadata=_USAGE)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **_options: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        await script.think()
        ids = _next(messages)
        calls = [
            tool_call_chunk(name=script.tool(call_id), args=json.dumps(_args(call_id)), id=call_id, index=n)
            for n, call_id in enumerate(ids)
        ]
        message = AIMessageChunk(content="" if ids else ANSWER, tool_call_chunks=calls, usage_metadata=_USAGE)
        chunk = ChatGenerationChunk(message=message)
        if run_manager:
            await run_manager.on_llm_new_token("", chunk=chunk)
        yield chunk


def _next(messages: Sequence[BaseMessage]) -> list[str]:
    last = messages[-1]
    return script.calls(last.tool_call_id if isinstance(last, ToolMessage) else None)


def _args(call_id: str) -> dict[str, str]:
    return {"query": call_id} if script.tool(call_id) == "look_up" else {"to": "ada", "text": call_id}
