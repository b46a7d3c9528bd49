"""Rows of files and folders: which are found, how they are told, and what becomes of those that cannot be used."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from folio.data.conversations import read_conversations
from folio.data.known import KNOWN_CONVERSATIONS, KNOWN_PROMPTS, find_conversations, find_prompts
from folio.data.preferences import PREFERENCES, read_preferences
from folio.data.prompts import read_prompts
from folio.data.records import Kind, find_parts, read_records
from folio.errors import FolioWarning, UserError

GOOD = {"question": "a", "answer": "b"}


def named(row, where):
    """The row's number, where it has one."""
    if "n" not in row:
        raise UserError("no number.")
    return row["n"]


NUMBERS = Kind("numbers", '{"n": 1}', named)
PLACES = Kind("places", "{}", lambda row, where: (row["n"], where))


def numbers(*found):
    return [{"n": n} for n in found]


def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def array(path, *rows):
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, and a data folder below it."""
    monkeypatch.setenv("FOLIO_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells(path, *rows):
    path.write_text("n\n" + "".join(f"{row['n']}\n" for row in rows), encoding="utf-8")
    return path


WRITERS = {".jsonl": lines, ".parquet": table, ".json": array, ".PARQUET": table, ".txt": lines}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_rows(folder, suffix):
    path = WRITERS[suffix](folder / f"some{suffix}", *numbers(1, 2, 3))
    assert read_records(path, NUMBERS) == [1, 2, 3]
    assert read_records(path, PLACES)[1][1].startswith(f"{path}, ")


def test_a_large_table_is_numbered_through(folder):
    pq.write_table(pa.table({"n": range(70_000)}), "large.parquet", row_group_size=1000)
    found = read_records("large.parquet", PLACES)
    assert found[:1] + found[-1:] == [(0, "large.parquet, row 1"), (69_999, "large.parquet, row 70000")]


def test_of_a_folder_lines_and_tables_are_read_in_order_of_name(folder):
    lines(folder / "all/b.jsonl", *numbers(2))
    table(folder / "all/a.parquet", *numbers(1))
    table(folder / "all/c.parquet", *numbers(3))
    array(folder / "all/d.json", {"n": 4})
    lines(folder / "all/.hidden.jsonl", {})
    lines(folder / "all/below/d.jsonl", {"n": 5})
    assert read_records("all", NUMBERS) == [1, 2, 3, 4, 5]
    assert read_records("all", NUMBERS).origin == "all"


def test_what_is_not_here_is_looked_for_in_the_data_folders(folder):
    lines(folder / "data/pairs/one.jsonl", *numbers(1))
    found = read_records("pairs/one.jsonl", NUMBERS)
    assert (found, found.origin) == ([1], os.path.join("data", "pairs", "one.jsonl"))
    assert read_records("pairs", NUMBERS) == [1]
    lines(folder / "pairs/one.jsonl", *numbers(2))
    found = read_records("pairs/one.jsonl", NUMBERS)
    assert (found, found.origin) == ([2], os.path.join("pairs", "one.jsonl"))


def test_rows_of_a_table_that_cannot_be_used_are_left_out_and_told(folder):
    table(folder / "some.parquet", {"n": 1}, {"n": None}, {"n": 3})
    found = read_records("some.parquet", NUMBERS)
    assert found == [1, 3]
    assert found.origin == "some.parquet (1 of 3 rows left out; some.parquet, row 2: no number)"


def test_where_no_row_of_a_table_can_be_used_it_is_a_mistake(folder):
    table(folder / "some.parquet", {"m": 1}, {"m": 2})
    with pytest.raises(UserError) as caught:
        read_records("some.parquet", NUMBERS)
    assert str(caught.value) == "some.parquet, row 1: no number."


MISTAKES = {
    "a line": ("a.jsonl", '{"n": 1}\n\n{}\n', "a.jsonl, line 3: no number."),
    "no object in a line": ("a.jsonl", '{"n": 1}\n3\n', "a.jsonl, line 2: it must be an object with named values."),
    "no JSON in a line": ("a.jsonl", '{"n": 1}\n{\n', "a.jsonl, line 2: not valid JSON"),
    "an object of an array": ("a.json", '[{"n": 1}, {}]', "a.json, object 2: no number."),
    "no JSON": ("a.json", '[{"n": 1}', "a.json: not valid JSON"),
    "no JSON in a line of a .json": ("a.json", '{"n": 1}\n{"n": 2', "a.json, line 2: not valid JSON"),
    "no table": ("a.parquet", "PAR1 or not", "a.parquet cannot be read (Parquet"),
    "no UTF-8": ("a.jsonl", b"\xff\xfe", "a.jsonl looks like UTF-16"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_a_line_with_their_place(folder, name, content, told):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read_records(name, NUMBERS)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.jsonl", "math/absent.jsonl", "a/b/absent", "absent.parquet"])
def test_a_file_that_is_not_there(name):
    with pytest.raises(UserError, match=f"^{name} cannot be read .*No such file"):
        read_records(name, NUMBERS)


@pytest.mark.parametrize("name", ["here/absent", "here/absent.jsonl", ""])
def test_a_slip_in_a_path_is_not_looked_for_in_the_world(folder, monkeypatch, name):
    (folder / "here").mkdir()
    monkeypatch.setattr("folio.data.records.hub_rows", lambda data: pytest.fail(f"looked for {data}"))
    with pytest.raises(UserError, match=r"cannot be read|is empty"):
        read_records(name, NUMBERS)


def test_a_folder_without_records_is_told(folder):
    (folder / "other").mkdir()
    (folder / "other/a.txt").write_text("1")
    with pytest.raises(UserError, match=r"^other has no \.jsonl, \.json, \.csv or \.parquet file in it"):
        read_records("other", NUMBERS)


def test_lines_that_are_called_an_array_are_read_all_the_same(folder):
    lines(folder / "set.json", *numbers(1, 2))
    assert read_records("set.json", NUMBERS) == [1, 2]


def test_without_another_file_the_last_tenth_measures(folder):
    lines(folder / "many.jsonl", *numbers(*range(20)))
    table(folder / "few.parquet", *numbers(7, 8))

    parts = find_parts(NUMBERS, {}, ["many.jsonl"], None)
    assert (list(parts.train), list(parts.validation)) == ([*range(18)], [18, 19])
    assert parts.origin == "many.jsonl"
    parts = find_parts(NUMBERS, {}, ["many.jsonl"], "few.parquet")
    assert (list(parts.train), list(parts.validation)) == ([*range(20)], [7, 8])
    assert parts.origin == "many.jsonl, and few.parquet"
    known = {"known": lambda: parts}
    assert find_parts(NUMBERS, known, ["known"], None) == parts
    other = find_parts(NUMBERS, known, ["known"], "many.jsonl")
    assert (other.train, list(other.validation)) == (parts.train, [*range(20)])
    assert other.origin == "many.jsonl, and few.parquet, and many.jsonl"
    lines(folder / "many.jsonl", *numbers(1))
    with pytest.raises(UserError, match="holds only one record"):
        find_parts(NUMBERS, {}, ["many.jsonl"], None)


def test_files_of_a_folder_are_the_split_that_their_names_say(folder):
    lines(folder / "made/train.jsonl", *numbers(1, 2))
    lines(folder / "made/validation.jsonl", *numbers(3))
    lines(folder / "made/test.jsonl", *numbers(4))
    array(folder / "made/label.json", {"judge": "f"})
    with pytest.warns(FolioWarning) as warned:
        parts = find_parts(NUMBERS, {}, ["made"], None)
    assert (list(parts.train), list(parts.validation)) == ([1, 2], [3])
    assert [str(each.message) for each in warned] == [
        "made: for testing, and left out: test.jsonl",
        "made: left out beside the files for training: label.json",
    ]
    assert parts.origin == "made (train: train.jsonl; validation: validation.jsonl)"
    lines(folder / "other.jsonl", *numbers(5))
    with pytest.warns(FolioWarning):
        parts = find_parts(NUMBERS, {}, ["other.jsonl"], "made")
    assert (list(parts.train), list(parts.validation)) == ([5], [3])


def test_files_for_validation_alone_are_no_training_data(folder):
    lines(folder / "made/valid.jsonl", *numbers(1, 2))
    lines(folder / "other.jsonl", *numbers(5))
    with pytest.raises(UserError, match="made has only files for validation"):
        find_parts(NUMBERS, {}, ["made"], None)
    parts = find_parts(NUMBERS, {}, ["made"], "other.jsonl")
    assert (list(parts.train), list(parts.validation)) == ([1, 2], [5])


def test_of_many_records_a_tenth_is_held_out_by_content(folder):
    lines(folder / "many.jsonl", *numbers(*range(500), *range(500)))
    parts = find_parts(NUMBERS, {}, ["many.jsonl"], None)
    assert not set(parts.train) & set(parts.validation)
    assert 20 < len(set(parts.validation)) < 80
    lines(folder / "few.jsonl", *numbers(*range(250)))
    fewer = find_parts(NUMBERS, {}, ["few.jsonl"], None)
    assert set(fewer.validation) == {n for n in parts.validation if n < 250}


def test_pairs_of_a_prompt_are_held_out_together(folder):
    pairs = [{"prompt": str(n % 200), "chosen": f"a{n}", "rejected": "b"} for n in range(400)]
    parts = find_parts(PREFERENCES, {}, [str(lines(folder / "pairs.jsonl", *pairs))], None)
    train, held_out = (
        {each.prompt[0]["content"] for each in part} for part in (parts.train, parts.validation)
    )
    assert held_out
    assert not train & held_out


def test_the_current_folder_may_hold_no_records(folder):
    with pytest.raises(UserError, match=r"^\. has no \.jsonl"):
        read_records(".", NUMBERS)


def test_many_bad_lines_are_one_message(folder):
    lines(folder / "a.jsonl", *numbers(1), *({"m": n} for n in range(20)))
    with pytest.raises(UserError) as caught:
        read_records("a.jsonl", NUMBERS)
    assert str(caught.value) == (
        "20 of 21 rows cannot be used. a.jsonl, line 2: no number. a.jsonl, line 3: no number. "
        "a.jsonl, line 4: no number. And 17 more."
    )


def test_fields_that_are_not_used_are_named_once_with_their_number(folder):
    lines(folder / "a.jsonl", {"n": 1, "id": 1, "b": None}, {"n": 2, "id": 2, "source": "x"})
    with pytest.warns(FolioWarning) as warned:
        assert read_records("a.jsonl", NUMBERS) == [1, 2]
    assert [str(each.message) for each in warned] == ["a.jsonl: fields not used: id (2 rows), source (1 row)"]


def test_word_problems_are_found_in_a_data_folder(folder):
    lines(folder / "data/math/gsm8k_train.jsonl", GOOD, {**GOOD, "question": "c"})
    lines(folder / "data/math/gsm8k_test.jsonl", {**GOOD, "question": "d"})
    found = find_conversations(["gsm8k"])
    assert [talk[0]["content"] for talk in (*found.train, *found.validation)] == ["a", "c", "d"]
    assert "gsm8k_train.jsonl, and " in found.origin
    assert find_prompts(["gsm8k"]).validation == [[{"role": "user", "content": "d"}]]


def test_names_known_for_conversations_are_known_for_prompts():
    assert KNOWN_CONVERSATIONS.keys() == KNOWN_PROMPTS.keys()


# Real data in $FOLIO_DATA, their first rows only

REAL = {
    "chat": (read_conversations, read_prompts),
    "math": (read_conversations, read_prompts),
    "preferences": (read_preferences, read_prompts, read_conversations),
}
OTHERS = ("preferences/coffee_pointwise.jsonl",)
"""One answer and its reward: no preference."""


@pytest.fixture(scope="module")
def shared():
    folder = Path(os.environ.get("FOLIO_DATA") or "nowhere").expanduser()
    if not (folder / "chat").is_dir():
        pytest.skip("FOLIO_DATA names no folder with chat/, math/ and preferences/")
    return folder


@pytest.mark.filterwarnings("ignore:.*fields not used")
@pytest.mark.parametrize("kind", REAL)
def test_real_files_are_read(shared, kind, folder):
    files = sorted(file for file in (shared / kind).iterdir() if file.suffix in (".jsonl", ".json"))
    assert files
    for file in files:
        if f"{kind}/{file.name}" in OTHERS:
            with pytest.raises(
                UserError, match=r"line 1: it must have .*, and has conversation_id, context, generation"
            ):
                read_preferences(file)
            continue
        start = file
        if file.suffix == ".jsonl":
            with file.open(encoding="utf-8") as whole:
                start = folder / file.name
                start.write_text(
                    "".join(line for line, _ in zip(whole, range(100), strict=False)), encoding="utf-8"
                )
        for read in REAL[kind]:
            assert len(read(start)) >= 50
