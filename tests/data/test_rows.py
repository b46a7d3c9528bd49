"""Rows of text and Parquet files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from folio.data.rows import json_rows, jsonl_rows, parquet_rows, read_text
from folio.errors import UserError


def test_a_text_is_the_same_whichever_system_saved_it(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffé\r\nb\rc\n".encode())
    assert read_text(tmp_path / "a.txt") == "é\nb\rc\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_bad_lines_are_errors_of_their_owner(tmp_path, end):
    path = tmp_path / "a.jsonl"
    path.write_bytes(f'{{"n": 1}}{end}{end}[2]{end}{{'.encode())
    rows = jsonl_rows(path)
    assert [(next(rows)), next(rows)] == [
        (f"{path}, line 1", {"n": 1}, True),
        (f"{path}, line 3", [2], True),
    ]
    with pytest.raises(UserError, match=r"a\.jsonl, line 4: not valid JSON"):
        next(rows)


def test_an_array_is_numbered_by_object(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"n": 1}, 2], indent=1))
    assert [row.value for row in json_rows(tmp_path / "a.json")] == [{"n": 1}, 2]
    assert [row.where[-8:] for row in json_rows(tmp_path / "a.json")] == ["object 1", "object 2"]


def test_parquet_rows_read_named_columns_and_skip_bad_rows(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [1, None], "m": [3, 4]}), path)
    assert [row.value for row in parquet_rows(path)] == [{"n": 1, "m": 3}, {"n": None, "m": 4}]
    assert [tuple(row) for row in parquet_rows(path, ["n"])] == [
        (f"{path}, row 1", {"n": 1}, False),
        (f"{path}, row 2", {"n": None}, False),
    ]
    with pytest.raises(UserError, match=r"no column 'text' \(it has: n, m\)"):
        list(parquet_rows(path, ["text"]))


@pytest.mark.parametrize("read", [jsonl_rows, json_rows, parquet_rows])
def test_a_file_that_is_not_there(tmp_path, read):
    with pytest.raises(UserError, match=r"absent cannot be read \(.*[Nn]o such file"):
        list(read(tmp_path / "absent"))
