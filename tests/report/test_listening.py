"""What is said of whether an assistant listens."""

from folio.report.listening import LISTENS, listening_lines

AFTER = {
    "val_prompt_wins": 0.97,
    "val_prompt_pmi": 17.25,
    "val_prompt_pmi_error": 1.21,
    "val_met": 0.5,
    "val_met/repeat": 0.75,
    "val_met/about": 0.25,
}


def test_it_tells_the_metrics_with_those_before():
    lines = listening_lines(AFTER, {"val_prompt_wins": 0.52, "val_met": 0.0})
    assert list(lines) == ["listening", "requests met"]
    assert "97% of cases (52% before)" in lines["listening"]
    assert "17.2 ± 1.2 nats an answer" in lines["listening"]
    assert lines["requests met"] == "50% (0% before): repeat 75%, about 25%"


def test_it_says_when_an_assistant_does_not_listen():
    told = listening_lines({**AFTER, "val_prompt_wins": LISTENS - 0.01}, {})
    assert any("hardly listens" in line for line in told.values())


def test_what_was_not_measured_is_not_told():
    assert listening_lines({"val_loss": 1.0}, {}) == {}
