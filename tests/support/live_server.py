"""A real server on a free port, with tiny models, for clients of all kinds."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import torch
from byte_level import gpt2_like
from openai import OpenAI
from random_models import TOKENIZER, random_gpt, random_scorer, silent_gpt, talkative_gpt
from starlette.applications import Starlette

from folio.model.gpt import GPT
from folio.runs.load import save
from folio.server.app import create_app
from folio.server.catalog import Catalog
from folio.server.config import ServerConfig
from folio.server.process import Server, bind
from folio.tokenizer.bpe import BPETokenizer
from folio.tokenizer.char import CharTokenizer

CONTROL = CharTokenizer(tuple("\x00\x07\x08\x0b\x1b\r\n\x7f\x85\u2028\u202e\ufeff<>&\"'\\"))
LONG = 512
"""The context of the model that writes for long."""


@dataclass(frozen=True)
class Running:
    """A server in a thread of this process."""

    address: str
    app: Starlette
    server: Server

    def client(self, **options: Any) -> OpenAI:
        """OpenAI's client, which checks each response against the official types, and hides no failure by trying again."""
        settings = {"api_key": "any", "max_retries": 0, "_strict_response_validation": True, **options}
        return OpenAI(base_url=f"{self.address}/v1", **settings)

    def http(self, **options: Any) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, timeout=30, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(self.address + path, timeout=30, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return httpx2.post(self.address + path, json=body, timeout=60, **options)

    def connect(self) -> socket.socket:
        host, port = self.address.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def loads(self, model: str) -> tuple[float, float]:
        """Answers of a model that are running and waiting, as /metrics tells them."""
        lines = self.get("/metrics").text.splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        running, waiting = (float(found.get(f'{name}{{model_name="{model}"}}', 0)) for name in names)
        return running, waiting


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Running]:
    """Serve the models in a folder while the block runs. settings: of a `ServerConfig`."""
    config = ServerConfig(**settings)
    listening = bind("127.0.0.1", 0)
    app = create_app(config, Catalog([folder]))
    server = Server(app)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", app, server)
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def write_models(folder: Path) -> None:
    """Write tiny models: chat (letters), long (the same, with room), base (bytes), silent, control, and deep/reward."""
    save(random_gpt(block_size=128), TOKENIZER, folder / "chat")
    save(talkative_gpt(block_size=LONG), TOKENIZER, folder / "long")
    save(silent_gpt(), TOKENIZER, folder / "silent")
    save(random_scorer(), TOKENIZER, folder / "deep" / "reward")
    save(control_gpt(), CONTROL, folder / "control")
    tokenizer = BPETokenizer(gpt2_like().to_str(), bos="<|endoftext|>", eos="<|endoftext|>")
    save(random_gpt(3, vocab_size=tokenizer.vocab_size, block_size=64), tokenizer, folder / "base")


def control_gpt() -> GPT:
    """A model that writes control characters and whatever else HTML, terminals and JSON stumble over."""
    model = random_gpt(1, vocab_size=CONTROL.vocab_size, tied_embeddings=False)
    with torch.no_grad():
        model.head.weight[len(CONTROL.characters) :].zero_()
    return model
