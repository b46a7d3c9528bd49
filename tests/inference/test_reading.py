"""What a text gives, whatever is read beside it, and what it costs."""

import pytest
import torch

from folio.inference.reading import ALIKE, CompiledReader, Reader, Text, compiled_decoder, reader_for
from folio.model.gpt import GPT


def text(n: int, slot: int) -> Text:
    return Text(torch.randint(61, (n,), generator=torch.Generator().manual_seed(slot)).tolist(), slot)


def logits(
    reader: Reader | CompiledReader, texts: list[Text], at_most: int = 1000
) -> dict[Text, torch.Tensor]:
    """Read once, and return the logits of the texts whose end was reached."""
    with torch.inference_mode():
        reading = reader.read(texts, at_most)
        index = [token for _, token in reading.ends]
        found = reader.logits(reading.hidden_states, index) if index else []
    return dict(zip([text for text, _ in reading.ends], found, strict=True))


@torch.no_grad()
def expected(model: GPT, text: Text) -> torch.Tensor:
    return model.eval()(torch.tensor([text.ids]))[0, -1]


@pytest.mark.usefixtures("either_decoder")
def test_pieces_of_new_texts_are_read_with_the_last_tokens_of_others(model: GPT) -> None:
    reader = reader_for(model, 7)
    reader.reserve(32)
    texts = [text(n, slot) for slot, n in ((5, 9), (0, 4), (3, 1), (2, 20))]
    ended: dict[Text, int] = {}
    for step in range(8):
        before = {each: each.n_read for each in texts if len(each.ids) - each.n_read > 1}
        for each, found in logits(reader, texts, 6).items():
            torch.testing.assert_close(found, expected(model, each), atol=1e-4, rtol=1e-4)
            ended.setdefault(each, step)
        assert sum(each.n_read - n for each, n in before.items()) <= 6
        for each in texts:
            if each.n_read == len(each.ids):
                each.ids.append(7 * step)
    # The first ones go first: 9 in two passes, 4 in what these leave, then 20. A single token is read at once.
    assert [ended[each] for each in texts] == [1, 2, 0, 5]


def test_a_pass_is_filled_up_where_there_may_be_company(model: GPT) -> None:
    for n_slots, sizes in ((1, (3, 1)), (2, (ALIKE, ALIKE))):
        reader = Reader(model, n_slots)
        reader.reserve(8)
        one = text(3, 0)
        for size in sizes:
            with torch.inference_mode():
                assert len(reader.read([one], 100).hidden_states) == size
            one.ids.append(1)


@pytest.mark.usefixtures("either_decoder")
def test_what_stands_in_for_a_token_changes_nothing(model: GPT) -> None:
    """Texts in the first and the last slot; in those between, a text waits to be read on."""
    reader = reader_for(model, 6)
    reader.reserve(32)
    texts = [text(6, 0), text(8, 5)]
    waiting = text(7, 2)
    logits(reader, [*texts, waiting])
    for token in range(20):
        for each in texts:
            each.ids.append(token)
        for each, found in logits(reader, texts).items():
            torch.testing.assert_close(found, expected(model, each), atol=1e-4, rtol=1e-4)
    waiting.ids.append(3)
    torch.testing.assert_close(
        logits(reader, [waiting])[waiting], expected(model, waiting), atol=1e-4, rtol=1e-4
    )


@pytest.mark.usefixtures("either_decoder")
@pytest.mark.parametrize("change", ["move", "reserve", "begin again", "one leaves"])
def test_reading_on_sees_what_has_changed(model: GPT, change: str) -> None:
    reader = reader_for(model, 5)
    reader.reserve(8)
    texts = [text(4, 0), text(5, 1), text(3, 3)]
    for step in range(5):
        for each, found in logits(reader, texts).items():
            torch.testing.assert_close(found, expected(model, each), atol=1e-4, rtol=1e-4)
            each.ids.append(step)
        if step == 2:
            if change == "move":
                reader.move(texts[2], 4)
            elif change == "reserve":
                reader.reserve(32)
            elif change == "begin again":
                texts[0].ids, texts[0].n_read = texts[0].ids[-1:], 0
            else:
                texts.pop(1)
    assert texts[-1].n_read == 7


def test_the_compiled_decoder_is_for_float32_on_a_cpu(model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("folio.inference.reading.decoder", lambda: "library")
    assert compiled_decoder(model) == "library"
    model.decoder = "torch"
    assert compiled_decoder(model) is None
    model.decoder = "compiled"
    model.compute_dtype = torch.bfloat16
    assert compiled_decoder(model) is None
    model.compute_dtype = torch.float32
    assert compiled_decoder(model.to("meta")) is None
