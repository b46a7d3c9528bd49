import math

import pytest

from folio.errors import UserError
from folio.inference.sampling import Kind, RowSampling, SamplingConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", x) for x in (-0.1, math.nan, math.inf)],
        ("top_k", 0),
        *[("top_p", x) for x in (0.0, 1.1, math.nan)],
        *[("min_p", x) for x in (-0.1, 1.0, math.nan)],
        *[("repetition_penalty", x) for x in (0.0, -1.0, math.nan)],
    ],
)
def test_values_outside_their_range_are_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^{name} is {value}: it must be .*\.$"):
        SamplingConfig(**{name: value})


def test_rows_are_drawn_together_where_the_operation_is_the_same() -> None:
    def kind(**settings: float) -> Kind:
        return RowSampling(sampling=SamplingConfig(**settings), vocab_size=50).kind

    assert kind() == kind(temperature=0.5) == kind(repetition_penalty=2.0)
    assert kind(top_k=5) == kind(top_k=5, top_p=0.5, min_p=0.1) != kind(top_k=6)
    assert kind(top_p=0.5) == kind(min_p=0.1) == kind(top_k=50) == kind(top_k=1000)
    assert kind(temperature=0) == kind(temperature=0, top_k=5) == kind(temperature=1e-12, top_p=0.5)
    assert len({kind(), kind(top_k=5), kind(top_p=0.5), kind(temperature=0)}) == 4


def test_what_is_off_has_the_number_that_changes_nothing() -> None:
    assert RowSampling().numbers == RowSampling(sampling=SamplingConfig(temperature=0)).numbers
    assert RowSampling().numbers == (1.0, 1.0, math.inf, -math.inf, 1.0, 0.0, 0.0)
