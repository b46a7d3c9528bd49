"""The functions of the public package that generate."""

import dataclasses

import pytest
import torch
from chatty import make_chatty
from random_models import random_gpt

from folio.errors import FolioWarning, UserError
from folio.inference.config import GenerationConfig
from folio.inference.engine import Engine
from folio.inference.generate import chat, generate, stream
from folio.inference.sampling import SamplingConfig, SamplingKeywords
from folio.tokenizer.chat_template import prompt_ids


def test_generate_returns_the_continuation_alone():
    model, tokenizer = make_chatty()
    text = generate(model, tokenizer, "abc", max_new_tokens=8, seed=3)
    config = GenerationConfig(max_new_tokens=8, seed=3, stop_ids=tuple(tokenizer.end_ids))
    (completion,) = Engine(model).generate([tokenizer.prompt("abc")], config)
    special = set(tokenizer.special_ids.values())
    assert text == tokenizer.decode(i for i in completion.ids if i not in special)


def test_the_same_seed_gives_the_same_text_and_another_another():
    model, tokenizer = make_chatty()
    first, again, other = (
        generate(model, tokenizer, "a", max_new_tokens=12, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_list_gives_a_list_and_its_first_is_what_it_is_alone():
    model, tokenizer = make_chatty()
    texts = generate(model, tokenizer, ["ab", "c"], max_new_tokens=8, seed=5)
    assert len(texts) == 2
    assert texts[0] == generate(model, tokenizer, "ab", max_new_tokens=8, seed=5)


def test_the_pieces_of_a_stream_are_the_text():
    model, tokenizer = make_chatty()
    options = {"max_new_tokens": 10, "seed": 2, "temperature": 0.5}
    pieces = list(stream(model, tokenizer, "a", **options))
    assert all(pieces)
    assert "".join(pieces) == generate(model, tokenizer, "a", **options)


def test_generating_leaves_the_mode_of_the_model_and_ignores_its_dropout():
    model, tokenizer = make_chatty(dropout=0.5)
    model.train()
    assert generate(model, tokenizer, "a", seed=1) == generate(model, tokenizer, "a", seed=1)
    assert model.training


def test_chat_answers_a_question_or_a_conversation():
    model, tokenizer = make_chatty()
    messages = [{"role": "user", "content": "a?"}]
    answer = chat(model, tokenizer, "a?", max_new_tokens=8, seed=4)
    assert answer == chat(model, tokenizer, messages, max_new_tokens=8, seed=4)
    assert set(answer) <= set("abcdefgh ?")


def test_an_answer_ends_where_the_context_does():
    model, tokenizer = make_chatty()
    question = "a" * (
        model.config.block_size - len(prompt_ids(tokenizer, [{"role": "user", "content": ""}])) - 2
    )
    assert len(chat(model, tokenizer, question)) <= 2
    with pytest.raises(UserError, match="leave out old turns"):
        chat(model, tokenizer, question + "aa")


def test_the_sampling_keywords_are_the_settings():
    names = [field.name for field in dataclasses.fields(SamplingConfig)]
    assert list(SamplingKeywords.__annotations__) == names


@pytest.mark.parametrize(
    "setting", [{"min_p": 0.999}, {"top_k": 1}, {"top_p": 1e-6}, {"temperature": 0}], ids=str
)
def test_each_sampling_keyword_reaches_the_sampler(setting):
    model, tokenizer = make_chatty()
    likeliest = generate(model, tokenizer, "a", max_new_tokens=8, temperature=0.0)
    assert generate(model, tokenizer, "a", max_new_tokens=8, **setting) == likeliest
    assert "".join(stream(model, tokenizer, "a", max_new_tokens=8, **setting)) == likeliest


def test_a_repetition_penalty_keeps_tokens_from_coming_again():
    model, tokenizer = make_chatty()
    text = generate(model, tokenizer, "a", max_new_tokens=8, temperature=0, repetition_penalty=1e6)
    assert len(set(text)) == len(text)


def test_an_answer_ends_before_a_stop_text():
    model, tokenizer = make_chatty()
    answer = chat(model, tokenizer, "a?", max_new_tokens=12, seed=4)
    assert len(answer) > 1
    assert chat(model, tokenizer, "a?", max_new_tokens=12, seed=4, stop=answer[1:]) == answer[:1]


def test_mistakes():
    model, tokenizer = make_chatty()
    with pytest.raises(UserError, match="does not know 'x'"):
        generate(model, tokenizer, "x")
    with pytest.raises(UserError, match="temperature is -1"):
        generate(model, tokenizer, "a", temperature=-1)
    with pytest.raises(UserError, match=r"generate: unknown key temprature\. Did you mean temperature\?"):
        generate(model, tokenizer, "a", temprature=1.0)
    with pytest.raises(UserError, match="stream: top_k is 'two'; it must be of type int"):
        stream(model, tokenizer, "a", top_k="two")
    with pytest.raises(UserError, match="nothing to answer"):
        chat(model, tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.0}, {"top_k": 3}, {"repetition_penalty": 1.5}])
def test_rows_of_an_embedding_beyond_the_tokenizer_are_never_drawn(sampling):
    small, tokenizer = make_chatty()
    model = random_gpt(**{**dataclasses.asdict(small.config), "vocab_size": 128})
    with torch.no_grad():
        model.head.weight[tokenizer.vocab_size :] *= 10  # likelier than all tokens, or less likely
    (completion,) = Engine(model).generate([[0]], GenerationConfig(max_new_tokens=20))
    assert max(completion.ids) >= tokenizer.vocab_size, "or the test would show nothing"
    for seed in range(5):
        assert generate(model, tokenizer, "abc", max_new_tokens=20, seed=seed, **sampling) is not None
        config = GenerationConfig(
            max_new_tokens=20,
            seed=seed,
            sampling=SamplingConfig(**sampling),
            vocab_size=tokenizer.vocab_size,
        )
        (completion,) = Engine(model).generate([[0]], config)
        assert max(completion.ids) < tokenizer.vocab_size
        logits = model.eval()(torch.tensor([[0, *completion.ids[:-1]]]))[0] / (
            sampling.get("temperature", 1) or 1
        )
        expected = logits.log_softmax(-1).gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected.detach(), atol=1e-4, rtol=1e-4)


def test_of_a_prompt_longer_than_the_context_is_told_what_is_not_read():
    model, tokenizer = make_chatty()
    context = model.config.block_size
    long = "a" * (context + 5)
    n_tokens = len(tokenizer.prompt(long))
    told = rf"reads {context} tokens at once: it does not see the first {n_tokens - context} of the prompt's {n_tokens}"
    with pytest.warns(FolioWarning, match=told):
        generate(model, tokenizer, long, max_new_tokens=1)
    with pytest.warns(FolioWarning, match=told):
        list(stream(model, tokenizer, long, max_new_tokens=1))


@pytest.mark.parametrize("temperature", [1e-45, 1e-40, 1e-10])
def test_a_tiny_temperature_is_the_limit(temperature):
    model, tokenizer = make_chatty()
    greedy = generate(model, tokenizer, "a", max_new_tokens=20, temperature=0)
    assert generate(model, tokenizer, "a", max_new_tokens=20, temperature=temperature) == greedy
    assert generate(model, tokenizer, "a", max_new_tokens=20, temperature=1e-8) == greedy
