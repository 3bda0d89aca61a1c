"""The least program that asks ours something: its first request is what a start is measured to."""

import asyncio

from graphs.session import open_orchestrator


async def _main() -> None:
    async with open_orchestrator() as orchestrator:
        print((await orchestrator.ask("Hello.")).response)


if __name__ == "__main__":
    asyncio.run(_main())
