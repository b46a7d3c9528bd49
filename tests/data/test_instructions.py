"""Instructions made from any text: requests, answers that meet them, and checkers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folio.data.instructions import LONGEST_PROMPT, instructions, make_instructions
from folio.data.material import Material, is_held_out
from folio.data.skills import SKILLS, about_a_line, alternatives, has_word, recognized
from folio.errors import UserError

PLAY = "".join(
    f"{name}:\nThe {thing} of my {other} is gone, and {n} years are past;\nSo let us {verb} the {thing} again, good friend.\n\n"
    for n, (name, thing, other, verb) in enumerate(
        [
            (name, thing, other, verb)
            for name in ("ANNA", "BRUTUS", "First Lord")
            for thing in ("kingdom", "sorrow", "garden", "candle", "summer", "winter")
            for other in ("father", "mother", "brother")
            for verb in ("mourn", "praise", "forget")
        ]
    )
)
GERMAN = (
    "Der Zauberlehrling rief: „Walle, walle manche Strecke!“\nUnd die Besen liefen schnell davon, über Stock und Stein.\n"
    * 30
)
CODE = (
    "def add(first, second):\n    return first + second\n\n\nclass Counter:\n    def count(self, items):\n        return len(items)\n"
    * 30
)
PROSE = ("It was a bright cold day in April, and the clocks were striking thirteen; the hallway smelt of cabbage. " * 9 + "\n\n") * 5  # fmt: skip
TEXTS = {"play": PLAY, "german": GERMAN, "code": CODE, "prose": PROSE}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_every_answer_meets_its_request(text):
    made = make_instructions(Material(text), 300, seed=1)
    assert len(made) == 300
    for conversation in made:
        answer = conversation[-1]["content"]
        columns = conversation.columns
        assert SKILLS[columns["skill"]].met(columns["fields"], answer)
        said = "\n".join(message["content"] for message in conversation[:-1])
        assert all(value in said for value in columns["fields"].values())
        assert 0 < len(answer) <= 200


def test_a_play_has_every_skill_and_prose_all_but_those_of_speakers():
    def skills(text):
        return {each.columns["skill"] for each in make_instructions(Material(text), 2000, seed=1)}

    assert skills(PLAY) == {*SKILLS}
    assert {*SKILLS} - skills(PROSE) == {"speak as", "reply", "about", "poem"} - skills(PROSE) | {
        "speak as",
        "reply",
    }


def test_skills_are_drawn_by_their_shares():
    made = make_instructions(Material(PLAY), 4000, seed=1)
    counts = Counter(each.columns["skill"] for each in made)
    total = sum(skill.share for skill in SKILLS.values())
    for name, skill in SKILLS.items():
        assert counts[name] / 4000 == pytest.approx(skill.share / total, abs=0.03)


def test_the_same_seed_draws_the_same():
    first, again, other = (make_instructions(Material(PLAY), 50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_held_out_requests_have_new_lines_words_and_phrasings():
    train = Material(PLAY)
    held_out = Material(PLAY + GERMAN, is_held_out=True, seen=train.lines)
    taught = make_instructions(train, 2000, seed=1)
    asked = make_instructions(held_out, 400, seed=2)
    new = {phrasing for skill in SKILLS.values() for phrasing in skill.new_phrasings}
    assert new.isdisjoint(each.columns["phrasing"] for each in taught)
    new = [each for each in asked if each.columns["is_new"]]
    assert 0.4 < len(new) / len(asked) < 0.6
    lines = {each.columns["fields"].get("line") for each in taught}
    first = [each for each in asked if not each.columns["skill"].startswith("then")]
    assert all(each.columns["fields"].get("line", "") not in lines - {None} for each in first)
    for part, held in ((taught, False), (asked, True)):
        assert all(
            is_held_out(each.columns["fields"]["word"]) == held
            for each in part
            if "word" in each.columns["fields"]
        )


@pytest.mark.parametrize(
    ("skill", "fields", "right", "wrong"),
    [
        ("repeat", {"line": "a b"}, "a b\n", "a c"),
        ("capitals", {"line": "a b"}, "A B", "a b"),
        ("last word", {"line": "To be, or not to be?"}, "be", "be?"),
        ("first word", {"line": "'Tis he."}, "Tis", "he"),
        ("count", {"line": "It's a long way"}, "four", "five"),
        ("complete", {"start": "To be"}, "To be or not", "To be"),
        ("complete", {"start": "To be"}, "To be or not", "To beat it"),
        ("about", {"word": "love"}, "O love!", "O lovely!"),
        ("about", {"word": "love"}, "Love, love!", "O love, love, love!"),
        ("then capitals", {"line": "a b"}, "A B", "a b"),
        ("about", {"word": "The King"}, "Behold the king.", "The great king."),
        ("poem", {"word": "love", "n": "2"}, "Love\nis", "Love is"),
        ("poem", {"word": "love", "n": "Two"}, "Love\nis", "Love\nis\nit"),
        ("poem", {"word": "love", "n": "two"}, "Love\nis", "Love is"),
        ("speak as", {"name": "ANNA"}, "ANNA:\nNo.", "BRUTUS:\nNo."),
        ("reply", {"speech": "Who?"}, "I.", "Who?"),
        ("poem", {"word": "love", "n": "2"}, "Love\nis", ""),
    ],
)
def test_checkers_tell_right_from_wrong(skill, fields, right, wrong):
    assert SKILLS[skill].met(fields, right)
    assert not SKILLS[skill].met(fields, wrong)


@given(st.sampled_from(sorted(SKILLS)), st.text(max_size=300), st.text(max_size=20))
def test_no_request_and_no_completion_breaks_a_checker(name, completion, given_field):
    fields = dict.fromkeys(("line", "start", "word", "n", "name", "speech"), given_field)
    assert SKILLS[name].met(fields, completion) in (True, False)
    fields = {"line": "a", "start": "a", "word": "a", "n": "two", "name": "a", "speech": "a"}
    assert SKILLS[name].met(fields, completion) in (True, False)


def test_a_skill_of_ones_own():
    backwards = about_a_line(
        "backwards", ("Backwards: {line}", "Turn round: {line}"), lambda line: line[::-1], 1.0
    )
    (made,) = make_instructions(Material(PLAY), 1, seed=1, skills={"backwards": backwards})
    assert made[0]["content"] == f"Backwards: {made[1]['content'][::-1]}"


@pytest.mark.parametrize("is_held_out", [False, True])
def test_a_request_is_recognized_with_its_fields(is_held_out):
    for conversation in make_instructions(Material(PLAY + GERMAN, is_held_out=is_held_out), 300, seed=3):
        columns = conversation.columns
        before = conversation[-3]["content"] if len(conversation) > 2 else ""
        if columns["skill"] != "reply":
            skill, fields = recognized(conversation[-2]["content"], before)
            assert (skill.name, fields) == (columns["skill"], columns["fields"])


def test_a_request_about_the_answer_before_it_needs_one():
    skill, fields = recognized("In capitals, please.", "O love!")
    assert (skill.name, fields) == ("then capitals", {"line": "O love!"})
    assert recognized("In capitals, please.") is None


def test_some_requests_come_later_in_a_conversation():
    made = make_instructions(Material(PLAY), 500, seed=1)
    later = [each for each in made if len(each) > 2 and not each.columns["skill"].startswith("then")]
    assert len(later) > 10
    assert all(sum(len(turn["content"]) for turn in each[:-1]) <= LONGEST_PROMPT for each in later)


def test_what_cannot_be_guessed_is_asked_in_training_only():
    train = Material(PLAY)
    asked = [each for each in make_instructions(train, 500, seed=1) if each.columns["skill"] == "repeat"]
    n_changed = sum(each[-1]["content"] not in train.lines for each in asked)
    assert 0.25 < n_changed / len(asked) < 0.5
    held_out = Material(PLAY + GERMAN, is_held_out=True)
    asked = [each for each in make_instructions(held_out, 300, seed=1) if each.columns["skill"] == "repeat"]
    assert all(each[-1]["content"] in held_out.lines for each in asked)


def test_alternatives_of_a_pattern():
    assert ["".join(each) for each in alternatives("[Say|Repeat][| this]: {line}")] == [
        "Say: {line}",
        "Say this: {line}",
        "Repeat: {line}",
        "Repeat this: {line}",
    ]
    assert alternatives("{speech}") == [("{speech}",)]


@pytest.mark.parametrize("skill", [skill for skill in SKILLS.values() if len(skill.phrasings) > 1])
def test_the_plainest_phrasing_is_taught_and_some_are_not(skill):
    assert skill.phrasings[0] in skill.taught_phrasings
    assert 0.1 < len(skill.new_phrasings) / len(skill.phrasings) <= 0.25
    assert {*skill.taught_phrasings, *skill.new_phrasings} == {*skill.phrasings}
    assert set(skill.taught_phrasings).isdisjoint(skill.new_phrasings)


def test_a_request_of_no_kind_is_not_recognized():
    assert recognized("What is the capital of France?") is None
    assert recognized("") is None


def test_common_words_are_no_topics():
    topics = Material(PLAY).topics
    assert topics
    assert {"the", "and"}.isdisjoint(topics)
    assert not has_word({"word": "king"}, "kings")


def test_a_text_without_lines_is_refused():
    with pytest.raises(UserError, match="no lines to make instructions of"):
        make_instructions(Material("a\n" * 50), 10, seed=1)


def test_rows_for_training_from_python():
    rows = instructions(PLAY, 20, seed=1)
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    assert rows == [{"messages": list(each)} for each in make_instructions(Material(PLAY), 20, seed=1)]
