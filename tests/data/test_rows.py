"""Rows of text and Parquet files."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from folio.data.rows import csv_rows, json_rows, jsonl_rows, parquet_rows, read_text
from folio.errors import UserError


def test_a_text_is_the_same_whichever_system_saved_it(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffé\r\nb\rc\n".encode())
    assert read_text(tmp_path / "a.txt") == "é\nb\rc\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_bad_lines_are_errors_of_their_owner(tmp_path, end):
    path = tmp_path / "a.jsonl"
    path.write_bytes(f'{{"n": 1}}{end}{end}[2]{end}{{'.encode())
    one, two, bad = jsonl_rows(path)
    assert [tuple(one[:3]), tuple(two[:3])] == [
        (f"{path}, line 1", {"n": 1}, True),
        (f"{path}, line 3", [2], True),
    ]
    assert (bad.where, bad.is_fatal) == (f"{path}, line 4", True)
    assert bad.problem.startswith("not valid JSON (")


def test_an_array_is_numbered_by_object(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"n": 1}, 2], indent=1))
    assert [row.value for row in json_rows(tmp_path / "a.json")] == [{"n": 1}, 2]
    assert [row.where[-8:] for row in json_rows(tmp_path / "a.json")] == ["object 1", "object 2"]


def test_a_json_file_may_hold_one_object_over_many_lines(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"n": 1, "m": 2}, indent=1))
    assert [tuple(row[:2]) for row in json_rows(tmp_path / "a.json")] == [
        (str(tmp_path / "a.json"), {"n": 1, "m": 2})
    ]


def test_parquet_rows_read_named_columns_and_skip_bad_rows(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [1, None], "m": [3, 4]}), path)
    assert [row.value for row in parquet_rows(path)] == [{"n": 1, "m": 3}, {"n": None, "m": 4}]
    assert [(row.where, row.value, row.is_fatal, row.unread) for row in parquet_rows(path, ["n"])] == [
        (f"{path}, row 1", {"n": 1}, False, ["m"]),
        (f"{path}, row 2", {"n": None}, False, ["m"]),
    ]
    with pytest.raises(UserError, match=r"no column 'text' \(it has: n, m\)"):
        list(parquet_rows(path, ["text"]))


@pytest.mark.parametrize("read", [jsonl_rows, json_rows, csv_rows, parquet_rows])
def test_a_file_that_is_not_there(tmp_path, read):
    with pytest.raises(UserError, match=r"absent cannot be read \(.*[Nn]o such file"):
        list(read(tmp_path / "absent"))


def test_csv_rows_have_the_names_of_the_first(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,completion\n"a, ""b""","c\r\nd"\n,e\n\nf\n', encoding="utf-8")
    assert [(row.where[-6:], row.value) for row in csv_rows(path)] == [
        ("line 2", {"prompt": 'a, "b"', "completion": "c\nd"}),
        ("line 4", {"prompt": None, "completion": "e"}),
        ("line 6", {"prompt": "f"}),
    ]
    path.write_text("text\n" + "x" * 200_000)
    assert [len(row.value["text"]) for row in csv_rows(path)] == [200_000]


@pytest.mark.parametrize(
    ("content", "problem"),
    [("a,b\n1,2,3\n", "it has 3 cells, and there are 2 columns"), ('a\n"open\nb\n', "not valid CSV")],
)
def test_bad_csv_rows_are_named(tmp_path, content, problem):
    (tmp_path / "a.csv").write_text(content)
    (row,) = csv_rows(tmp_path / "a.csv")
    assert row.where.endswith("a.csv, line 2")
    assert problem in row.problem


@pytest.mark.parametrize("header", ["a,a", "a,,b"])
def test_every_csv_column_needs_a_name_of_its_own(tmp_path, header):
    (tmp_path / "a.csv").write_text(header + "\n1,2\n")
    with pytest.raises(UserError, match="each column a name of its own"):
        list(csv_rows(tmp_path / "a.csv"))


def test_json_that_is_no_number_is_no_value(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": NaN, "m": -Infinity, "o": 1}')
    assert [row.value for row in jsonl_rows(tmp_path / "a.jsonl")] == [{"n": None, "m": None, "o": 1}]


def test_what_is_no_file_is_not_read():
    with pytest.raises(UserError, match="is not a regular file"):
        read_text(Path("/dev/zero" if os.name == "posix" else "NUL"))


def test_what_is_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": ["some text " * 1000] * 2000}), tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text("some text " * 1000)
    monkeypatch.setattr("folio.data.rows.available_memory", lambda device: 20_000)
    with pytest.raises(UserError, match=r"a\.txt has 0 MB of data or more, and there is memory to read 0 MB"):
        read_text(tmp_path / "a.txt")
    monkeypatch.setattr("folio.data.rows.available_memory", lambda device: 10_000_000)
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    with pytest.raises(UserError, match=r"a\.parquet has 5 MB of data or more"):
        list(parquet_rows(tmp_path / "a.parquet"))
