"""Several evaluations as one."""

from folio.evaluation.evaluations import Evaluations


def test_the_metrics_of_all_are_returned_in_order():
    both = Evaluations([lambda model: {"a": model}, lambda model: {"b": 2 * model}])
    assert list(both(3.0).items()) == [("a", 3.0), ("b", 6.0)]
    assert Evaluations([])(3.0) == {}
