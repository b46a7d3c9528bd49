"""Fields of the page's requests."""

import pytest

from folio.server.errors import ApiError
from folio.server.page_fields import list_of, message, read, string, whole

READERS = {"model": string, "ids": list_of(whole), "pair": list_of(whole, 2), "messages": list_of(message)}


def test_fields_are_read_and_null_is_absent():
    body = {"model": "a", "ids": [1, 0], "pair": None, "messages": [{"role": "user", "content": "x"}]}
    assert read(body, READERS, ("model",)) == {key: value for key, value in body.items() if key != "pair"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": None}, "model"),
        ({"model": 1}, "model"),
        ({"model": "a", "other": 1}, "other"),
        ({"model": "a", "ids": 1}, "ids"),
        ({"model": "a", "ids": [0, True]}, "ids[1]"),
        ({"model": "a", "ids": [-1]}, "ids[0]"),
        ({"model": "a", "ids": [2**31]}, "ids[0]"),
        ({"model": "a", "ids": [1.0]}, "ids[0]"),
        ({"model": "a", "pair": [1, 2, 3]}, "pair"),
        ({"model": "a", "messages": ["x"]}, "messages[0]"),
        ({"model": "a", "messages": [{"role": "user"}]}, "messages[0].content"),
    ],
)
def test_a_wrong_field_is_refused_by_name(body, param):
    with pytest.raises(ApiError) as caught:
        read(body, READERS, ("model",))
    assert (caught.value.status, caught.value.param) == (400, param)
