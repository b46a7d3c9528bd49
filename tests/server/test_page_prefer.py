"""The page's routes on preferences."""

import json

import pytest
from starlette.testclient import TestClient
from tiny import answering

from folio.data.preferences import read_preferences
from folio.runs.directory import RunDirectory
from folio.server.app import create_app
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig


@pytest.fixture
def runs(tmp_path, finished):
    folder = tmp_path / "runs"
    folder.mkdir()
    answering(finished, folder / "sft")
    answering(finished, folder / "ppo")
    run = RunDirectory(folder / "ppo")
    run.write_info({**run.read_info(), "stage": "ppo", "config": {"model": "runs/sft"}})
    talk = [{"prompt": f"the cat {n}?", "completion": "a mat"} for n in range(30)]
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps(each) + "\n" for each in talk))
    run = RunDirectory(folder / "sft")
    run.write_info({**run.read_info(), "config": {"model": "base", "data": str(tmp_path / "talk.jsonl")}})
    return folder


@pytest.fixture
def client(runs):
    with TestClient(create_app(ServerConfig(), Catalog([runs])), base_url="http://localhost") as client:
        yield client


def an(text, model="sft", seed=1):
    return {"text": text, "model": model, "seed": seed, "temperature": 1.0, "is_complete": True}


def judgement(**more):
    return {
        **{"model": "sft", "prompt": "the cat?", "left": an("a mat"), "right": an("no!", seed=2)},
        **{"judgement": "left", **more},
    }


def test_a_judgement_is_kept_and_taken_back(client, runs):
    told = client.get("/page/api/preferences", params={"model": "sft"}).json()
    assert (told["pairs"], told["repeat"]) == (0, None)
    told = client.post("/page/api/preferences/add", json=judgement()).json()
    assert told["pairs"] == 1
    (kept,) = read_preferences(runs / "preferences" / "sft.jsonl")
    assert (kept.chosen, kept.rejected) == ("a mat", "no!")
    told = client.post("/page/api/preferences/undo", json={"model": "sft"}).json()
    assert (told["pairs"], told["undone"]["prompt"]) == (0, "the cat?")
    refused = client.post("/page/api/preferences/undo", json={"model": "sft"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        400,
        "there is nothing to take back.",
    )


def test_the_model_before_and_the_one_after_are_compared(client):
    after = judgement(left=an("after", "ppo"), right=an("before", "sft"))
    (compared,) = client.post("/page/api/preferences/add", json=after).json()["compared"]
    assert (compared["before"], compared["after"], compared["n"], compared["share"]) == ("sft", "ppo", 1, 1.0)
    told = client.get("/page/api/preferences", params={"model": "ppo"}).json()
    assert (told["compared"], told["began_with"]) == ([], "sft")


def test_prompts_are_those_that_the_model_learned_from(client):
    told = client.get("/page/api/preferences/prompts", params={"model": "sft"}).json()
    assert set(told["prompts"]) <= {f"the cat {n}?" for n in range(30)}
    assert len(told["prompts"]) > 20
    assert "talk.jsonl" in told["origin"]


def test_without_that_data_the_prompts_are_those_of_its_samples(client, runs, tmp_path):
    (tmp_path / "talk.jsonl").unlink()
    (runs / "sft" / "samples.jsonl").write_text('{"step": 1, "prompt": "on a mat?", "text": "no"}\n')
    told = client.get("/page/api/preferences/prompts", params={"model": "sft"}).json()
    assert told == {"prompts": ["on a mat?"], "origin": "the samples of its run"}


def test_characters_that_the_model_does_not_know_are_not_kept(client, runs):
    assert client.post("/page/api/preferences/add", json=judgement(prompt="the çat")).status_code == 200
    (kept,) = read_preferences(runs / "preferences" / "sft.jsonl")
    assert kept.prompt[0]["content"] == "the at"
    assert client.post("/page/api/preferences/add", json=judgement(prompt="ççç")).status_code == 400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"judgement": "up"}, "judgement must be one of left, right"),
        ({"judgement": ["left"]}, "judgement must be one of"),
        ({"left": "a"}, "left must be an object"),
        ({"left": {"text": "a"}}, "model is missing"),
        ({"left": {**an("a"), "seed": -1}}, "seed must be a whole number"),
        ({"left": {**an("a"), "is_complete": 1}}, "is_complete must be true or false"),
        ({"left": {**an("a"), "temperature": "1"}}, "temperature must be a number"),
        ({"prompt": None}, "prompt is missing"),
        ({"repeats": 5}, "judgement 5 was of another pair"),
        ({"more": 1}, "'more' is no field here"),
    ],
)
def test_what_is_wrong_is_refused_by_name(client, runs, change, words):
    refused = client.post("/page/api/preferences/add", json=judgement(**change))
    assert refused.status_code == 400
    assert words in refused.json()["error"]["message"]
    assert not (runs / "preferences").exists()


@pytest.mark.parametrize("model", ["nothing", "../sft", "%2e%2e/sft"])
def test_models_are_looked_up(client, model):
    assert client.get("/page/api/preferences", params={"model": model}).status_code == 404
    assert client.post("/page/api/preferences/add", json=judgement(model=model)).status_code == 404


def test_a_query_without_a_model_is_refused(client):
    assert client.get("/page/api/preferences").json()["error"]["param"] == "model"


def test_off_where_others_can_reach_the_server(runs):
    app = create_app(ServerConfig(host="0.0.0.0", api_key="k" * 20), Catalog([runs]))
    with TestClient(
        app, base_url="http://localhost", headers={"Authorization": "Bearer " + "k" * 20}
    ) as client:
        refused = client.post("/page/api/preferences/add", json=judgement())
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "training_not_allowed")
    assert not (runs / "preferences").exists()
