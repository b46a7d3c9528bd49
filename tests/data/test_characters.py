"""Characters that a tokenizer does not know."""

import pytest

from folio.data.characters import require_known
from folio.errors import UserError
from folio.tokenizer.char import CharTokenizer

TOKENIZER = CharTokenizer.train("abc")


def test_all_unknown_characters_are_listed_at_once_with_counts_and_places():
    require_known(TOKENIZER, [("line 1", "abc")])
    with pytest.raises(UserError) as caught:
        require_known(TOKENIZER, [("line 1", "abc"), ("line 2", "a7\n7"), ("line 3", "é7")])
    assert str(caught.value).startswith(
        "the data have 3 characters that the model does not know: '7' (3 times, first in line 2), "
        "'\\n' (1 time, first in line 2), 'é' (1 time, first in line 3). "
    )


def test_only_the_most_frequent_of_many_are_named():
    with pytest.raises(UserError, match=r"know: 'm' \(3 times.*, and 3 more\."):
        require_known(TOKENIZER, [("line 1", "defghijklmmmnop")])
