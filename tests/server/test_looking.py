"""What the page is told of a model's inside, against the functions that compute it."""

import base64

import numpy as np
import pytest
import torch
from byte_level import gpt2_like
from random_models import TOKENIZER, random_gpt

from folio.errors import UserError
from folio.inference.heads import head_statistics, last_attention, without_heads
from folio.inference.inspection import inspect, logprobs
from folio.inference.lens import logit_lens
from folio.server import looking
from folio.server.looking import Look, finite, running_text, tokens
from folio.server.vocabulary import Vocabulary
from folio.tokenizer.bpe import BPETokenizer

IDS = [7, 0, 1, 2, 0, 1, 6, 3]
VOCABULARY = Vocabulary(TOKENIZER)


@pytest.fixture(scope="module")
def model():
    return random_gpt().eval()


@pytest.fixture
def look(model):
    """Takes parts of a look at the fourth token."""

    def take(*parts, **more):
        settings = {"position": 4, **more}
        return Look(model=model, vocabulary=VOCABULARY, ids=IDS, **settings).take(parts)

    return take


def unpacked(text, *shape):
    return np.frombuffer(base64.b64decode(text), dtype="<u2").reshape(shape) / 65_535


def close(told, expected):
    torch.testing.assert_close(torch.tensor(told, dtype=torch.float64), expected.double(), atol=2e-5, rtol=0)


def test_surprise_is_the_loss_of_each_token(look, model):
    told = look("surprise")["surprise"]
    assert told["nats"][0] is None
    close(told["nats"][1:], -logprobs(model, IDS))
    assert told["ids"] == IDS
    assert told["pieces"] == ["<|bos|>", *" ab afc"]
    assert told["special"] == [True] + [False] * 7


def test_the_distribution_is_that_of_the_position_the_likeliest_first(look, model):
    told = look("distribution")["distribution"]
    expected = inspect(model, IDS, 0).logprobs[3]
    assert sorted(told["ids"]) == list(range(TOKENIZER.vocab_size))
    close(told["logprobs"], expected[told["ids"]])
    assert told["logprobs"] == sorted(told["logprobs"], reverse=True)
    assert told["actual"] == IDS[4]
    assert told["left"] == {"n": 0, "mass": 0.0}


def test_the_distribution_after_the_last_token_has_none_that_followed(look, model):
    told = look("distribution", position=len(IDS))["distribution"]
    assert told["actual"] is None
    close(told["logprobs"], inspect(model, IDS, 0).logprobs[-1][told["ids"]])


def test_of_a_large_vocabulary_the_likeliest_are_told_and_what_the_others_have(monkeypatch, look, model):
    monkeypatch.setattr(looking, "WHOLE", 4)
    monkeypatch.setattr(looking, "COVERED", 0.6)
    told = look("distribution")["distribution"]
    probabilities = inspect(model, IDS, 0).logprobs[3].exp().sort(descending=True).values
    n = len(told["ids"])
    assert probabilities[: n - 1].sum() < 0.6 <= probabilities[:n].sum()
    assert told["left"]["n"] == TOKENIZER.vocab_size - n
    assert told["left"]["mass"] == pytest.approx(float(probabilities[n:].sum()), abs=1e-6)


def test_attention_is_that_of_all_heads_as_the_token_was_predicted(look, model):
    told = look("attention")["attention"]
    rows = last_attention(model, IDS[:4])
    np.testing.assert_allclose(unpacked(told["weights"], *told["shape"]), rows, atol=1e-5)
    close(told["looks"]["previous"], head_statistics(model, IDS[:4]).previous)


def test_the_map_is_one_heads(look, model):
    told = look("map", head=(1, 0))["map"]
    np.testing.assert_allclose(
        unpacked(told["weights"], 8, 8), inspect(model, IDS, 1).attention[0], atol=1e-5
    )


def test_the_lens_tells_every_layer_and_what_came(look, model):
    rows = look("lens")["lens"]["rows"]
    expected = logit_lens(model, IDS[:4])
    assert len(rows) == model.config.n_layer + 1
    for row, row_logprobs, losses in zip(rows, expected.logprobs, expected.losses, strict=True):
        best = row_logprobs.topk(looking.LENS_TOKENS)
        assert row["ids"] == best.indices.tolist()
        close(row["logprobs"], best.values)
        assert row["loss"] == pytest.approx(float(losses.mean()), abs=1e-5)
        assert row["actual"]["logprob"] == pytest.approx(float(row_logprobs[IDS[4]]), abs=1e-5)
        assert row["actual"]["rank"] == 1 + int((row_logprobs > row_logprobs[IDS[4]]).sum())


def test_heads_are_off_for_one_look_only(look, model):
    before = look("surprise")
    off = look("surprise", heads_off=[(0, 1), (1, 0)])["surprise"]["nats"][1:]
    with without_heads(model, [(0, 1), (1, 0)]):
        close(off, -logprobs(model, IDS))
    assert look("surprise") == before
    assert off != before["surprise"]["nats"][1:]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"position": 0}, "position is 0"),
        ({"position": 9}, "position is 9"),
        ({"head": (2, 0)}, "no head 2.0"),
        ({"heads_off": [(0, 2)]}, "no head 0.2"),
        ({"ids": []}, "position is 4"),
    ],
)
def test_what_is_not_there_is_refused(model, settings, words):
    with pytest.raises(UserError, match=words):
        Look(**{"model": model, "vocabulary": VOCABULARY, "ids": IDS, "position": 4, **settings}).take(
            ["surprise"]
        )


def test_a_part_that_does_not_exist_is_refused(look):
    with pytest.raises(UserError, match=r"no part 'soul': there are surprise, distribution"):
        look("soul")
    with pytest.raises(UserError, match="name the head"):
        look("map")


def test_the_texts_of_tokens_joined_are_the_text():
    tokenizer = BPETokenizer(gpt2_like().to_str(), bos="<|endoftext|>", eos="<|endoftext|>")
    vocabulary, text = Vocabulary(tokenizer), "the Zoë 東京 😀!"
    ids = tokenizer.encode(text).tolist()
    told = running_text(vocabulary, ids)
    assert "".join(told["pieces"]) == text
    assert "" in told["pieces"]  # where a character has several tokens
    assert any(name.startswith("bytes:") for name in tokens(vocabulary, ids)["pieces"])


def test_half_a_character_before_a_special_token_is_dropped():
    tokenizer = BPETokenizer(gpt2_like().to_str(), bos="<|endoftext|>", eos="<|endoftext|>")
    vocabulary = Vocabulary(tokenizer)
    half = tokenizer.encode("😀").tolist()[:1]
    end = tokenizer.special_ids["<|endoftext|>"]
    assert running_text(vocabulary, [*half, end, *tokenizer.encode("a").tolist()])["pieces"] == [
        "",
        "<|endoftext|>",
        "a",
    ]


@pytest.mark.parametrize(
    ("number", "told"),
    [(float("nan"), None), (float("inf"), 9999.0), (float("-inf"), -9999.0), (0.1234567, 0.12346)],
)
def test_every_number_is_one_of_json(number, told):
    assert finite(number) == told
