"""A folder of tiny models, and a server of them, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_server import Running, serving, write_models
from openai import OpenAI


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[Running]:
    with serving(models) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[OpenAI]:
    with server.client() as client:
        yield client
