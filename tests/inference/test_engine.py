from dataclasses import replace

import pytest
import torch
import transformers

from folio.inference import engine as engine_module
from folio.inference.config import GenerationConfig
from folio.inference.engine import PREFILL_TOKENS, Completion, Engine
from folio.inference.sampling import SamplingConfig
from folio.model.gpt import GPT

GREEDY = SamplingConfig(temperature=0.0)
pytestmark = pytest.mark.usefixtures("either_decoder")
PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [9], [11, 12, 13]]


@torch.no_grad()
def without_cache(model: GPT, prompt: list[int], n: int) -> tuple[list[int], list[float]]:
    """Greedy decoding that reads everything again for each token."""
    ids, logprobs = list(prompt), []
    for _ in range(n):
        scores = model.eval()(torch.tensor([ids]))[0, -1].log_softmax(-1)
        ids.append(int(scores.argmax()))
        logprobs.append(float(scores.max()))
    return ids[len(prompt) :], logprobs


def test_cached_is_uncached_in_a_batch_of_different_lengths(engine: Engine) -> None:
    completions = engine.generate(PROMPTS, GenerationConfig(max_new_tokens=20, sampling=GREEDY, seed=0))
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        ids, logprobs = without_cache(engine.model, prompt, 20)
        assert completion.ids == ids
        assert completion.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert completion.finish_reason == "length"


def test_sampled_logprobs_are_those_of_a_forward_pass(engine: Engine) -> None:
    sampling = SamplingConfig(temperature=0.7, top_k=8)
    for prompt, completion in zip(
        PROMPTS,
        engine.generate(PROMPTS, GenerationConfig(max_new_tokens=20, sampling=sampling, seed=0)),
        strict=True,
    ):
        ids = torch.tensor([prompt + completion.ids])
        with torch.no_grad():
            scores = (engine.model(ids) / 0.7).log_softmax(-1)[0, len(prompt) - 1 : -1]
        expected = scores.gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_a_row_does_not_depend_on_the_batch(engine: Engine) -> None:
    def generate(prompts: list[list[int]], seed: int = 3) -> list[list[int]]:
        config = SamplingConfig()
        return [
            c.ids
            for c in engine.generate(prompts, GenerationConfig(max_new_tokens=20, sampling=config, seed=seed))
        ]

    batch = generate(PROMPTS)
    assert batch == generate(PROMPTS)
    assert batch[0] == generate(PROMPTS[:1])[0]
    assert batch != generate(PROMPTS, seed=4)
    same = generate([PROMPTS[0]] * 4)
    assert same[0] == batch[0]
    assert len({tuple(ids) for ids in same}) == 4


def test_a_prompt_of_several_rows_is_read_once(engine: Engine, read: list[int], either_decoder: int) -> None:
    def generate(prompts: list[list[int]]) -> list[Completion]:
        return engine.generate(
            prompts, GenerationConfig(max_new_tokens=20, sampling=SamplingConfig(), seed=3, stop_ids=(5,))
        )

    prompts = [PROMPTS[2], PROMPTS[0], PROMPTS[2], PROMPTS[0], PROMPTS[2]]
    completions = generate(prompts)
    both = len(PROMPTS[0]) + len(PROMPTS[2])
    assert read[0] == both + -both % either_decoder
    assert max(read[1:]) <= len(prompts) + -len(prompts) % either_decoder
    for row, completion in enumerate(completions):
        others = [[i] for i in range(len(prompts))]
        others[row] = prompts[row]
        expected = generate(others)[row]  # among prompts that all differ
        assert completion.ids == expected.ids
        assert completion.logprobs == pytest.approx(expected.logprobs, abs=1e-5)


def test_rows_end_at_stop_ids_and_the_others_go_on(engine: Engine) -> None:
    free = engine.generate(PROMPTS, GenerationConfig(max_new_tokens=20, seed=0))
    stop_ids = {free[0].ids[2], free[2].ids[5]}
    for before, after in zip(
        free,
        engine.generate(
            PROMPTS,
            GenerationConfig(max_new_tokens=20, seed=0, stop_ids=tuple(stop_ids)),
        ),
        strict=True,
    ):
        n = next((i + 1 for i, token in enumerate(before.ids) if token in stop_ids), None)
        assert after.ids == before.ids[:n]
        assert after.finish_reason == ("length" if n is None else "stop")
        assert len(after.logprobs) == len(after.ids)


def test_rows_that_leave_do_not_disturb_those_that_stay(engine: Engine) -> None:
    """They end anywhere in the batch, several in one step, until one is left: as if all had been written to the end."""
    prompts = [[1 + row % 5] * (1 + row % 4) for row in range(24)]

    def generate(stop_ids: list[int]) -> list[Completion]:
        sampling = SamplingConfig(temperature=1.5, repetition_penalty=1.1)
        return engine.generate(
            prompts, GenerationConfig(max_new_tokens=20, sampling=sampling, seed=2, stop_ids=tuple(stop_ids))
        )

    free, stops = generate([]), list(range(0, 60, 6))
    ends = [next((i for i, token in enumerate(row.ids) if token in stops), 19) + 1 for row in free]
    assert len(set(ends)) > 5
    for whole, part, end in zip(free, generate(stops), ends, strict=True):
        assert part.ids == whole.ids[:end]
        assert part.logprobs == pytest.approx(whole.logprobs[:end], abs=1e-4)


def test_prompts_longer_than_one_pass_reads_are_read_in_several(engine: Engine) -> None:
    """More tokens of prompts than PREFILL_TOKENS: rows begin as their prompts have been read."""
    n = engine.model.config.block_size - 4
    prompts = torch.randint(
        61, (2 * PREFILL_TOKENS // n, n), generator=torch.Generator().manual_seed(0)
    ).tolist()
    config = GenerationConfig(max_new_tokens=4, sampling=GREEDY)
    steps = list(engine.stream(prompts, config))
    assert steps[0].tokens[-1] is None is steps[0].finish_reasons[-1]
    written = [
        [step.tokens[row] for step in steps if step.tokens[row] is not None] for row in range(len(prompts))
    ]
    assert written == [engine.generate([prompt], config)[0].ids for prompt in prompts]


def test_rows_beyond_the_places_begin_as_others_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    config = GenerationConfig(max_new_tokens=20, seed=2, stop_ids=tuple(range(0, 60, 6)))
    prompts = [[1 + row % 5] * (1 + row % 4) for row in range(11)]
    expected = [completion.ids for completion in engine.generate(prompts, config)]
    monkeypatch.setattr(engine_module, "MAX_ROWS", 3)
    steps = list(engine.stream(prompts, config))
    assert max(sum(token is not None for token in step.tokens) for step in steps) == 3
    written = [[step.tokens[row] for step in steps if step.tokens[row] is not None] for row in range(11)]
    assert written == expected


def test_steps_tell_what_has_ended(engine: Engine) -> None:
    steps = engine.stream(PROMPTS, GenerationConfig(max_new_tokens=4, seed=0))
    assert next(steps).finish_reasons == [None] * 3
    steps.finish(1)
    rest = list(steps)
    assert [step.tokens[1] for step in rest] == [None] * 3
    assert all(step.finish_reasons[1] == "stop" and step.logprobs[1] == 0 for step in rest)
    assert rest[-1].finish_reasons == ["length", "stop", "length"]


def test_generation_ends_when_every_row_has(engine: Engine) -> None:
    steps = engine.stream(PROMPTS, GenerationConfig(max_new_tokens=10, seed=0))
    next(steps)
    for row in range(3):
        steps.finish(row)
    assert list(steps) == []


def test_beyond_block_size_the_last_three_quarters_are_read_again(engine: Engine) -> None:
    model = engine.model
    T, prompt = model.config.block_size, [5, 6, 7]
    ours = engine.generate([prompt], GenerationConfig(max_new_tokens=3 * T, sampling=GREEDY, seed=0))[0].ids
    ids, start = list(prompt), 0
    with torch.no_grad():
        for _ in range(3 * T):
            if len(ids) - start > T:
                start = len(ids) - T * 3 // 4
            ids.append(int(model.eval()(torch.tensor([ids[start:]]))[0, -1].argmax()))
    assert ours == ids[len(prompt) :]


def test_of_a_long_prompt_the_end_is_read(engine: Engine) -> None:
    T = engine.model.config.block_size
    long = torch.randint(50, (2 * T,)).tolist()
    ours, cut = (
        engine.generate([p], GenerationConfig(max_new_tokens=8, sampling=GREEDY, seed=0))[0]
        for p in (long, long[-T:])
    )
    assert ours == cut


def test_a_context_of_one_token_is_enough(model: GPT) -> None:
    engine = Engine(GPT(replace(model.config, block_size=1)))
    assert len(engine.generate([[1, 2], [3]], GenerationConfig(max_new_tokens=5, seed=0))[1].ids) == 5


def test_empty_prompt_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(ValueError, match="prompt is empty"):
        engine.stream([[1], []], GenerationConfig(max_new_tokens=5, sampling=GREEDY, seed=0))


def test_nothing_asked_nothing_written(engine: Engine) -> None:
    assert engine.generate([], GenerationConfig(max_new_tokens=5, sampling=GREEDY, seed=0)) == []
    assert engine.generate([[1]], GenerationConfig(max_new_tokens=0, sampling=GREEDY, seed=0))[0].ids == []


def test_the_model_is_left_as_it_was(engine: Engine) -> None:
    for mode in (True, False):
        engine.model.train(mode)
        steps = engine.stream(PROMPTS, GenerationConfig(max_new_tokens=5, sampling=GREEDY, seed=0))
        next(steps)
        assert engine.model.training is mode
        assert not torch.is_inference_mode_enabled()
    engine.model(torch.tensor([[1, 2]])).sum().backward()


def test_dropout_is_off(model: GPT) -> None:
    weights = model.state_dict()
    model = GPT(replace(model.config, dropout=0.5)).train()
    model.load_state_dict(weights)
    completion = Engine(model).generate(
        [PROMPTS[0]], GenerationConfig(max_new_tokens=5, sampling=GREEDY, seed=0)
    )[0]
    assert completion.ids == without_cache(model, PROMPTS[0], 5)[0]


def test_a_changed_model_is_seen_by_the_next_generation(engine: Engine) -> None:
    before = engine.generate(PROMPTS, GenerationConfig(max_new_tokens=5, sampling=GREEDY, seed=0))
    with torch.no_grad():
        for parameter in engine.model.parameters():
            parameter.mul_(-1)
    assert engine.generate(PROMPTS, GenerationConfig(max_new_tokens=5, sampling=GREEDY, seed=0)) != before


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_greedy_is_that_of_transformers(kind: str, tmp_path) -> None:
    from folio.model.directory import load_model

    torch.manual_seed(0)
    sizes = {"vocab_size": 61, "bos_token_id": None, "eos_token_id": None}
    theirs = {
        "qwen3": lambda: transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(
                hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=16, max_position_embeddings=64, **sizes,
            )
        ),
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **sizes)
        ),
    }[kind]().eval()  # fmt: skip
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    prompt = PROMPTS[0]
    expected = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=30, do_sample=False,
        pad_token_id=0,
    )[0, len(prompt) :]  # fmt: skip
    ours = Engine(load_model(tmp_path)).generate(
        [prompt], GenerationConfig(max_new_tokens=30, sampling=GREEDY, seed=0)
    )[0]
    assert ours.ids == expected.tolist()
