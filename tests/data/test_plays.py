from folio.data.plays import dialogues, speeches

PLAY = """\
First Citizen:
Before we proceed any further, hear me speak.

All:
Speak, speak.

All:
Speak on.

a line of a speech that was cut in two

MARCIUS:
Thanks. What's the matter?
Speak:
"""


def test_speeches_have_a_speaker_and_words():
    assert speeches(PLAY) == [
        ("First Citizen", "Before we proceed any further, hear me speak."),
        ("All", "Speak, speak."),
        ("All", "Speak on."),
        ("MARCIUS", "Thanks. What's the matter?\nSpeak:"),
    ]


def test_a_reply_is_by_somebody_else():
    found = [(user["content"], reply["content"]) for user, reply in dialogues(PLAY, 100)]
    assert found == [
        ("Before we proceed any further, hear me speak.", "Speak, speak."),
        ("Speak on.", "Thanks. What's the matter?\nSpeak:"),
    ]


def test_monologues_are_no_conversation():
    assert dialogues(PLAY, 20) == []
    assert [[m["role"] for m in each] for each in dialogues(PLAY, 45)] == [["user", "assistant"]] * 2
