"""The dashboard as files: what `make dashboard` built from `dashboard/`, served as it is (docs/decisions/0024).

Every address that is no file and not of the API is a page of the dashboard. It says itself when there is no such page.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "dashboard"
INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
"""A browser asks each time whether a file is still the same: it is never of another version than the coordinator."""


@dataclass(frozen=True, slots=True)
class File:
    """One file, as it is and compressed."""

    media_type: str
    data: bytes
    compressed: bytes
    tag: str


@cache
def files() -> dict[str, File]:
    """Return the files by name."""
    return {path.name: _file(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}


def _file(path: Path) -> File:
    data = path.read_bytes()
    tag = hashlib.sha256(data).hexdigest()[:32]
    return File(MEDIA_TYPES[path.suffix], data, gzip.compress(data, 9, mtime=0), tag)


def page(request: Request) -> Response | None:
    """Return what a request gets whose path is none of the API: a file, or the page if a browser opens an address."""
    if request.method not in {"GET", "HEAD"}:
        return None
    path = request.url.path
    found = files().get(path.removeprefix("/"))
    if found is None:
        is_page = path == "/" or ("text/html" in request.headers.get("accept", "") and not path.startswith("/api/"))
        if not is_page:
            return None
        found = files()[INDEX]
    return _answer(request, found)


def _answer(request: Request, file: File) -> Response:
    is_compressed = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{file.tag}{"-gzip" if is_compressed else ""}"'
    headers = {**HEADERS, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.compressed if is_compressed else file.data, headers=headers, media_type=file.media_type)
