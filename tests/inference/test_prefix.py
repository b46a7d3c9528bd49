import torch
from hypothesis import given
from hypothesis import strategies as st

from folio.inference.prefix import Prefix, PrefixCache, TokenTable

TEXTS = st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=8)


def common(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def prefix(ids: list[int]) -> Prefix:
    return Prefix(ids, torch.tensor(ids))


@given(TEXTS, st.lists(st.integers(0, 2), max_size=8))
def test_a_table_tells_what_each_text_has_in_common_with_another(
    texts: list[list[int]], other: list[int]
) -> None:
    table = TokenTable(0)
    for row, text in enumerate(texts):
        table.put(row, text)
    found = table.common(other).tolist()
    assert found[: len(texts)] == [common(text, other) for text in texts]
    assert not any(found[len(texts) :])


def test_rows_of_a_table_are_replaced_and_moved() -> None:
    table = TokenTable(3)
    table.put(0, [1, 2, 3, 4])
    table.put(1, [1, 2])
    table.put(0, [1])
    assert table.common([1, 2, 3, 4]).tolist() == [1, 2, 0]
    table.move(1, 2)
    assert table.common([1, 2, 3, 4]).tolist() == [1, 0, 2]
    table.put(2, [])
    assert table.common([1, 2]).tolist() == [1, 0, 0]


def test_the_longest_beginning_is_found() -> None:
    cache = PrefixCache(100)
    for text in ([1, 2, 3, 4], [1, 2, 9], [5, 6]):
        cache.put(prefix(text))
    for text, n, ids in (([1, 2, 3, 7], 3, [1, 2, 3, 4]), ([1, 2, 9, 9], 3, [1, 2, 9]), ([5], 1, [5, 6])):
        found, kept = cache.find(text)
        assert (found, kept.ids) == (n, ids)
    assert cache.find([7]) == (0, None)
    assert PrefixCache(100).find([7]) == (0, None)


def test_the_least_recently_used_make_way() -> None:
    cache = PrefixCache(9)
    for text in ([1, 1, 1], [2, 2, 2], [3, 3, 3]):
        cache.put(prefix(text))
    cache.find([1])
    cache.put(prefix([4, 4]))
    assert [cache.find([i])[0] for i in (1, 2, 3, 4)] == [1, 0, 1, 1]
    assert cache.n_tokens == 8


def test_a_text_takes_the_place_of_those_that_it_begins_with() -> None:
    cache = PrefixCache(20)
    for text in ([1], [1, 2], [1, 3], [1, 2, 3, 4]):
        assert cache.takes(text)
        cache.put(prefix(text))
    assert cache.n_tokens == 6
    assert cache.find([1, 3])[0] == 2
    assert not cache.takes([1, 2, 3])
    assert not cache.takes([])
    assert not cache.takes([7] * 21)
    assert not PrefixCache(0).takes([1])


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), max_size=30))
def test_it_never_holds_more_than_it_may_and_finds_what_it_holds(texts: list[list[int]]) -> None:
    cache = PrefixCache(12)
    for text in texts:
        if cache.takes(text):
            cache.put(prefix(text))
        assert cache.n_tokens <= 12
        found, kept = cache.find(text)
        assert found == len(text)
        assert kept.saved[:found].tolist() == text
