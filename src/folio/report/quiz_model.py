"""The answers to quiz questions for which the learner's pretrained model reads its text once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from folio.data.corpora import load_corpus
from folio.errors import UserError
from folio.inference.heads import head_statistics, without_heads
from folio.inference.inspection import inspect
from folio.inference.lens import logit_lens
from folio.lecture.quiz import Chosen, Computed, Option
from folio.model.gpt import GPT
from folio.report.quiz_run import FinishedRun
from folio.report.reading import BOS, visible
from folio.runs.load import load_for_inference
from folio.tokenizer.char import CharTokenizer

LINE_LENGTHS = range(20, 61)
"""Lengths of a line to show with a question."""
BEFORE = 12
"""Characters before another one that say where it stands."""
SHOWN = 40
"""Characters of the text before a guess that are shown."""
N_WINDOWS = 4
"""Windows of held-out text on which heads are compared: more take longer and change little."""
N_FREQUENT = 10
UNSURE = 0.6
"""Probability of the likeliest token at which a temperature changes much."""


@dataclass(frozen=True)
class Reader:
    """A pretrained character model, with the text that it was trained and evaluated on."""

    model: GPT
    tokenizer: CharTokenizer
    train: str
    validation: str

    @property
    def block_size(self) -> int:
        return self.model.config.block_size

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).tolist()

    def sign(self, i: int) -> str:
        """Return the token of an id as a visible sign."""
        return visible(self.tokenizer.decode([i]))

    def probabilities(self, text: str) -> Tensor:
        """Return the probability of each token to follow a text: (V)."""
        return inspect(self.model, self.ids(text)[-self.block_size :], layer=0).logprobs[-1].exp()

    def windows(self) -> Tensor:
        """Return the first windows of the held-out text, each with the token after it: (n, T + 1)."""
        T = min(self.block_size, len(self.validation) - 1)
        n = min(N_WINDOWS, (len(self.validation) - 1) // T)
        ids = torch.tensor(self.ids(self.validation[: n * T + 1]))
        return ids.unfold(0, T + 1, T)

    def loss(self, windows: Tensor) -> float:
        """Return the mean loss on windows (n, T + 1)."""
        with torch.inference_mode():
            logits = self.model(windows[:, :-1])  # (n, T, V)
        return F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten()).item()


def read_again(run: FinishedRun) -> Reader:
    """Return the best model of a pretraining run, and its text.

    Raises UserError where its tokens are not characters, or the text is gone or has changed.
    """
    model, tokenizer = load_for_inference(run.path)
    if not isinstance(tokenizer, CharTokenizer):
        raise UserError(
            f"{run.path} has tokens of several characters: the question is about a character model."
        )
    data, validation = str(run.settings["data"]), run.settings["validation"]
    corpus = load_corpus(data, None if validation is None else str(validation))
    if corpus.sha256 != run.data_sha256:
        raise UserError(f"{data} is not the text any more that {run.path} was trained on.")
    return Reader(model, tokenizer, *corpus.split())


def most_surprising(run: FinishedRun) -> Chosen:
    """Choose the character with the highest loss in a held-out line."""
    reader = read_again(run)
    line = a_line(reader.validation)[: reader.block_size - 1]
    opening = [reader.tokenizer.special_ids[BOS]] if "\n" in reader.tokenizer.characters else []
    losses = inspect(reader.model, [*opening, *reader.ids(line)], layer=0).losses
    first = len(line) - len(losses)
    order = losses.argsort(descending=True).tolist()

    def option(rank: float, words: str) -> Option:
        place = order[round(rank * (len(order) - 1))]
        return Option(where(line, first + place), words.format(f"{losses[place]:.2f}"))

    wrong = [option(rank, "It costs {} nats, less than another one.") for rank in (1 / 3, 2 / 3, 1.0)]
    right = option(
        0.0, "It costs {} nats, and a character of this line " + f"{losses.mean():.2f} on average."
    )
    different = {each.answer: each for each in wrong if each.answer != right.answer}
    return Chosen(right, list(different.values()), line)


def a_line(text: str) -> str:
    """Return the first line of a text that is neither short nor long, or its beginning."""
    lines = (line for line in text.split("\n") if len(line) in LINE_LENGTHS)
    return next(lines, " ".join(text[: LINE_LENGTHS.start].split()))


def where(line: str, place: int) -> str:
    """Say where a character stands in a line."""
    before = line[:place] if place <= BEFORE else "..." + line[place - BEFORE : place]
    return f"{visible(line[place])} after {before!r}" if place else f"{visible(line[0])} at the beginning"


def after_an_empty_line(run: FinishedRun) -> Computed:
    """Compute the probability in percent, after an empty line, of the last character of the text's first line."""
    reader = read_again(run)
    line = next((line for line in reader.train.split("\n") if len(line) > 1), "")[: reader.block_size - 2]
    if len(line) < 2:
        raise UserError(f"the text of {run.path} has no line to ask about: choose another run.")
    beginning, last = line[:-1], reader.ids(line[-1])[0]
    with_it, alone = (100 * reader.probabilities(before + beginning)[last].item() for before in ("\n\n", ""))
    return Computed(
        with_it,
        f"After an empty line it is {with_it:.1f} %, and {alone:.1f} % where nothing stands before it.",
        f"{beginning!r}, and then {line[-1]!r}",
    )


def to_the_previous(run: FinishedRun) -> Computed:
    """Compute the mean weight in percent that a head gives to the token before, for the head that gives it most."""
    reader = read_again(run)
    weights = head_statistics(reader.model, reader.windows()[0, :-1]).previous  # (L, H)
    layer, head = divmod(int(weights.argmax()), weights.shape[1])
    return Computed(
        100 * weights.max().item(),
        f"It is head {layer}.{head}, head {head} of layer {layer}; the mean over all heads is {100 * weights.mean():.0f} %.",
    )


def costliest_head(run: FinishedRun) -> Computed:
    """Compute by how much the loss rises without the head whose loss costs most."""
    reader = read_again(run)
    windows, config = reader.windows(), reader.model.config
    whole = reader.loss(windows)
    rises = {}
    for head in product(range(config.n_layer), range(config.n_head)):
        with without_heads(reader.model, [head]):
            rises[head] = reader.loss(windows) - whole
    most, least = max(rises, key=rises.__getitem__), min(rises, key=rises.__getitem__)
    return Computed(
        rises[most],
        f"With all heads the loss on {windows[:, 1:].numel():,} held-out characters is {whole:.3f}. Without head "
        f"{most[0]}.{most[1]} it rises by {rises[most]:.3f}, without {least[0]}.{least[1]} by {rises[least]:.3f}.",
    )


def pairs_before_layers(run: FinishedRun) -> Computed:
    """Compute for how many of the most frequent characters the model without its layers predicts what most often follows."""
    reader = read_again(run)
    ids = np.array(reader.ids(reader.train))
    V = reader.model.config.vocab_size
    pairs = np.bincount(ids[:-1] * V + ids[1:], minlength=V * V).reshape(V, V)
    frequent = np.bincount(ids).argsort()[::-1][:N_FREQUENT].tolist()
    predicted = [int(logit_lens(reader.model, [i]).logprobs[0].argmax()) for i in frequent]
    agree = [guess == pairs[i].argmax() for i, guess in zip(frequent, predicted, strict=True)]
    shown = ", ".join(
        f"{reader.sign(i)}{reader.sign(guess)}" for i, guess in zip(frequent, predicted, strict=True)
    )
    return Computed(float(sum(agree)), f"Of {len(frequent)} characters. The pairs that it predicts: {shown}.")


def half_the_temperature(run: FinishedRun) -> Computed:
    """Compute the percentage of the likeliest token at a temperature of 0.5, at a place where it has about 60 % at 1."""
    reader = read_again(run)
    window = reader.windows()[0, :-1]
    rows = inspect(reader.model, window, layer=0).logprobs.exp()  # (T, V)
    place = int((rows.max(-1).values - UNSURE).abs().argmin())
    (p, q), (first, second) = (part.tolist() for part in rows[place].topk(2))
    sharper = rows[place] ** 2 / (rows[place] ** 2).sum()
    before = reader.tokenizer.decode(window[: place + 1].tolist())[-SHOWN:]
    return Computed(
        100 * sharper.max().item(),
        f"Every probability is squared, and all are divided by their sum, {(rows[place] ** 2).sum():.3f}.",
        f"After {before!r} it gives {reader.sign(first)} {100 * p:.0f} %, {reader.sign(second)} {100 * q:.0f} %, and the "
        "rest to others.",
    )


def nearest_in_the_table(run: FinishedRun) -> Chosen:
    """Choose the character nearest to the period, or another frequent mark, in the table that reads tokens."""
    reader = read_again(run)
    seen = sorted(set(reader.train))
    marks = [character for character in seen if not character.isalnum() and not character.isspace()] or seen
    mark = "." if "." in marks else max(marks, key=reader.train.count)
    others = [character for character in seen if character != mark]
    ids = reader.ids("".join(others))

    def cosines(table: Tensor) -> Tensor:
        directions = F.normalize(table.detach().float(), dim=-1)
        return directions[ids] @ directions[reader.ids(mark)[0]]

    read, written = (cosines(part.weight) for part in (reader.model.embedding, reader.model.head))
    nearest, alike = int(read.argmax()), int(written.argmax())
    wrong = {
        alike: "That one is nearest in the table that writes: the two come in the same places.",
        max(range(len(others)), key=lambda i: reader.train.count(others[i])): (
            "That is the most frequent one. How often a character comes does not make two alike."
        ),
        int(read.argmin()): "That one is farthest.",
        int(read.argsort()[len(others) // 2]): "It points in hardly the same direction.",
    }
    return Chosen(
        Option(visible(others[nearest]), f"The cosine is {read[nearest]:.2f}."),
        [Option(visible(others[i]), words) for i, words in wrong.items() if i != nearest][:3],
        visible(mark),
    )


FORMULAS: Mapping[str, Callable[[FinishedRun], Computed | Chosen]] = {
    formula.__name__: formula
    for formula in (
        *(most_surprising, after_an_empty_line, to_the_previous, costliest_head, pairs_before_layers),
        *(half_the_temperature, nearest_in_the_table),
    )
}
