import hashlib
import json
import re
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from folio.data import corpora
from folio.data.corpora import KnownCorpus, find_data, load_corpus, require_length, split
from folio.errors import FolioWarning, UserError

KNOWN_TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n"


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def jsonl(*texts: str) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


# Files


@pytest.mark.parametrize("name", ["mine.txt", "mine.TXT", "mine.md", "mine"])
def test_a_text_file_is_read_as_it_is(tmp_path, name):
    text = "  é 😀\n\n\tend\r alone\u2028"
    corpus = load_corpus(write(tmp_path / name, text))
    assert (corpus.name, corpus.text, corpus.origin) == ("mine", text, str(tmp_path / name))
    assert corpus.notices == ()


def test_byte_order_mark_and_windows_line_ends_are_undone(tmp_path):
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo \xef\xbb\xbf\n")
    assert load_corpus(path).text == "one\ntwo \ufeff\n"


def test_jsonl_documents_are_joined_by_a_blank_line(tmp_path):
    content = "\ufeff" + jsonl("one\r\ntwo", "three\u2028four") + "\n" + '{"text": "a\u2028b"}'
    assert load_corpus(write(tmp_path / "a.jsonl", content)).text == "one\ntwo\n\nthree\u2028four\n\na\u2028b"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', r"line 3: not valid JSON \(.*\)"),
        ('{"title": "a"}', r'line 3: no string under "text"'),
        ('{"text": null}', r'line 3: no string under "text"'),
        ('["text"]', "line 3: it must be an object with named values"),
        ('"text"', "line 3: it must be an object with named values"),
        (r'{"text": "a\ud83d"}', r'line 3: "text" has half of a surrogate pair \(\'\\ud83d\'\)'),
        ("[" * 100_000, "line 3: not valid JSON"),
    ],
)
def test_a_broken_jsonl_line_is_named(tmp_path, line, message):
    path = write(tmp_path / "a.jsonl", jsonl("fine", "fine") + line + "\n" + jsonl("fine"))
    with pytest.raises(UserError, match=f"^{re.escape(path)}, {message}"):
        load_corpus(path)


def test_parquet_documents_are_joined_by_a_blank_line(tmp_path):
    table = pa.table({"text": ["one\r\n", "two", "é"]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert load_corpus(str(tmp_path / "a.parquet")).text == "one\n\n\ntwo\n\né"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"words": ["a"], "id": [1]}, r" has no column 'text' \(it has: words, id\)"),
        ({"text": [1, 2]}, ', row 1: no string under "text"'),
    ],
)
def test_a_parquet_file_without_texts_is_an_error(tmp_path, table, message):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(UserError, match=re.escape(str(path)) + message):
        load_corpus(str(path))


def test_a_damaged_parquet_file_is_an_error(tmp_path):
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"text": ["some text"] * 100}), whole)
    for content in (b"", b"not parquet", whole.read_bytes()[:-20]):
        path = write(tmp_path / "a.parquet", content)
        with pytest.raises(UserError, match=r"a\.parquet cannot be read .* must be Parquet"):
            load_corpus(path)


def test_a_folder_is_its_files_in_order(tmp_path):
    write(tmp_path / "b.txt", "b\r\n")
    write(tmp_path / "a.jsonl", jsonl("one", "two"))
    write(tmp_path / "c.TXT", "c")
    write(tmp_path / "._b.txt", b"\x00\x01")
    (tmp_path / "deeper.txt").mkdir()
    write(tmp_path / "deeper.txt" / "d.md", "d")
    corpus = load_corpus(str(tmp_path))
    assert corpus.text == "one\n\ntwo\n\nb\n\n\nc\n\nd"
    assert corpus.name == tmp_path.name


def test_a_folder_may_hold_parquet(tmp_path):
    write(tmp_path / "b.txt", "two")
    pq.write_table(pa.table({"text": ["one", "more"]}), tmp_path / "a.parquet")
    assert load_corpus(str(tmp_path)).text == "one\n\nmore\n\ntwo"


def test_a_path_is_looked_for_here_and_then_in_the_data_folders(tmp_path, monkeypatch):
    here, first, second = (tmp_path / name for name in ("here", "first", "second"))
    for folder, names in ((here, "a"), (first, "ab"), (second, "abc")):
        (folder / "stories").mkdir(parents=True)
        for name in names:
            write(folder / "stories" / f"{name}.txt", f"{name} in {folder.name}")
    monkeypatch.chdir(here)
    monkeypatch.setenv("FOLIO_DATA", str(first))
    monkeypatch.setattr("pooch.os_cache", lambda name: str(second))
    texts = [load_corpus(f"stories/{name}.txt").text for name in "abc"]
    assert texts == ["a in here", "b in first", "c in second"]
    assert load_corpus("stories/c.txt").origin == str(second / "stories" / "c.txt")
    assert find_data(str(here / "stories" / "b.txt")) == here / "stories" / "b.txt", "no other is meant"
    assert find_data("stories/d.txt") == Path("stories/d.txt")
    with pytest.raises(UserError, match=r"^There is no file or folder 'stories/d\.txt'"):
        load_corpus("stories/d.txt")


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    write(tmp_path / "a.txt", "text")
    monkeypatch.chdir(tmp_path)
    assert load_corpus(".").name == tmp_path.name


def test_a_folder_without_text_is_an_error(tmp_path):
    write(tmp_path / "a.html", "text")
    with pytest.raises(
        UserError, match=rf"{tmp_path} has no \.txt, \.md, \.jsonl, \.json, \.csv or \.parquet file"
    ):
        load_corpus(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b" \r\n\t\n", "is empty"),
        (b"aaaa", "holds only the character 'a'"),
        (b"caf\xe9 au lait", "is not UTF-8 at byte 3"),
        (b"text\x00text", r"looks like a binary file \(byte 4 is 0\)"),
        ("text".encode("utf-16"), "looks like UTF-16: save it as UTF-8"),
    ],
)
def test_a_file_with_nothing_to_learn_from_is_an_error(tmp_path, content, message):
    path = write(tmp_path / "a.txt", content)
    with pytest.raises(UserError, match=f"^{re.escape(path)} {message}"):
        load_corpus(path)


@pytest.mark.parametrize("method", ["read_bytes", "iterdir", "stat"])
def test_what_may_not_be_read_is_an_error(tmp_path, monkeypatch, method):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    path = tmp_path if method == "iterdir" else write(tmp_path / "a.txt", "text")
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, refuse)
        with pytest.raises(UserError, match=rf"^{path} cannot be read \(Permission denied\)"):
            load_corpus(str(path))


@pytest.mark.parametrize("data", ["nothing-like-it", "", "a\x00b", "x" * 5000, "no/such/file.txt"])
def test_an_unknown_name_lists_the_known_ones(data):
    with pytest.raises(UserError) as error:
        load_corpus(data)
    assert (
        str(error.value)
        == f"There is no file or folder {data!r}, and the corpora known by name are: shakespeare, arithmetic."
    )


def test_a_name_nearly_right_is_suggested(tmp_path):
    path = write(tmp_path / "novel.txt", "text")
    with pytest.raises(UserError, match=r"did you mean shakespeare\?$"):
        load_corpus("shakespear")
    with pytest.raises(UserError, match=rf"did you mean {path}\?$"):
        load_corpus(str(tmp_path / "nvoel.txt"))


def test_every_format_gives_the_same_text(tmp_path):
    write(tmp_path / "a.json", json.dumps([{"text": "one"}, {"text": "two, too"}]))
    write(tmp_path / "a.csv", 'text\none\n"two, too"\n')
    pq.write_table(pa.table({"text": ["one", "two, too"]}), tmp_path / "a.parquet")
    write(tmp_path / "a.jsonl", jsonl("one", "two, too"))
    texts = {load_corpus(str(path)).text for path in tmp_path.iterdir()}
    assert texts == {"one\n\ntwo, too"}


def test_rows_of_a_table_without_a_text_are_left_out_and_counted(tmp_path):
    pq.write_table(pa.table({"text": ["one", None, "two"], "id": [1, 2, 3]}), tmp_path / "a.parquet")
    with pytest.warns(FolioWarning, match=r"a\.parquet: fields not used: id \(2 rows\)"):
        corpus = load_corpus(str(tmp_path / "a.parquet"))
    assert corpus.text == "one\n\ntwo"
    assert "1 of 3 rows left out" in corpus.origin


# The split


def test_files_named_so_are_for_validation_and_those_for_testing_are_not_read(tmp_path):
    write(tmp_path / "train.txt", "one")
    write(tmp_path / "books-val.txt", "two")
    write(tmp_path / "test.txt", "three")
    with pytest.warns(FolioWarning, match=r"for testing, and left out: test\.txt"):
        corpus = load_corpus(str(tmp_path))
    assert corpus.split() == ("one\n\n", "two")
    assert "validation: books-val.txt" in corpus.origin


def test_of_many_documents_a_tenth_is_held_out_whatever_others_there_are(tmp_path):
    texts = [f"text number {n}." for n in range(1000)]
    write(tmp_path / "a.jsonl", jsonl(*texts))
    train, held_out = (part.split("\n\n") for part in load_corpus(str(tmp_path / "a.jsonl")).split())
    assert sorted([*train, *held_out]) == [
        "",
        *sorted(texts),
    ]  # a part ends with the blank line between documents
    assert 60 < len(held_out) < 140
    write(tmp_path / "b.jsonl", jsonl("something new", *texts[::-2], *texts[:100]))
    _, fewer = (part.split("\n\n") for part in load_corpus(str(tmp_path / "b.jsonl")).split())
    assert set(fewer) - {"something new"} == set(held_out) & {*texts[::-2], *texts[:100]}


def test_validation_has_texts_of_its_own(tmp_path):
    write(tmp_path / "a.txt", "one two three")
    write(tmp_path / "b.txt", "four")
    corpus = load_corpus(str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))
    assert corpus.split() == ("one two three\n\n", "four")
    assert corpus.origin == f"{tmp_path / 'a.txt'}, and {tmp_path / 'b.txt'}"


def test_the_same_text_split_elsewhere_is_other_data(tmp_path):
    write(tmp_path / "a.txt", "one two three")
    write(tmp_path / "b.txt", "two")
    whole, split_off = (
        load_corpus(str(tmp_path)),
        load_corpus(str(tmp_path / "a.txt"), str(tmp_path / "b.txt")),
    )
    assert whole.text == split_off.text
    assert whole.sha256 != split_off.sha256


def test_a_folder_of_validation_files_is_no_training_data(tmp_path):
    write(tmp_path / "valid.txt", "one two three")
    with pytest.raises(UserError, match="has only files for validation"):
        load_corpus(str(tmp_path))


# Known corpora


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A known corpus "shakespeare" of KNOWN_TEXT, no copy of it anywhere, and no network."""
    sha256 = hashlib.sha256(KNOWN_TEXT.encode()).hexdigest()
    corpus = KnownCorpus("tiny/input.txt", sha256, "https://example.invalid/input.txt")
    monkeypatch.setitem(corpora.KNOWN_CORPORA, "shakespeare", corpus)
    folders = [tmp_path / "data", tmp_path / "cache"]
    monkeypatch.setenv("FOLIO_DATA", str(folders[0]))
    monkeypatch.setattr("pooch.os_cache", lambda name: str(folders[1]))
    monkeypatch.setattr("requests.get", offline)
    return [folder / corpus.path for folder in folders]


def offline(*args, **kwargs):
    raise ConnectionError("no network")


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text)


def test_a_known_corpus_is_found_in_the_first_folder_that_has_it(known):
    put(known[1], KNOWN_TEXT)
    assert Path(load_corpus("shakespeare").origin).samefile(known[1])
    put(known[0], KNOWN_TEXT)
    corpus = load_corpus("shakespeare")
    assert (corpus.name, corpus.text) == ("shakespeare", KNOWN_TEXT)
    assert Path(corpus.origin).samefile(known[0])
    assert corpus.notices == ()


def test_a_copy_with_the_wrong_checksum_is_passed_over(known):
    put(known[0], KNOWN_TEXT + "!")
    put(known[1], KNOWN_TEXT)
    corpus = load_corpus("shakespeare")
    assert corpus.text == KNOWN_TEXT
    assert Path(corpus.origin).samefile(known[1])
    (notice,) = corpus.notices
    assert notice.startswith(f"{known[0]} is not the shakespeare that folio knows")


class Response:
    """What `requests.get` would return for KNOWN_TEXT."""

    headers = MappingProxyType({})

    def raise_for_status(self):
        pass

    def iter_content(self, chunk_size):
        return [KNOWN_TEXT.encode()]


def test_a_known_corpus_is_downloaded_once(known, monkeypatch, caplog, capsys):
    monkeypatch.setattr("requests.get", lambda url, **kwargs: Response())
    corpus = load_corpus("shakespeare")
    assert corpus.text == known[0].read_text() == KNOWN_TEXT
    assert "downloaded from https://example.invalid/input.txt" in corpus.origin
    assert (corpus.notices, caplog.records, capsys.readouterr()) == ((), [], ("", ""))
    monkeypatch.setattr("requests.get", offline)
    assert Path(load_corpus("shakespeare").origin).samefile(known[0])


def test_a_download_with_the_wrong_checksum_is_not_used(known, monkeypatch):
    expected = KnownCorpus("tiny/input.txt", "0" * 64, "https://example.invalid/input.txt")
    monkeypatch.setitem(corpora.KNOWN_CORPORA, "shakespeare", expected)
    monkeypatch.setattr("requests.get", lambda url, **kwargs: Response())
    corpus = load_corpus("shakespeare")
    assert corpus.name == "python-reference"
    assert "could not be downloaded (ValueError)" in corpus.notices[0]
    assert not known[0].exists()


def test_without_a_network_pythons_reference_stands_in(known):
    corpus = load_corpus("shakespeare")
    assert corpus.name == "python-reference"
    assert len(corpus.text) > 300_000
    assert 'The "assert" statement' in corpus.text
    (notice,) = corpus.notices
    assert "could not be downloaded (ConnectionError): using Python's language reference instead" in notice
    assert str(known[0]) in notice


def test_data_folders_are_that_of_the_environment_and_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOLIO_DATA", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: f"/cache/{name}")
    assert corpora.data_folders() == [tmp_path, Path("/cache/folio")]
    monkeypatch.setenv("FOLIO_DATA", "")
    assert corpora.data_folders() == [Path("/cache/folio")]


def test_tiny_shakespeare_is_byte_for_byte_the_original():
    known = corpora.KNOWN_CORPORA["shakespeare"]
    if not any((folder / known.path).exists() for folder in corpora.data_folders()):
        pytest.skip("no copy of Tiny Shakespeare on this machine")
    corpus = load_corpus("shakespeare")
    assert len(corpus.text) == 1_115_394
    assert hashlib.sha256(corpus.text.encode()).hexdigest() == known.sha256
    assert corpus.sha256 == known.sha256
    assert [len(part) for part in corpus.split()] == [1_003_854, 111_540]


# Splitting and length


def test_the_last_tenth_is_for_validation():
    assert split("0123456789A") == ("012345678", "9A")


def test_a_text_too_short_says_how_long_it_must_be():
    require_length("x" * 9, 9, "The validation text")
    with pytest.raises(UserError, match=r"The validation text has 8 characters and needs at least 1,025"):
        require_length("x" * 8, 1025, "The validation text")
