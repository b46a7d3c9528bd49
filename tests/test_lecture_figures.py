"""Figures in the prose of the lecture's pages and of docs/sft.md: each is worked out here, from a benchmark or the text."""

import itertools
import json
import math
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest

import folio
from folio.data.corpora import KNOWN_CORPORA, data_folders
from folio.data.known import find_conversations
from folio.lecture.ladder import LADDER, LAPTOP, LECTURE, SMALL

ROOT = Path(__file__).parents[1]
LECTURE_PAGES = ROOT / "src" / "folio" / "lecture" / "pages"
needs_shakespeare = pytest.mark.skipif(
    not any((folder / KNOWN_CORPORA["shakespeare"].path).exists() for folder in data_folders()),
    reason="Tiny Shakespeare is not on this machine",
)


def page(name):
    """The text of a page in one line, so that no line break stands in a sentence."""
    path = ROOT / name if "/" in name else LECTURE_PAGES / f"{name}.md"
    return " ".join(path.read_text(encoding="utf-8").split())


def figures(name):
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


def says(name, *sentences):
    text = page(name)
    assert [sentence for sentence in sentences if sentence not in text] == []


def n_parameters(rung, size):
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in LADDER[rung].build(65, size).parameters())


def over_seeds(part, name):
    return [each[part][name] for key, each in figures("shakespeare_rlhf").items() if key.startswith("seed ")]


def spread(values, factor=1, digits=1):
    return f"{factor * mean(values):.{digits}f} ± {factor * stdev(values):.{digits}f}"


def test_the_loop_of_page_0():
    losses = figures("experiments")["00-text-to-batches"]["losses"]
    says(
        "00-text-to-batches",
        f"Before training the loss was {losses['before']:.1f}; a uniform guess among 70 tokens costs "
        f"ln 70 = {math.log(70):.1f}.",
    )


def test_how_long_the_ladder_takes():
    seconds = {row["rung"]: row["seconds"] for row in figures("ladder")["rungs"]}
    small = sum(seconds[name] for name in list(LADDER)[:8])
    assert small < 180
    assert round(sum(seconds.values()) / 60) == 12
    says(
        "README", "the small rungs, up to dropout, take less than three minutes, and all of them about twelve"
    )
    says("benchmarks/ladder.md", f"The small rungs together take {small:.0f} s here")


def test_what_is_said_of_the_ladder():
    rows = {row["rung"]: row for row in figures("ladder")["rungs"]}
    loss = {name: row["val_loss"] for name, row in rows.items()}
    small = [row for row in rows.values() if row["lecture_loss"] and row["rung"] != "scale_up"]
    assert len(small) == 6
    assert all(abs(row["val_loss"] - row["lecture_loss"]) < 0.02 for row in small)
    longer, top = figures("ladder")["equal_time"][1:]
    says(
        "benchmarks/ladder.md",
        "All six small rungs for which the lecture has a figure are within 0.02 of it",
        f"({loss['layer_norm']:.2f} to {loss['dropout']:.2f})",
        f"({loss['scale_up']:.3f} and {loss['gelu_tying']:.3f})",
        f"reach a loss {longer['val_loss'] - top['val_loss']:.2f} lower than the lecture's model",
    )


def test_sizes_on_pages_9_and_10():
    characters = int(0.9 * 1_115_394)
    dropout, whole = n_parameters("dropout", LADDER["dropout"].size), n_parameters("scale_up", LECTURE)
    read = SMALL.steps * SMALL.batch_size * SMALL.block_size
    lecture = LECTURE.steps * LECTURE.batch_size * LECTURE.block_size
    assert whole / characters > 10
    assert round(lecture / characters, -1) == 80
    says(
        "09-dropout",
        f"one parameter for every {characters / dropout:.0f} characters",
        f"({read:,} characters, from a text of {characters:,})",
        "more than ten parameters for every character and goes over the text some 80 times",
    )
    layer = 12 * LECTURE.n_embd**2 + 10 * LECTURE.n_embd
    laptop = n_parameters("scale_up", LAPTOP)
    assert round(whole / laptop) == 13
    assert LECTURE.block_size == 4 * LAPTOP.block_size
    says(
        "10-scale-up",
        f"which is {layer:,}; six of them are {100 * 6 * layer / whole:.1f} % of the model",
        "thirteen times the parameters, four times the context, and 80 epochs instead of one",
    )


@needs_shakespeare
def test_what_is_counted_in_the_text():
    train, _ = folio.load_corpus("shakespeare").split()
    line = "For I have ever ve"
    assert train.count(line) == train.count(line + "r") == 1
    says("09-dropout", f"`{line}` occur in the training text once, and `r` follows")
    repeats = sum(first == second for first, second in itertools.pairwise(train))
    assert round(len(train) / repeats) in range(39, 43)
    says("11-gelu-tying", "One character in forty of this text repeats the one before.")
    with_g, without = ([], [])
    for letter in "hrlu":
        after_g = train.count(f"g{letter}"), train.count(f"g{letter}t")
        with_g.append(after_g[1] / after_g[0])
        without.append((train.count(letter + "t") - after_g[1]) / (train.count(letter) - after_g[0]))
    rare, *others = without
    says(
        "06-feed-forward",
        f"| with a `g` before, as in `night` | {' | '.join(f'{100 * share:.0f} %' for share in with_g)} |",
        f"| without | {100 * rare:.3f} % | {' | '.join(f'{100 * share:.1f} %' for share in others)} |",
    )


@needs_shakespeare
def test_the_dialogues_of_the_plays():
    parts = find_conversations("shakespeare")
    seconds = mean(over_seeds("training", "sft_seconds"))
    says(
        "docs/sft.md",
        f"one epoch over {len(parts.train):,} pairs of speech and reply in {seconds:.0f} s of training, "
        f"{len(parts.validation)} pairs of the validation text held out",
    )


def test_when_listening_begins():
    rows = {row["step"]: row for row in figures("instructions")[-1]["rows"] if "step" in row}
    worth = {step: row["prompt_pmi"] for step, row in rows.items()}
    last = max(rows)
    copied = [rows[last][f"met/{skill}"] for skill in ("repeat", "capitals", "last word")]
    says(
        "docs/sft.md",
        f"after 394 steps the prompt is still worth {worth[394]:.0f} nats",
        f"Two line charts over {last:,} steps",
        f"rises to {worth[591]:.0f} at step 591, and ends at {worth[last]:.0f}",
        f"{100 * min(copied):.0f} to {100 * max(copied):.0f} % at the end",
        f"follow more slowly, to {100 * rows[last]['met/about']:.0f} %",
    )


def test_the_model_and_the_assistants_of_page_16():
    base = figures("experiments")["00-text-to-batches"]["base"]
    tiny = figures("experiments")["16-to-chatgpt"]["tiny"]
    talk = figures("experiments")["16-to-chatgpt"]["dialogues"]
    passes = base["tokens"] / int(0.9 * 1_115_394)
    assert tiny["after refusals"]["capitals right"] == 8
    assert round(tiny["prompt_pmi"], -1) == 20
    assert abs(tiny["cost"]["ignores"] - math.log(8)) < 0.1
    worth, error = talk["val_prompt_pmi"], talk["val_prompt_pmi_error"]
    says(
        "16-to-chatgpt",
        f"| {base['parameters'] / 1e6:.1f} million | 6, 192, 256 | 1.0 million characters, read {passes:.1f} times |",
        f"An answer costs the second model {tiny['cost']['ignores']:.1f} nats (one run), and ln 8 is {math.log(8):.2f}",
        "To the first model its own question is worth some 20 nats.",
        f"`val_prompt_pmi` was {worth:.2f} ± {error:.2f} nats an answer and `val_prompt_wins` "
        f"{100 * talk['val_prompt_wins']:.0f} %",
    )


def test_the_reward_model_of_page_22():
    longer = spread(over_seeds("training", "longer_wins"), 100, 0)
    accuracy = spread(over_seeds("training", "reward_accuracy"), 100)
    says(
        "22-reward-model",
        f"longer wins is right in {longer} % of held-out pairs and the reward model in {accuracy} %",
    )
    error = (1 - math.sqrt(1 - 2 * (1 - 0.73))) / 2  # (1 - e)² + e² = 0.73
    says("22-reward-model", f"so e = {error:.2f}", f"in more than {100 * (1 - error):.0f} % of pairs")
    says(
        "25-reward-hacking",
        f"right on {100 * mean(over_seeds('training', 'reward_accuracy')):.0f} % of held-out pairs",
    )


def test_the_kl_penalty_of_pages_23_and_25():
    free, _, dear = figures("shakespeare_rlhf")["kl_coefs"]
    says(
        "23-policy-gradient",
        f"went {free['kl']} nats an answer away, and only {100 * free['distinct_2_of_64']:.0f} % of the word pairs",
        f"with β = {dear['kl_coef']:g} it was {dear['kl']:g} nats and {100 * dear['distinct_2_of_64']:.0f} %",
    )
    says(
        "25-reward-hacking",
        f"Without a penalty the learned reward gained {free['reward_gain']:g}",
        f"in 64 answers, {100 * free['distinct_2_of_64']:.0f} % were different",
    )


def test_the_rubric_of_page_25():
    real = next(row for row in figures("rubric")["rows"] if row["answers"] == "real replies")
    says("25-reward-hacking", f"Real replies from the plays score {real['mean']:.2f} on average")
    lines = figures("experiments")["25-reward-hacking"]["printed"][""].split("\n")
    held_out = dict(line.removeprefix("held-out lines, ").split(": ") for line in lines[-2:])
    says("25-reward-hacking", f"when lines of Shakespeare get {held_out['rubric']}?")


@needs_shakespeare
def test_the_vowels_of_page_23():
    text = folio.load_corpus("shakespeare").text
    characters = sorted(set(text))
    ids = np.array([characters.index(character) for character in text])
    counts = np.full((65, 65), 0.01)
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    steps = counts / counts.sum(1, keepdims=True)
    vowel = np.array([character in "aeiou" for character in characters])
    here, expected = np.eye(65)[characters.index("\n")], 0.0
    for _ in range(40):
        here = here @ steps
        expected += here @ vowel
    says(
        "23-policy-gradient",
        f"(The reference itself writes {expected:.1f} vowels in 40 characters, on average.)",
    )
