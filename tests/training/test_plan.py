"""Sizes that folio picks: valid, within the text, the memory and the time, and never against what was asked."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from folio.errors import UserError
from folio.model.architectures import ARCHITECTURES
from folio.training.plan import MAX_EPOCHS, Plan, SizeConfig, choose_plan, most_steps, require_memory

n_texts = st.integers(100, 10**9)
flops = st.floats(1e6, 1e21)
memories = st.floats(1e6, 1e12)
architectures = st.sampled_from(sorted(ARCHITECTURES))


def choose(
    size: SizeConfig | None = None,
    architecture: str = "qwen3",
    *,
    n_text: int = 1_000_000,
    flops: float = 1e14,
    free_memory: float = 1e10,
) -> Plan:
    return choose_plan(
        size or SizeConfig(),
        dict(ARCHITECTURES[architecture].parts),
        vocab_size=70,
        n_train=n_text * 9 // 10,
        n_validation=n_text - n_text * 9 // 10,
        flops=flops,
        free_memory=free_memory,
    )


@given(architectures, n_texts, flops, memories)
def test_whatever_the_text_and_the_machine_the_plan_is_valid(architecture, n_text, flops, memory):
    plan = choose(None, architecture, n_text=n_text, flops=flops, free_memory=memory)
    model = plan.model
    assert model.n_head * model.head_size == model.n_embd
    assert model.block_size < n_text - n_text * 9 // 10, "a window fits into the validation text"
    assert plan.micro_batch_size >= 1
    assert plan.accumulation >= 1
    assert plan.steps == 0, "nobody knows yet how long a step takes"
    assert plan.memory() <= memory or plan.micro_batch_size == 1
    ARCHITECTURES[architecture].write(model, {})  # it can be saved


@given(n_texts, flops, memories)
def test_less_memory_means_smaller_micro_batches_of_nearly_the_same_step(n_text, flops, memory):
    tight, free = (
        choose(n_text=n_text, flops=flops, free_memory=free_memory) for free_memory in (memory, math.inf)
    )
    assert tight.model == free.model
    assert free.accumulation == 1
    assert free.tokens_per_step <= tight.tokens_per_step < 2 * free.tokens_per_step


@given(n_texts, flops, st.floats(1, 1e6))
def test_more_compute_never_gives_a_smaller_model(n_text, flops, factor):
    small, large = choose(n_text=n_text, flops=flops), choose(n_text=n_text, flops=flops * factor)
    assert large.model.n_embd >= small.model.n_embd
    assert large.model.n_layer >= small.model.n_layer
    assert large.model.block_size == small.model.block_size


@given(n_texts, flops, st.integers(1, 1000))
def test_more_text_never_gives_a_smaller_model_or_more_dropout(n_text, flops, factor):
    small, large = choose(n_text=n_text, flops=flops), choose(n_text=n_text * factor, flops=flops)
    assert large.model.n_embd >= small.model.n_embd
    assert large.model.block_size >= small.model.block_size
    if large.model.n_embd == small.model.n_embd:
        assert large.model.dropout <= small.model.dropout


sizes = st.integers(1, 12)


@given(
    architectures,
    st.builds(
        SizeConfig,
        n_layer=st.none() | sizes,
        n_head=st.none() | sizes,
        n_embd=st.none() | st.integers(1, 30).map(lambda half: 2 * half),
        mlp_size=st.none() | st.integers(1, 300),
        block_size=st.none() | st.integers(1, 300),
        dropout=st.none() | st.floats(0, 0.9),
        micro_batch_size=st.none() | sizes,
        tokens_per_step=st.none() | st.integers(1, 5000),
        steps=st.none() | sizes,
    ),
)
def test_what_is_asked_for_is_kept(architecture, size):
    try:
        plan = choose(size, architecture)
    except UserError:
        width = size.n_embd or choose(replace(size, n_head=None)).model.n_embd
        assert size.n_head is not None
        assert width % size.n_head or width // size.n_head % 2
        assume(False)
    for name in ("n_layer", "n_head", "n_embd", "mlp_size", "block_size", "dropout"):
        if getattr(size, name) is not None:
            assert getattr(plan.model, name) == getattr(size, name), name
    for name in ("micro_batch_size", "steps"):
        if getattr(size, name) is not None:
            assert getattr(plan, name) == getattr(size, name), name
    asked = size.tokens_per_step
    if asked is not None and size.micro_batch_size is None:
        assert abs(plan.tokens_per_step - asked) <= plan.model.block_size
    if size.micro_batch_size is None and size.n_embd is None:
        assert plan.model.n_head * plan.model.head_size == plan.model.n_embd


@pytest.mark.parametrize(
    "name",
    [
        "n_layer",
        "n_head",
        "n_kv_head",
        "n_embd",
        "mlp_size",
        "block_size",
        "micro_batch_size",
        "tokens_per_step",
        "steps",
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_a_size_below_1_is_refused(name, value):
    with pytest.raises(UserError, match=f"{name} is {value}: it must be at least 1"):
        SizeConfig(**{name: value})


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (SizeConfig(n_embd=64, n_head=5), r"n_embd \(64\) must be a multiple of n_head \(5\)"),
        (SizeConfig(n_embd=64, n_head=64), "head_size is 1"),
        (SizeConfig(n_embd=64, n_head=4, n_kv_head=3), r"n_head \(4\) must be a multiple of n_kv_head \(3\)"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(size, message):
    with pytest.raises(UserError, match=message):
        choose(size)


@given(st.integers(1, 10**9))
def test_no_text_is_read_more_often_than_is_of_use(n_train):
    plan = choose()
    steps = most_steps(plan, n_train)
    assert (steps - 1) * plan.tokens_per_step < MAX_EPOCHS * n_train <= steps * plan.tokens_per_step


def test_dropout_follows_from_the_steps_where_they_are_given():
    few, many = (choose(SizeConfig(steps=steps), flops=1e20).model.dropout for steps in (10, 100_000))
    assert few == 0
    assert many > 0


def test_the_measured_speed_is_the_one_that_was_planned_for():
    """A step that takes as long as assumed leads to the same choice."""
    flops_per_second, seconds, efficiency = 1e11, 300.0, 0.4
    plan = choose(flops=efficiency * flops_per_second * seconds)
    step_seconds = 1 / plan.efficiency(1.0, efficiency * flops_per_second)
    assert plan.efficiency(1 / step_seconds, flops_per_second) == pytest.approx(efficiency)


def test_totals():
    plan = replace(choose(SizeConfig(block_size=32, tokens_per_step=256, micro_batch_size=2)), steps=10)
    assert (plan.accumulation, plan.tokens_per_step, plan.total_tokens) == (4, 256, 2560)


@pytest.mark.parametrize("size", [SizeConfig(n_layer=1000, n_embd=4096), SizeConfig(micro_batch_size=2**20)])
def test_sizes_far_beyond_the_memory_are_refused_before_anything_is_built(size):
    plan = choose(size)
    with pytest.raises(
        UserError, match=r"these sizes need about [\d,.]+ GB of memory, and 10\.0 GB are free"
    ):
        require_memory(plan, 1e10)
    require_memory(plan, plan.memory())
