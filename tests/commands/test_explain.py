"""`folio explain`: what a person sees of a model, as text and as a picture (folio.report.reading_figure)."""

import io
import math
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny import TINY, Folio, answering, make_text

from folio import cli
from folio.report.reading import BOS, read_text, visible
from folio.report.reading_inside import heads, lens, neighbors, without
from folio.report.reading_terminal import show_readings

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of other sizes and another vocabulary, without line ends. Made once."""
    folder = tmp_path_factory.mktemp("other")
    text = make_text().replace("\n", " ").replace("Zoë?", "Zoe!") + "xyz"
    (folder / "words.txt").write_text(text, encoding="utf-8")
    sizes = ("--architecture", "gpt2", "--n-layer", "1", "--block-size", "12", "--steps", "4")
    arguments = ["pretrain", "--data", str(folder / "words.txt"), "--run", str(folder / "run"), *TINY, *sizes]
    assert cli.main(arguments) == 0
    return folder / "run"


@pytest.fixture
def explain(folio: Folio, finished):
    return lambda *flags: folio("explain", finished, *flags)


@pytest.fixture
def read(finished):
    return lambda text, path=finished, layer=0, head=0: read_text(
        path, text, layer=layer, head=head, device=CPU
    )


def drawn(readings, width, parts=None, **terminal):
    """What a terminal of that width is sent."""
    stream = io.StringIO()
    options = {"force_terminal": True, "color_system": "truecolor", "legacy_windows": False} | terminal
    console = Console(file=stream, width=width, emoji=False, markup=False, highlight=False, **options)
    show_readings(readings, 5, console, parts)
    return stream.getvalue()


# What is read


def test_every_character_has_a_loss_where_the_model_knows_how_lines_begin(read):
    reading = read("the cat")
    assert reading.tokens == [BOS, *"the cat"]
    assert [math.isnan(loss) for loss in reading.losses] == [True] + 7 * [False]


def test_without_line_ends_there_is_no_bos_and_the_first_has_none(read, other):
    reading = read("the cat", path=other)
    assert reading.tokens == list("the cat")
    assert [math.isnan(loss) for loss in reading.losses] == [True] + 6 * [False]


def test_a_text_that_is_too_long_is_read_from_its_end(explain, read, capsys):
    done = explain("--text", "the cat sat on a mat and ran")
    assert done.code == 0
    assert done.err.startswith("folio: ")
    assert "reads 16 characters at most: only the last 16 of 28 are shown" in done.err
    assert "".join(read("the cat sat on a mat and ran").tokens) == "on a mat and ran"
    assert explain("--text", "on a mat and ran").err == "", "this one just fits, without <|bos|>"


def test_unknown_characters_are_dropped_with_a_notice(explain):
    done = explain("--text", "t☃he\udcff")
    assert done.code == 0
    assert "has never seen '☃'" in done.err
    assert done.err.count("\n") == 1
    assert "☃" not in done.out


def test_the_numbers_are_those_of_the_inspection(read):
    reading = read("the cat")
    (sign, probability), *_ = reading.expected(-1, 3)
    best = reading.inspection.logprobs[-1].argmax().item()
    assert sign == visible(reading.vocabulary[best])
    assert probability == pytest.approx(reading.inspection.logprobs[-1, best].exp().item())
    first, second = reading.surprises(2)
    assert reading.losses[first] == max(reading.losses[1:])
    assert reading.losses[first] >= reading.losses[second]
    assert len(reading.attention(0)) == 8
    assert len(reading.attention(5)) == len(reading.attention(5)[0]) == 3


@pytest.mark.parametrize(
    ("token", "sign"),
    [
        ("\n", "↵"),
        (" ", "␣"),
        ("a", "a"),
        ("東", "東"),
        ("\x1b", "\ufffd"),
        ("\u200b", "\ufffd"),
        ("\u0301", "◌\u0301"),
        (BOS, "▷"),
        ("<|end|>", "■"),
        ("<|pad|>", "<|pad|>"),
    ],
)
def test_every_token_can_be_seen(token, sign):
    assert visible(token) == sign


def test_lines_are_those_of_the_text_cut_at_the_width(read):
    reading = read("the cat\n\nsat 東京")
    lines = ["".join(reading.tokens[i] for i in line) for line in reading.lines(6)]
    assert lines == ["the ca", "t\n", "\n", "sat 東", "京"]


def test_a_question_is_read_in_the_chat_template(finished):
    reading = read_text(finished, "the cat", chat="on", layer=0, head=0, device=CPU)
    assert reading.tokens == [BOS, "<|user|>", *"the cat", "<|end|>", "<|assistant|>"]
    assert reading.signs[-2:] == ["■", "◆"]
    assert "◆ <|assistant|>" in reading.legend
    names = [name for name, _ in reading.expected(-1, len(reading.vocabulary))]
    assert {"<|end|>", "<|user|>"} <= set(names)


def test_an_assistant_is_explained_as_it_is_asked(folio, finished, tmp_path):
    run = answering(finished, tmp_path / "run")
    assert "◆ <|assistant|>" in folio("explain", run, "--text", "the cat").out
    assert "◆ <|assistant|>" not in folio("explain", run, "--text", "the cat", "--chat", "off").out
    assert "◆ <|assistant|>" not in folio("explain", finished, "--text", "the cat").out


# What is shown


def test_all_four_views_are_shown(explain):
    out = explain("--text", "the cat\nran", "--top", "3").out
    for title in (
        "Tokens and their ids",
        "Next token",
        "Attention of layer 1, head 0",
        "Loss per character",
        "Most surprising",
        "qwen3, 2 layers of 2 heads, context 16",
        "--layer 0 to 1, --head 0 to 1",
    ):
        assert title in out
    assert out.count("%") == 3 + 5 + 5, "three bars, the legend, the surprises"
    assert "\x1b" not in out, "a pipe gets no colors"
    assert "perplexity" in out


def test_ids_stand_below_their_tokens(explain, read):
    lines = explain("--text", "the cat").out.splitlines()
    at = lines.index(next(line for line in lines if line.startswith("Tokens")))
    reading = read("the cat")
    assert lines[at + 1].split() == reading.signs
    assert lines[at + 2].split() == [str(i) for i in reading.ids]


def test_the_map_is_a_triangle_of_shades(explain, read):
    lines = [
        line.rstrip() for line in explain("--text", "the cat", "--layer", "0", "--head", "1").out.splitlines()
    ]
    at = lines.index("Attention of layer 0, head 1")
    rows = lines[at + 2 : at + 10]
    assert [row[1] for row in rows] == read("the cat").signs
    assert [len(row) for row in rows] == [3 + 2 * n for n in range(1, 9)]
    assert set("".join(row[3:] for row in rows)) <= set("·░▒▓█")
    assert rows[0].endswith("██"), "the first position has only itself to look at"


def test_without_colors_the_losses_are_digits_below_the_text(read):
    reading = read("the cat\nran")
    lines = [line.rstrip() for line in drawn([reading], 60, color_system=None).splitlines()]
    at = lines.index("Loss per character")
    assert lines[at + 1] == "the cat↵"
    assert lines[at + 2] == "".join(str(min(9, round(loss))) for loss in reading.losses[1:9])
    assert lines[at + 3] == "ran"


@pytest.mark.parametrize("terminal", [{"no_color": True}, {"color_system": "standard"}])
def test_terminals_without_shades_get_signs(read, terminal):
    out = drawn([read("the cat")], 80, **terminal)
    assert "░░" in out
    assert "9 is 9 or more" in out
    assert "48;2" not in out


def test_a_terminal_with_colors_gets_them(read):
    out = drawn([read("the cat")], 80)
    assert out.count("48;2;") > 7 * 8 / 2 + 7
    assert "9 is 9 or more" not in out


@pytest.mark.parametrize("width", [1, 8, 20, 40, 60, 100, 300])
@pytest.mark.parametrize("text", ["t", "the cat\nsat, Zoë?", "東京" * 8, "\n" * 16])
def test_any_width_will_do(read, other, width, text):
    readings = [read(text), read("the cat")]
    for shown in (readings, readings[:1]):
        for terminal in ({}, {"color_system": None, "force_terminal": False}):
            out = Console(width=400).render_str(drawn(shown, width, **terminal)).plain
            if width >= 40:
                assert "Loss per character" in out


def test_nothing_is_wider_than_the_terminal(read, other):
    from rich.cells import cell_len

    readings = [read("the cat\nsat 東京"), read("the cat sat", path=other)]
    for width in (40, 60, 100):
        for line in drawn(readings, width, color_system=None).splitlines():
            assert cell_len(line) <= width


def test_two_models_stand_side_by_side_where_there_is_room(explain, other, monkeypatch):
    def titles(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = explain(other, "--text", "the cat").out
        return [line.count("Next token") for line in out.splitlines() if "Next token" in line]

    assert titles(120) == [2]
    assert titles(60) == [1, 1]


def test_two_vocabularies(explain, other):
    done = explain(other, "--text", "Zoë x")
    assert done.code == 0
    assert "has never seen 'x'" in done.err
    assert f"{other} has never seen 'ë'" in done.err


def test_the_same_command_shows_the_same(explain):
    assert explain("--text", "the cat").out == explain("--text", "the cat").out


def test_checkpoints_and_model_directories_can_be_looked_into(folio, finished):
    for path in (finished / "best", finished / "checkpoints" / "step-20"):
        assert folio("explain", path, "--text", "the").code == 0


# Inside

INSIDE = ("--heads", "--lens", "--neighbors", "--without", "1.0", "0.1")


def test_views_of_the_inside_take_the_place_of_the_usual_ones(explain):
    out = explain("--text", "the cat", *INSIDE).out
    titles = ("All heads", "Without heads 1.0, 0.1", "Logit lens", "Nearest in the embedding")
    assert all(title in out for title in titles)
    assert "Tokens and their ids" not in out
    assert [title for title in titles if title in explain("--text", "the cat", "--lens").out] == [
        "Logit lens"
    ]
    usual = explain("--text", "the cat").out
    assert not any(title in usual for title in titles)


def test_there_is_a_line_for_every_head_with_its_numbers(explain, read):
    out = explain("--text", "the cat", "--heads").out
    rows = [line.split() for line in out.splitlines() if line[2:5] in ("0.0", "0.1", "1.0", "1.1")]
    assert [row[0] for row in rows] == ["0.0", "0.1", "1.0", "1.1"]
    statistics = read("the cat").heads
    looks = (statistics.previous, statistics.first, statistics.itself, statistics.same, statistics.after)
    for row, place in zip(rows, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        assert [number.strip("*") for number in row[1:-1]] == [f"{100 * look[place]:.0f}" for look in looks]
        assert row[-1] == f"{statistics.entropy[place]:.1f}"
    evenly = next(line.split() for line in out.splitlines() if line.split()[:1] == ["even"])
    previous = sum(1 / n for n in range(2, 9)) / 7
    assert evenly[1:4] == [f"{100 * previous:.0f}"] * 3


def test_losses_are_told_with_and_without_a_head(explain, finished, read):
    reading = read_text(finished, "the cat sat", layer=0, head=0, without=[(1, 0)], device=CPU)
    assert reading.losses == read("the cat sat").losses
    change = [without - loss for loss, without in zip(reading.losses, reading.losses_without, strict=True)][
        1:
    ]
    most = reading.most_changed(3)
    assert abs(change[most[0] - 1]) == max(map(abs, change)) > 0
    out = explain("--text", "the cat sat", "--without", "1.0").out
    mean = next(line.split() for line in out.splitlines() if line.split()[:1] == ["mean"])
    assert float(mean[3]) == pytest.approx(sum(change) / 11, abs=0.006)
    assert float(mean[1]) == pytest.approx(reading.inspection.losses.mean().item(), abs=0.006)


def test_the_lens_ends_with_what_the_model_expects(explain, read):
    lines = explain("--text", "the cat", "--lens", "--top", "2").out.splitlines()
    rows = [line.split() for line in lines if line.split()[:1] in (["none"], ["0"], ["1"])]
    assert [row[0] for row in rows] == ["none", "0", "1"]
    (first, probability), _ = read("the cat").expected(-1, 2)
    assert rows[2][2] == first
    assert float(rows[2][3].strip("%")) / 100 == pytest.approx(probability, abs=0.001)


def test_neighbors_of_each_token_once(explain):
    lines = explain("--text", "that", "--neighbors").out.splitlines()
    at = lines.index(next(line for line in lines if line.startswith("Nearest")))
    rows = [line.split() for line in lines[at + 2 : at + 6]]
    assert [row[0] for row in rows] == ["▷", "t", "h", "a"]
    assert all(len(row) == 7 for row in rows)


@pytest.mark.parametrize("width", [1, 8, 20, 40, 60, 100])
@pytest.mark.parametrize("text", ["t", "the cat\nsat, Zoë?", "東京" * 8])
def test_the_inside_at_any_width(finished, other, width, text):
    from rich.cells import cell_len

    paths = [(finished, text), (other, "t")]
    readings = [read_text(path, each, layer=0, head=0, without=[(0, 1)], device=CPU) for path, each in paths]
    for shown in (readings, readings[:1]):
        out = drawn(shown, width, parts=(heads, without, lens, neighbors), color_system=None)
        if width >= 40:
            assert max(map(cell_len, out.splitlines())) <= width
            assert "All heads" in out


# The picture


@pytest.mark.parametrize("text", ["t", "東京 Zoë?\n— no!", "\n" * 15 + "a", "the cat sat on a mat and ran"])
def test_a_picture_is_drawn(explain, other, tmp_path, text):
    picture = tmp_path / "look.PNG"
    picture.write_bytes(b"old")
    for models in ([], [other]):
        done = explain(*models, "--text", text, "--png", picture)
        assert done.code == 0
        assert str(picture) in done.out
        assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["look.PNG"]


@pytest.mark.parametrize("top", ["1", "100"])
def test_few_and_many_bars(explain, tmp_path, top):
    assert explain("--text", "the", "--top", top, "--png", tmp_path / "look.png").code == 0


def test_formulas_and_missing_letters_are_only_letters(folio, finished, tmp_path):
    """A path with what matplotlib would take for a formula, and letters that its font does not have."""
    run = tmp_path / "$x_1^{$ 東"
    shutil.copytree(finished / "best", run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert folio("explain", run, "--text", "東 —", "--png", tmp_path / "look.png").code == 0


# Mistakes


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--text is required"),
        (["--text", ""], "--text is required"),
        (["--text", "☃☃"], "has never seen any of these characters"),
        (["--text", "the", "--layer", "2"], "layer is 2"),
        (["--text", "the", "--layer", "-1"], "layer is -1: it must be at least 0"),
        (["--text", "the", "--head", "2"], "head is 2"),
        (["--text", "the", "--top", "0"], "top is 0: it must be at least 1 and at most 100"),
        (["--text", "the", "--png", "look.jpg"], "must end in .png"),
        (["--text", "the", "--png", "nowhere/look.png"], "there is no folder nowhere"),
        (["--text", "the", "--png", "folder.png"], "is a folder"),
        (["--text", "the", "--png", "x" * 300 + ".png"], "cannot be written"),
        (["--text", "the", "--without", "1"], "--without is '1': it takes LAYER.HEAD, as in 1.0"),
        (["--text", "the", "--without", "0.0", "-1.0"], "-1.0"),
        (["--text", "the", "--without", "2.0"], "no head 2.0: the model has layers 0 to 1 with heads 0 to 1"),
        (["--text", "the", "--without", "0.0", "1.2"], "no head 1.2: the model has layers 0 to 1"),
        (["nowhere", "--text", "the"], "nowhere: no such run or model directory"),
        (["--text", "the", "--device", "cuda"], "device cuda: not available on this machine"),
    ],
)
def test_what_makes_no_sense(explain, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Path("folder.png").mkdir()
    assert words in explain(*flags).mistake


def test_a_layer_must_be_in_both(explain, other):
    mistake = explain(other, "--text", "the", "--layer", "1").mistake
    assert f"layer is 1: {other} has layers 0 to 0" in mistake


def test_a_head_to_switch_off_must_be_in_both(explain, other):
    mistake = explain(other, "--text", "the", "--without", "1.0").mistake
    assert f"{other}: there is no head 1.0: the model has layers 0 to 0 with heads 0 to 1" in mistake


def test_a_model_that_is_not_there(folio):
    assert "no such run or model directory" in folio("explain", "runs/mine", "--text", "the").mistake
