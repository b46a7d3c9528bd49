"""Documents of files of any size, one after another."""

import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from folio.data import streams
from folio.data.corpora import read_documents
from folio.data.streams import Document, files_size, find_source, must_stream
from folio.errors import FolioWarning, UserError

TEXTS = ["One é 😀\n", "two", "three\n\nthree"]


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


def texts(path):
    return [document.text for document in find_source(str(path)).train]


def packed(content, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as out:
        out.write(content.encode())
    return sink.getvalue().to_pybytes()


def test_rows_of_each_format_are_documents(tmp_path):
    write(tmp_path / "a.jsonl", jsonl(TEXTS))
    write(tmp_path / "a.json", json.dumps([{"text": text} for text in TEXTS]))
    write(tmp_path / "a.csv", "text\n" + "".join(f'"{text}"\n' for text in TEXTS))
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "a.parquet")
    for suffix in ("jsonl", "json", "csv", "parquet"):
        assert texts(tmp_path / f"a.{suffix}") == TEXTS, suffix
    assert texts(tmp_path) == 4 * TEXTS


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compressed_files_have_the_documents_of_plain_ones(tmp_path, codec):
    suffix = {"gzip": ".gz", "zstd": ".zst"}[codec]
    for name, content in {"a.jsonl": jsonl(TEXTS), "b.json": jsonl(TEXTS), "c.txt": "".join(TEXTS)}.items():
        write(tmp_path / f"{name}{suffix}", packed(content, codec))
    assert texts(tmp_path) == [*TEXTS, *TEXTS, "".join(TEXTS)]
    assert must_stream(str(tmp_path))
    assert must_stream(str(tmp_path / f"a.jsonl{suffix}"))
    assert files_size(str(tmp_path)) == sum(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
def test_blocks_cut_no_character_and_no_line_end(tmp_path, monkeypatch, block):
    monkeypatch.setattr(streams, "BLOCK", block)
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbf" + "é\r\n😀\r\r\nend\r".encode())
    assert texts(path) == list(read_documents(str(path)).train) == ["é\n😀\nend\r"]
    path = write(tmp_path / "a.jsonl", jsonl(TEXTS))
    assert texts(path) == TEXTS


def test_a_long_document_comes_in_parts_that_end_with_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "PART", 100)
    monkeypatch.setattr(streams, "BLOCK", 30)
    text = "a line\n" * 100
    found = list(find_source(str(write(tmp_path / "a.txt", text))).train)
    assert "".join(document.text for document in found) == text
    assert all(len(document.text) <= 100 and document.text.endswith("\n") for document in found)
    assert [document.is_start for document in found] == [True] + [False] * (len(found) - 1)
    row = list(find_source(str(write(tmp_path / "a.jsonl", jsonl(["x" * 250])))).train)
    assert [len(document.text) for document in row] == [100, 100, 50]


def test_memory_does_not_grow_with_a_file(tmp_path):
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(jsonl(["word " * 2000] * 3000).encode(), 1))
    tracemalloc.start()
    n = sum(len(document.text) for document in find_source(str(path)).train)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 30_000_000
    assert peak < 8_000_000


def test_names_of_files_say_what_is_for_validation(tmp_path):
    write(tmp_path / "train.txt", "one")
    write(tmp_path / "val.txt.gz", gzip.compress(b"two"))
    source = find_source(str(tmp_path))
    assert [document.text for document in source.train] == ["one"]
    assert [document.text for document in source.validation] == ["two"]
    other = find_source(str(tmp_path / "train.txt"), str(tmp_path / "val.txt.gz"))
    assert [document.text for document in other.validation] == ["two"]


def test_the_identity_changes_with_the_files(tmp_path):
    path = write(tmp_path / "a.txt", "one")
    before = find_source(str(path)).identity
    assert find_source(str(path)).identity == before
    write(path, "longer")
    assert find_source(str(path)).identity != before


def test_unused_fields_are_told(tmp_path):
    source = find_source(str(write(tmp_path / "a.jsonl", '{"text": "a", "id": 1}\n')))
    assert [document.text for document in source.train] == ["a"]
    with pytest.warns(FolioWarning, match=r"fields not used: id \(1 row\)"):
        assert source.train.notes() == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"abc\xffdef", r"a\.txt is not UTF-8 at byte 3"),
        ("a.txt", "é".encode() * 10 + "é".encode("latin-1") + b"x", r"is not UTF-8 at byte 20"),
        ("a.txt", b"abc\xc3", r"is not UTF-8 at byte 3"),
        ("a.txt", "abc".encode("utf-16"), r"looks like UTF-16"),
        ("a.txt", b"a\0b", r"binary file \(byte 1 is 0\)"),
        ("a.txt.gz", gzip.compress(b"text" * 100, mtime=0)[:-20], r"a\.txt\.gz cannot be read .* damaged"),
        ("a.txt.zst", b"no zstd", r"a\.txt\.zst cannot be read .* damaged"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}\n', r"line 2: no string under \"text\""),
        ("a.jsonl", '{"text": "a"\n', r"line 1: not valid JSON"),
        ("a.parquet.gz", b"", r"Parquet is compressed by itself"),
        ("a.parquet", b"PAR1", r"a\.parquet cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        texts(write(tmp_path / name, content))


def test_a_table_without_texts_names_its_columns(tmp_path):
    pq.write_table(pa.table({"content": TEXTS}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"no column 'text' \(it has: content\)"):
        texts(tmp_path / "a.parquet")


def test_what_is_nowhere_is_told(tmp_path):
    with pytest.raises(UserError, match="no file or folder"):
        find_source(str(tmp_path / "none.txt"))
    assert not must_stream(str(tmp_path / "none.txt"))
    assert not must_stream("nowhere/none.txt")


def test_the_key_is_a_hash_of_the_text():
    assert Document("a", "here").key == Document("a", "there").key != Document("b", "here").key
