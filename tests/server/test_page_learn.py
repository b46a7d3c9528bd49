"""The page's routes on the lecture: pages, quizzes, and rungs."""

import json
import shutil
import time

import pytest
from starlette.testclient import TestClient

from folio.lecture.progress import Progress, Tries
from folio.lecture.quiz import Choice, Number, load_quiz
from folio.runs.directory import RunDirectory
from folio.server import processes
from folio.server.app import create_app
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig

PAGE = "01-bigram"
QUIZ = load_quiz(PAGE)
CHOICE = next(each for each in QUIZ.questions if isinstance(each, Choice))
NUMBER = next(each for each in QUIZ.questions if isinstance(each, Number))
OWN = next(each for each in QUIZ.questions if each.needs_run)


@pytest.fixture(autouse=True)
def progress(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    return Progress(tmp_path / "cache" / "quiz.json")


@pytest.fixture
def runs(tmp_path, finished):
    (tmp_path / "runs").mkdir()
    shutil.copytree(finished, tmp_path / "runs" / "words")
    return tmp_path / "runs"


@pytest.fixture
def client(runs):
    with TestClient(create_app(ServerConfig(), Catalog([runs])), base_url="http://localhost") as client:
        yield client


def ask(client, question, run=None):
    told = client.get(f"/page/api/lessons/{PAGE}", params={"run": run} if run else {}).json()
    return next(each for each in told["questions"] if each["id"] == question.id)


def answer(client, question, typed, tries=0, **more):
    body = {"page": PAGE, "question": question.id, "typed": typed, "tries": tries, **more}
    return client.post("/page/api/quiz", json=body)


def test_all_pages_with_how_far_one_is(client, progress):
    progress.add(PAGE, CHOICE.id, True)
    progress.add(PAGE, NUMBER.id, False)
    told = client.get("/page/api/lessons").json()
    rows = {row["name"]: row for row in told["lessons"]}
    assert (rows[PAGE]["right"], rows[PAGE]["missed"]) == (1, 1)
    assert rows[PAGE]["questions"] == len(QUIZ.questions)
    assert rows["glossary"]["questions"] == 0
    assert "<h1>" in told["contents"]


def test_a_page_with_its_questions_and_not_their_answers(client):
    response = client.get(f"/page/api/lessons/{PAGE}")
    told = response.json()
    assert (told["title"], told["rung"]) == ("1. Bigram: predict from one character", "bigram")
    assert (told["before"], told["after"]) == ("00-text-to-batches", "02-position")
    assert [each["id"] for each in told["questions"]] == [each.id for each in QUIZ.questions]
    question = ask(client, CHOICE)
    assert set(question["options"]) == {CHOICE.right, *(each.answer for each in CHOICE.wrong)}
    assert CHOICE.reason not in json.dumps(told["questions"])
    assert client.get("/page/api/lessons/nothing").status_code == 404
    assert client.get("/page/api/lessons/README").status_code == 404


def test_a_choice_is_judged_with_the_reason_for_each(client, progress):
    options = ask(client, CHOICE)["options"]
    right = options.index(CHOICE.right)
    wrong = next(n for n in range(len(options)) if n != right)
    told = answer(client, CHOICE, "abcde"[wrong]).json()
    assert (told["is_right"], told["right"]) == (False, right)
    assert told["reasons"][right] == CHOICE.reason
    assert set(told["reasons"]) == {CHOICE.reason, *(each.misconception for each in CHOICE.wrong)}
    assert told["words"].startswith("No. ")
    assert progress.of(PAGE)[CHOICE.id] == Tries(answered=1, right=0, is_missed=True)
    again = ask(client, CHOICE)
    assert (again["tries"], again["is_missed"]) == (1, True)
    typed = "abcde"[again["options"].index(CHOICE.right)]
    assert answer(client, CHOICE, typed, tries=1).json()["is_right"]
    assert not ask(client, CHOICE)["is_missed"]


def test_a_number_is_judged_and_what_is_none_is_asked_for_again(client, progress):
    assert answer(client, NUMBER, str(NUMBER.answer)).json()["is_right"]
    refused = answer(client, NUMBER, "perhaps")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "typed")
    assert progress.of(PAGE)[NUMBER.id].answered == 1


def test_a_question_about_one_s_own_run_is_answered_from_its_files(client, runs):
    told = client.get(f"/page/api/lessons/{PAGE}").json()
    assert (told["runs"], told["run"]) == (["words"], "words")
    assert ask(client, OWN)["closed"] is None
    loss = RunDirectory(runs / "words").read_metrics()[0]["loss"]
    verdict = answer(client, OWN, f"{loss:.3f}", run="words").json()
    assert verdict["is_right"]
    assert "Your vocabulary has 27 tokens" in verdict["words"]


def test_without_a_run_such_a_question_says_what_is_missing(client, runs):
    run = RunDirectory(runs / "words")
    run.set_status("running")
    told = client.get(f"/page/api/lessons/{PAGE}").json()
    assert (told["runs"], told["run"]) == ([], None)
    assert "no training is finished yet" in ask(client, OWN)["closed"]
    assert answer(client, OWN, "1", run="words").status_code == 400


def test_where_progress_cannot_be_kept_the_answer_is_judged_all_the_same(client, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    told = answer(client, NUMBER, str(NUMBER.answer)).json()
    assert told["is_right"]
    assert "This answer is not kept" in told["problem"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"page": "nothing"}, 404),
        ({"page": "../01-bigram"}, 404),
        ({"question": "nothing"}, 404),
        ({"tries": -1}, 400),
        ({"typed": 1}, 400),
        ({"more": 1}, 400),
        ({"typed": "z"}, 400),
        ({"typed": "1e999999"}, 400),
    ],
)
def test_what_is_wrong_is_refused(client, progress, body, status):
    good = {"page": PAGE, "question": CHOICE.id, "typed": "a", "tries": 0}
    assert client.post("/page/api/quiz", json={**good, **body}).status_code == status
    assert progress.of(PAGE) == {}


def test_pictures_are_looked_up(client):
    found = client.get("/page/api/lessons/pictures/ladder.png")
    assert found.content.startswith(b"\x89PNG")
    assert client.get("/page/api/lessons/pictures/README.md").status_code == 404
    assert client.get("/page/api/lessons/pictures/..%2f..%2fladder.py").status_code == 404


def test_a_rung_is_trained_and_its_result_found(client, runs, monkeypatch):
    result = {
        "rung": "bigram",
        "seed": 1,
        "parameters": 10,
        "val_loss": 2.48123,
        "seconds": 2.0,
        "text": "a\nb",
    }
    script = f"""
import json, pathlib, sys
run = pathlib.Path(sys.argv[sys.argv.index("--run") + 1])
run.mkdir()
info = {{"status": "finished", "stage": "ladder", "config": {{}}, "runtime": {{}}, "plan": {{}}, "data_sha256": ""}}
(run / "run.json").write_text(json.dumps(info))
(run / "results.jsonl").write_text('{json.dumps(result)}'.replace(chr(10), chr(92) + "n") + chr(10))
print(sys.argv[1:4])
"""
    monkeypatch.setattr(processes, "BEGIN", script)
    told = client.get("/page/api/ladder/bigram").json()
    assert (told["results"], told["process"], told["allowed"]) == ([], None, True)
    assert client.post("/page/api/ladder", json={"rung": "bigram"}).json() == {"rung": "bigram"}
    deadline = time.monotonic() + 30
    while client.get("/page/api/ladder/bigram").json()["process"]["ended"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = client.get("/page/api/ladder/bigram").json()
    assert (told["results"][0]["val_loss"], told["results"][0]["run"]) == (2.4812, "ladder-bigram")
    assert "['ladder', '--rungs', 'bigram']" in told["process"]["log"][0]
    assert client.get("/page/api/ladder/position").json()["results"] == []


def test_only_rungs_are_trained_and_only_where_it_is_allowed(client, runs):
    assert client.post("/page/api/ladder", json={"rung": "bigram --data /etc/passwd"}).status_code == 404
    assert client.get("/page/api/ladder/nothing").status_code == 404
    app = create_app(ServerConfig(host="0.0.0.0", api_key="k" * 20), Catalog([runs]))
    with TestClient(
        app, base_url="http://localhost", headers={"Authorization": "Bearer " + "k" * 20}
    ) as open_one:
        assert open_one.post("/page/api/ladder", json={"rung": "bigram"}).status_code == 403
        assert not open_one.get("/page/api/ladder/bigram").json()["allowed"]


def test_a_ladder_that_was_stopped_is_gone_on_with(tmp_path):
    from folio.server.page_learn import place_for

    assert place_for(tmp_path, "single_head") == (tmp_path / "ladder-single-head", [])
    run = RunDirectory(tmp_path / "ladder-single-head")
    run.path.mkdir()
    info = {"stage": "ladder", "config": {}, "runtime": {}, "plan": {}, "data_sha256": ""}
    run.write_info({"status": "interrupted", **info})
    assert place_for(tmp_path, "single_head") == (run.path, ["--resume"])
    run.write_info({"status": "finished", **info})
    assert place_for(tmp_path, "single_head") == (tmp_path / "ladder-single-head-2", [])
