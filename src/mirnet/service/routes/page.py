"""The page: the static files that lie in the package, and nothing else."""

import hashlib
import mimetypes
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent.parent / "page"
MEDIA_TYPES = {  # stated, since what a system knows of suffixes differs
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8", ".json": "application/json", ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json", ".woff2": "font/woff2", ".png": "image/png", ".jpg": "image/jpeg",
    ".webp": "image/webp", ".ico": "image/x-icon", ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}  # fmt: skip
DOORS = {"/": "index.html", "/docs": "docs.html"}  # addresses of their own


def routes(folder: Path = FOLDER) -> list[Route]:
    """A route for each file that is there now: what is not listed cannot be asked for."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    doors = [_route(address, files[name]) for address, name in DOORS.items() if name in files]
    return [*doors, *(_route(f"/page/{name}", path) for name, path in files.items() if not _hidden(name))]


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__")) for part in name.split("/")) or name.endswith(".py")


def _route(address: str, path: Path) -> Route:
    kind = MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    async def answer(request: Request) -> Response:
        content = path.read_bytes()  # small, and the system keeps it in memory
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}  # asked for each time, sent where it changed
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, 200, headers, kind)

    return Route(address, answer, methods=["GET"], include_in_schema=False)
