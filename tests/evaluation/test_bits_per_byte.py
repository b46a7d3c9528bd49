"""Bits per byte, against one pass for each window."""

import bz2
import math

import pytest
import torch
from random_models import TOKENIZER, random_gpt

from folio.errors import FolioWarning, UserError
from folio.evaluation.bits_per_byte import bits_per_byte, compressed, windows

T = 32
TEXT = "a bad cab fed a bee a face faded a cafe "


@pytest.fixture
def model():
    return random_gpt().eval()


@pytest.mark.parametrize("n", [1, 5, T - 1, T, T + 1, 2 * T, 3 * T + 7])
def test_every_token_is_predicted_once_from_its_window(model, n):
    text = (TEXT * 4)[:n]
    ids = [*TOKENIZER.prompt(""), *TOKENIZER.encode(text).tolist()]
    nats, done = 0.0, 0
    while done < n:
        new = min(T, n - done)
        window = ids[max(0, done + new - T) : done + new + 1]
        logprobs = model(torch.tensor([window[:-1]]))[0].log_softmax(-1)
        nats -= sum(logprobs[at - 1, window[at]].item() for at in range(len(window) - new, len(window)))
        done += new
    found = bits_per_byte(model, TOKENIZER, text)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / n, rel=1e-5)
    assert found["loss"] == pytest.approx(nats / n, rel=1e-5)
    assert (found["n_tokens"], found["n_bytes"]) == (n, n)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 24, 29])
def test_each_id_is_a_target_once(n):
    seen = torch.zeros(n + 1)
    for batch in windows(list(range(n + 1)), 8):
        assert torch.equal(batch.ids + 1, batch.targets)
        seen.index_add_(0, batch.targets.flatten(), batch.weights.flatten())
    assert seen.tolist() == [0.0] + [1.0] * n


def test_unknown_characters_are_left_out_and_counted(model):
    with pytest.warns(
        FolioWarning, match="2 of 10 characters are left out, which the model has never seen: 'Z'"
    ):
        found = bits_per_byte(model, TOKENIZER, "Za bad cbZ")
    assert found["n_bytes"] == 8
    with pytest.raises(UserError, match="no text that the model could read"), pytest.warns(FolioWarning):
        bits_per_byte(model, TOKENIZER, "ZZ")


def test_what_compressors_need():
    text = TEXT * 100
    assert compressed(text)["bz2"] == 8 * len(bz2.compress(text.encode())) / len(text)
    assert compressed(text)["xz"] < 1
