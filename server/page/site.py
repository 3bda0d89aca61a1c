"""The page's files and all of its routes, given to the server's app."""

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from server.page import access, agreements, page, reports

_STATIC = Path(__file__).parent / "static"


def add_page(app: FastAPI) -> None:
    """Add the page under /app; `app.state.page` is what `open_page` opens."""
    files = StaticFiles(directory=_STATIC)
    for router in (access.router, page.router, reports.router, agreements.router):
        app.include_router(router, prefix=f"{access.PLACE}/api", include_in_schema=False)
    app.mount(f"{access.PLACE}/static", files)

    @app.get(access.PLACE, include_in_schema=False)
    async def index(request: Request) -> Response:
        """Return the page."""
        return await files.get_response("index.html", request.scope)

    @app.get(f"{access.PLACE}/", include_in_schema=False)
    async def slash(request: Request) -> Response:
        """Lead to the page."""
        return RedirectResponse(request.scope.get("root_path", "") + access.PLACE)
