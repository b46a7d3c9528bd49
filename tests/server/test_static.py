"""The files of the page: by name, compressed, and sent again only where they have changed."""

import gzip

import pytest
from starlette.exceptions import HTTPException

from folio.server.static import PAGE, Page


def test_files_are_found_by_their_names_alone(tmp_path):
    (tmp_path / "page" / "vendor").mkdir(parents=True)
    for name in ("index.html", "vendor/a.js", "notes.md", "code.py"):
        (tmp_path / "page" / name).write_text("content")
    (tmp_path / "secret.txt").write_text("secret")
    page = Page(tmp_path / "page")
    assert page.file("index.html").kind == "text/html; charset=utf-8"
    assert page.file("vendor/a.js").kind == "text/javascript; charset=utf-8"
    for name in ("../secret.txt", "vendor/../index.html", "notes.md", "code.py", "", "/etc/passwd", "vendor"):
        with pytest.raises(HTTPException):
            page.file(name)


def test_a_file_that_changes_is_read_again_and_one_that_goes_is_gone(tmp_path):
    file = tmp_path / "a.css"
    file.write_text("a {}")
    page = Page(tmp_path)
    first = page.file("a.css")
    assert page.file("a.css") is first
    file.write_text("a { color: red }")
    second = page.file("a.css")
    assert (second.content, second.etag == first.etag) == (b"a { color: red }", False)
    file.unlink()
    with pytest.raises(HTTPException):
        page.file("a.css")


def test_a_file_is_sent_compressed_and_once(server):
    plain = server.get("/page/app.js", headers={"accept-encoding": "identity"})
    assert plain.content == (PAGE / "app.js").read_bytes()
    assert "content-encoding" not in plain.headers
    packed = server.get("/page/app.js", headers={"accept-encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) == len(packed.content)
    assert packed.headers["cache-control"] == "no-cache"
    again = server.get("/page/app.js", headers={"if-none-match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = server.get("/page/app.js", headers={"if-none-match": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "is_document"), [("/", True), ("/page/icon.svg", True), ("/page/app.js", False)]
)
def test_what_a_browser_can_show_has_the_policy(server, path, is_document):
    headers = server.get(path).headers
    assert ("content-security-policy" in headers) == is_document
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_root_is_the_page(server):
    answer = server.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")
    assert gzip.decompress(gzip.compress(answer.content)) == (PAGE / "index.html").read_bytes()
