"""Texts that the page was given are kept under names of the server's choice."""

import pytest

from folio.errors import UserError
from folio.server.texts import Texts, plain_name


@pytest.fixture
def texts(tmp_path):
    return Texts(tmp_path / "runs")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("My Diary.txt", "my-diary"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Märchen (1).TXT", "marchen-1"),
        ("東京.txt", "text"),
        ("", "text"),
        (".txt", "text"),
        ("..", "text"),
        ("a" * 300 + ".txt", "a" * 40),
        ("CON.txt", "text-con"),
        ("x\0y\n.txt", "x-y"),
        ("--runs.txt", "runs"),
    ],
)
def test_a_name_resembles_the_given_one_and_is_harmless(given, name):
    assert plain_name(given) == name


def test_a_text_is_kept_as_it_is_and_described(texts):
    kept = texts.keep("Poem.md", "Zoë sat.\n" * 20)
    assert (kept.name, kept.characters, kept.distinct) == ("poem", 180, 9)
    assert kept.path == texts.runs / "texts" / "poem.txt"
    assert kept.path.read_text(encoding="utf-8") == "Zoë sat.\n" * 20
    assert texts.find("poem") == kept.path


def test_the_same_text_is_kept_once_and_another_of_its_name_beside_it(texts):
    first = texts.keep("poem.txt", "one two " * 20)
    assert texts.keep("again.txt", "one two " * 20).name == first.name
    assert texts.keep("poem.txt", "three four " * 20).name == "poem-2"
    assert list(texts.all()) == ["poem", "poem-2"]


def test_no_run_is_taken_over(texts):
    (texts.runs / "shakespeare").mkdir(parents=True)
    assert texts.keep("Shakespeare.txt", "to be or not to be").name == "shakespeare-2"


@pytest.mark.parametrize("text", ["", "aaaa", "bytes\0"])
def test_what_holds_nothing_to_learn_is_refused_and_not_kept(texts, text):
    with pytest.raises(UserError) as refused:
        texts.keep("x.txt", text)
    assert str(texts.runs) not in str(refused.value)
    assert texts.all() == {}


@pytest.mark.parametrize("name", ["../runs/secret", "nothing", "", "a/b"])
def test_names_are_looked_up_and_never_made_into_paths(texts, name):
    texts.keep("a.txt", "a b c d")
    (texts.runs / "secret.txt").write_text("secret")
    with pytest.raises(UserError, match="there is no text"):
        texts.find(name)
