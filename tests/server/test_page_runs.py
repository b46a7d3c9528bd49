"""The page's routes on runs, as the page asks them."""

import json
import shutil

import pytest
from rl_runs import write_run
from starlette.testclient import TestClient

from folio.runs.directory import RunDirectory
from folio.server.app import create_app
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig


@pytest.fixture
def runs(tmp_path, finished):
    folder = tmp_path / "runs"
    shutil.copytree(finished, folder / "words")
    write_run(folder / "deep" / "rl")
    return folder


@pytest.fixture
def client(runs):
    with TestClient(create_app(ServerConfig(), Catalog([runs])), base_url="http://localhost") as client:
        yield client


def test_all_runs_are_listed(client):
    told = client.get("/page/api/runs").json()
    rows = {row["id"]: row for row in told["runs"]}
    assert set(rows) == {"words", "deep/rl"}
    assert (rows["words"]["stage"], rows["words"]["status"]) == ("pretrain", "finished")
    assert (rows["words"]["step"], rows["words"]["steps"], rows["words"]["is_rl"]) == (20, 20, False)
    assert rows["deep/rl"]["is_rl"]
    assert told["n_runs"] == 2


def test_a_run_is_told_and_then_only_what_is_new(client, runs):
    first = client.get("/page/api/runs/words").json()
    assert first["metrics"]["columns"]["step"] == list(range(1, 21))
    assert first["samples"]["items"][0]["step"] == 2
    assert first["model_id"] == "words"
    assert first["checkpoints"] == list(range(2, 21, 2))
    cursors = {"metrics": first["metrics"]["cursor"], "samples": first["samples"]["cursor"]}
    assert client.get("/page/api/runs/words", params=cursors).json()["metrics"]["columns"] == {}
    with (runs / "words" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 21, "tokens": 1, "train_seconds": 1.0, "loss": 2.0}) + "\n")
    again = client.get("/page/api/runs/words", params=cursors).json()
    assert again["metrics"]["columns"]["step"] == [21]
    assert again["step"] == 21


def test_a_run_whose_model_came_from_another_names_it(client, runs):
    run = RunDirectory(runs / "deep" / "rl")
    info = run.read_info()
    run.write_info({**info, "config": {**info["config"], "model": "elsewhere/runs/words"}})
    assert client.get("/page/api/runs/deep/rl").json()["from_id"] == "words"


def test_what_rl_report_says(client):
    told = client.get("/page/api/rl/deep/rl").json()
    assert told["words"].startswith("No problems found")
    refused = client.get("/page/api/rl/words")
    assert refused.status_code == 400
    assert "rl-report reads runs of ppo and grpo" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "id",
    [
        "nothing",
        "../words",
        "..%2Fwords",
        "%2e%2e/runs/words",
        "words/run.json",
        "words%00",
        "%2Fetc%2Fpasswd",
    ],
)
def test_ids_are_looked_up_and_never_made_into_paths(client, id):
    assert client.get(f"/page/api/runs/{id}").status_code == 404
    assert client.get(f"/page/api/rl/{id}").status_code == 404


@pytest.mark.parametrize("path", ["runs", "runs/words", "rl/deep/rl", "trainings"])
def test_pages_of_other_sites_see_nothing(client, path):
    for headers in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = client.get(f"/page/api/{path}", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")


def test_a_damaged_run_does_not_hide_the_others(client, runs):
    (runs / "words" / "run.json").write_text("{")
    rows = {row["id"]: row for row in client.get("/page/api/runs").json()["runs"]}
    assert rows["words"]["status"] == "damaged"
    assert "deep/rl" in rows
    refused = client.get("/page/api/runs/words")
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_damaged_metric_is_passed_over(client, runs):
    with (runs / "words" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "tokens": 1, "train_seconds": 1.0, "loss": NaN}\nnothing\n')
    assert client.get("/page/api/runs/words").json()["metrics"]["columns"]["loss"][-1] is None
