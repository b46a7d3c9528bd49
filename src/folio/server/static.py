"""The files of the page: read once, found by name in that list, compressed, and asked for again only where they changed."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

PAGE = Path(str(resources.files("folio.server"))) / "page"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, by the end of a name."""
DOCUMENT = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
"""Of what a browser can show by itself: nothing is loaded from elsewhere, nor shown in another page."""
DOCUMENTS = (".html", ".svg")
HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked for with its ETag
    "Vary": "Accept-Encoding",
}
"""Of every file. With those of a document, some forty small files would carry more headers than code."""


@dataclass(frozen=True)
class File:
    """A file of the page. stamp: changes when it does."""

    stamp: tuple[int, int]
    content: bytes
    compressed: bytes
    etag: str
    kind: str


class Page:
    """The files at and below a folder, by their paths in it."""

    def __init__(self, folder: Path) -> None:
        found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in TYPES)
        self._paths: Mapping[str, Path] = {path.relative_to(folder).as_posix(): path for path in found}
        self._files: dict[str, File] = {}

    def file(self, name: str) -> File:
        """Return a file, read again if it has changed. Raises HTTPException (404)."""
        path = self._paths.get(name)
        try:
            if path is None:
                raise HTTPException(404)
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if name not in self._files or self._files[name].stamp != stamp:
                self._files[name] = read(path, stamp)
        except OSError:
            raise HTTPException(404) from None
        return self._files[name]


def read(path: Path, stamp: tuple[int, int]) -> File:
    """Read a file."""
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    return File(stamp, content, gzip.compress(content, mtime=0), etag, TYPES[path.suffix])


async def page_file(request: Request) -> Response:
    """Answer with a file of the page; at / with index.html."""
    page: Page = request.app.state.page
    name = request.path_params.get("name", "index.html")
    file = page.file(name)
    headers = {**HEADERS, **(DOCUMENT if name.endswith(DOCUMENTS) else {}), "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = file.content
    if "gzip" in request.headers.get("accept-encoding", "") and len(file.compressed) < len(content):
        content = file.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=file.kind)
