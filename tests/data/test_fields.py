"""Fields that are read, missing, or not used, and rows that cannot be used."""

import json

import pytest

from folio.data.fields import Fields, parse_rows, report
from folio.data.rows import Row
from folio.errors import FolioWarning, UserError


def test_fields_remember_which_of_them_were_read():
    fields = Fields({"a": 1, "b": [{"c": 2, "d": 3}, {"e": 4}], "f": None, "g": float("nan")})
    assert fields.unread() == {"a", "b"}
    assert fields["a"] == fields.get("a") == 1
    assert fields.get("f", "none") == "none"
    assert [each.get("c") for each in fields["b"]] == [2, None]
    assert fields.unread() == {"b.d", "b.e"}


@pytest.mark.parametrize("read", [dict, lambda fields: dict(fields.items())], ids=["dict", "items"])
def test_who_takes_all_fields_has_read_them(read):
    fields = Fields({"a": 1, "b": [{"c": 2}]})
    taken = read(fields)
    assert taken == {"a": 1, "b": [{"c": 2}]}
    assert "a" not in fields.unread()
    assert json.loads(json.dumps(fields)) == taken


def number(fields, where):
    if "n" not in fields:
        raise UserError("no number.")
    return fields["n"]


def test_rows_of_tables_that_cannot_be_used_are_counted():
    rows = [Row(f"row {n}", {"n": 1} if n % 3 else {}, is_fatal=False) for n in range(1, 10)]
    parsed = parse_rows(rows, number)
    assert parsed.records == [1] * 6
    assert report("data", parsed) == "3 of 9 rows left out; row 3: no number"
    with pytest.raises(UserError, match=r"^row 3: no number\.$"):
        report("data", parse_rows(rows[2:3], number))


def test_a_report_is_about_all_parts():
    train, held_out = (parse_rows([Row("here", {"n": 1, "id": 2})] * n, number) for n in (3, 1))
    with pytest.warns(FolioWarning, match=r"^data: fields not used: id \(4 rows\)$"):
        assert report("data", train, held_out) == ""
