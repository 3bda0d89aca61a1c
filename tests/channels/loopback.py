"""An application that answers on loopback, in a thread of its own."""

import threading
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route


class Loopback:
    """Serves routes on a free port of 127.0.0.1 while it is open."""

    def __init__(self, routes: list[Route]) -> None:
        config = uvicorn.Config(
            Starlette(routes=routes),
            port=0,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level=100,
            headers=[("connection", "close")],
        )
        self._server = uvicorn.Server(config)
        self._server.force_exit = True
        self._socket = config.bind_socket()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
