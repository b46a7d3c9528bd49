"""What the page may write and start, and who may not."""

import shutil
import time

import pytest
from starlette.testclient import TestClient

from folio.server import page_training, processes
from folio.server.app import create_app
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig
from folio.server.processes import Processes

TEXT = "the cat sat on the mat. " * 20


def client_of(*paths, **settings):
    return TestClient(create_app(ServerConfig(**settings), Catalog(paths)), base_url="http://localhost")


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def client(runs):
    with client_of(runs) as client:
        yield client


@pytest.fixture
def command(monkeypatch):
    return lambda script: monkeypatch.setattr(processes, "BEGIN", script)


def post(client, path, **body):
    return client.post(f"/page/api/{path}", json=body)


def test_from_a_text_to_a_training_that_is_stopped(client, runs, command):
    assert client.get("/page/api/trainings").json() == {"allowed": True, "why": None, "trainings": []}
    kept = post(client, "texts", name="My Cats.txt", text=TEXT)
    assert kept.json() == {"name": "my-cats", "characters": len(TEXT), "distinct": 11}
    command('print(\'{"stages": [], "told": {"time": "short"}}\')')
    assert post(client, "plan", text="my-cats", minutes=3).json()["told"] == {"time": "short"}
    command("import time; time.sleep(60)")
    assert post(client, "trainings/start", text="my-cats", minutes=3).json() == {"text": "my-cats"}
    (told,) = client.get("/page/api/trainings").json()["trainings"]
    assert (told["name"], told["state"], told["is_text"], told["minutes"]) == (
        "my-cats",
        "running",
        True,
        3.0,
    )
    assert "pid" not in told
    refused = post(client, "trainings/start", text="my-cats")
    assert (refused.status_code, "stop it first" in refused.json()["error"]["message"]) == (400, True)
    assert post(client, "trainings/stop", name="my-cats").status_code == 200
    deadline = time.monotonic() + 30
    while client.get("/page/api/trainings").json()["trainings"][0]["state"] == "stopping":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {path.name for path in runs.iterdir()} == {"texts", ".started"}


def test_off_where_others_can_reach_the_server_unless_it_is_allowed(runs):
    with client_of(runs, host="0.0.0.0", api_key="k" * 20) as client:
        client.headers["Authorization"] = "Bearer " + "k" * 20
        told = client.get("/page/api/trainings").json()
        assert not told["allowed"]
        assert "--allow-training" in told["why"]
        for path, body in (
            ("texts", {"name": "a", "text": TEXT}),
            ("plan", {"text": "a"}),
            ("trainings/start", {"text": "a"}),
            ("trainings/stop", {"name": "a"}),
        ):
            refused = post(client, path, **body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "training_not_allowed")
    assert list(runs.iterdir()) == []
    with client_of(runs, host="0.0.0.0", api_key="k" * 20, allow_training=True) as client:
        client.headers["Authorization"] = "Bearer " + "k" * 20
        assert client.get("/page/api/trainings").json()["allowed"]


def test_off_where_single_models_are_served(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "one")
    with client_of(tmp_path / "one", tmp_path / "one" / "best") as client:
        assert "no folder of runs" in client.get("/page/api/trainings").json()["why"]
        assert post(client, "texts", name="a", text=TEXT).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("texts", {"name": "a"}, "text is missing"),
        ("texts", {"name": "a", "text": 1}, "text must be a string"),
        ("texts", {"name": "a.txt", "text": ""}, "a.txt"),
        ("texts", {"name": "a", "text": TEXT, "folder": "/etc"}, "'folder' is no field here"),
        ("plan", {"text": "none"}, "there is no text 'none'"),
        ("plan", {"text": "../x", "minutes": 1}, "there is no text"),
        ("trainings/start", {"text": "a", "minutes": True}, "minutes must be a number"),
        ("trainings/start", {"text": "a", "minutes": 0}, "minutes must be a number"),
        ("trainings/start", {"text": "a", "minutes": 1e9}, "minutes must be a number"),
        ("trainings/stop", {"name": "none"}, "was not started here"),
        ("trainings/stop", {}, "name is missing"),
    ],
)
def test_what_is_wrong_is_refused_by_name(client, path, body, words):
    refused = post(client, path, **body)
    assert refused.status_code == 400
    assert words in refused.json()["error"]["message"]


def test_only_json_of_a_limited_size_is_read(client, runs, monkeypatch):
    refused = client.post(
        "/page/api/texts", content='{"name": "a", "text": "b"}', headers={"Content-Type": "text/plain"}
    )
    assert refused.status_code == 415
    monkeypatch.setattr(page_training, "TEXT_BYTES", 100)
    assert post(client, "texts", name="a", text=TEXT).status_code == 413
    assert not (runs / "texts").exists()


def test_pages_of_other_sites_start_nothing(client):
    refused = client.post(
        "/page/api/trainings/start", json={"text": "a"}, headers={"Origin": "http://elsewhere.example"}
    )
    assert refused.status_code == 403


PATIENT = """
import sys, time
print("ready", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_what_the_page_started_stops_with_the_server(runs, command):
    command(PATIENT)
    with client_of(runs) as client:
        post(client, "texts", name="cats.txt", text=TEXT)
        assert post(client, "trainings/start", text="cats").status_code == 200
        deadline = time.monotonic() + 60
        while client.get("/page/api/trainings").json()["trainings"][0]["log"] != ["ready"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert Processes(runs).find("cats").state == "stopped"
