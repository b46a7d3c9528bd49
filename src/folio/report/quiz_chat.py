"""The answers to quiz questions about the learner's assistant: fine-tuning, preferences and reinforcement learning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from folio.data.conversations import tokenize
from folio.data.preferences import VALIDATION_FILE, Preference, read_preferences
from folio.errors import UserError
from folio.files import read_lines
from folio.lecture.quiz import Chosen, Computed, Option
from folio.report.quiz_run import FinishedRun
from folio.runs.directory import RunDirectory
from folio.runs.load import load_for_chat

N_WORDS = 3
"""Words of an answer whose tokens are to be counted."""
MOST_SHOWN = 160
"""Characters of a prompt or a reply that are shown."""


def tokens_that_count(run: FinishedRun) -> Computed:
    """Compute how many tokens of a conversation, of one of the run's own samples, count in the loss."""
    samples = read_lines(RunDirectory(run.path).samples_file, lambda line: {"prompt", "text"} <= line.keys())
    if not samples:
        raise UserError(f"{run.path} has no samples: choose another run.")
    prompt = str(samples[-1]["prompt"])
    words = str(samples[-1]["text"]).removeprefix(f"> {prompt}\n").split()
    model, tokenizer = load_for_chat(run.path)
    messages = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": " ".join(words[:N_WORDS])},
    ]
    example = tokenize(tokenizer, messages, model.config.block_size)
    if example is None:
        raise UserError(f"{run.path} has a context too short for its samples: choose another run.")
    return Computed(
        float(example.weights.sum()),
        f"{len(example.ids)} tokens in all; those of the answer and its <|end|> count.",
        f"user: {prompt}\nassistant: {messages[1]['content']}",
    )


def prompt_worth(run: FinishedRun) -> Computed:
    """Compute by how many nats an answer's own prompt makes it likelier than another one."""
    before, worth, wins = (
        run.at_start("val_prompt_pmi"),
        run.last("val_prompt_pmi"),
        run.last("val_prompt_wins"),
    )
    return Computed(
        worth,
        f"The right prompt makes an answer likelier in {wins:.0%} of cases. Before fine-tuning it was worth {before:.1f} nats.",
    )


def longer_wins(run: FinishedRun) -> Computed:
    """Compute the percentage of preferences whose chosen answer is the longer one, a tie counting half."""
    pairs = labels_of(run)
    wins = sum(
        1.0 if len(pair.chosen) > len(pair.rejected) else 0.5 * (len(pair.chosen) == len(pair.rejected))
        for pair in pairs
    )
    return Computed(
        100 * wins / len(pairs), f"In {wins:g} of {len(pairs):,} held-out pairs the longer one won."
    )


def preferred_reply(run: FinishedRun) -> Chosen:
    """Choose the reply that the judge preferred, in one of its pairs."""
    pair = labels_of(run)[0]
    difference = len(pair.chosen) - len(pair.rejected)
    kind = "longer" if difference > 0 else "shorter" if difference else "other"
    return Chosen(
        Option(shown(pair.chosen), "That is what the judge said."),
        [Option(shown(pair.rejected), f"The judge preferred the {kind} one.")],
        f"To: {shown(pair.prompt[-1]['content'])}",
    )


def labels_of(run: FinishedRun) -> list[Preference]:
    """Return the held-out preferences that `folio label` made. Raises UserError if there are none."""
    return list(read_preferences(run.path / VALIDATION_FILE))


def shown(text: str) -> str:
    """Return a reply on one line."""
    line = text.replace("\n", " ↵ ").strip() or "(nothing)"
    return line if len(line) <= MOST_SHOWN else line[:MOST_SHOWN] + " ..."


def reward_rise(run: FinishedRun) -> Computed:
    """Compute the rise of the reward of held-out answers, in standard deviations of those before training."""
    rises = {
        name: (run.last(f"val_{name}") - run.at_start(f"val_{name}")) / run.at_start(f"val_{name}_std")
        for name in ("reward", "gold")
        if run.before.get(f"val_{name}_std")
    }
    if "reward" not in rises:
        raise UserError(f"{run.path} has answers whose rewards were all alike: choose another run.")
    gold = (
        f"The gold reward, on which it was not trained, rose by {rises['gold']:.2f}."
        if "gold" in rises
        else ""
    )
    return Computed(rises["reward"], f"The reward rose by {rises['reward']:.2f} of them. {gold}".strip())


def steps_per_rollout(run: FinishedRun) -> Computed:
    """Compute the steps that learn from the same answers."""
    epochs, rollout, minibatch = (
        int(run.setting(name)) for name in ("epochs", "rollout_size", "minibatch_size")
    )
    return Computed(
        epochs * math.ceil(rollout / minibatch),
        f"{rollout} answers in minibatches of {minibatch}, epochs: {epochs}.",
    )


def likelier_by_token(run: FinishedRun) -> Computed:
    """Compute by how many percent an average token is likelier than under the reference."""
    kl, length = run.last("val_kl"), run.last("val_length")
    return Computed(
        100 * math.expm1(kl / length),
        f"{kl:.2f} nats over {length:.0f} tokens are {kl / length:.4f} a token, and e to that is {math.exp(kl / length):.4f}.",
    )


FORMULAS: Mapping[str, Callable[[FinishedRun], Computed | Chosen]] = {
    formula.__name__: formula
    for formula in (
        *(tokens_that_count, prompt_worth, longer_wins, preferred_reply),
        *(reward_rise, steps_per_rollout, likelier_by_token),
    )
}
