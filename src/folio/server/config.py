"""Settings of the server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import annotated_types as bounds

from folio.config import Count, Few, Positive, Settings, Whole

Port = Annotated[int, bounds.Ge(0), bounds.Le(65_535)]


@dataclass(frozen=True, kw_only=True)
class ServerConfig(Settings):
    """Where to serve, to whom, and how much."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own needs a key."""
    port: Port | None = None
    """Port to listen on; by default 8000, or the next free one."""
    api_key: str | None = None
    """Key that clients must give; one is made up where other machines can reach the server."""
    allow_training: bool = False
    """Let the page start and stop runs also where other machines can reach the server."""
    allow_host: tuple[str, ...] = ()
    """Further names under which clients may address the server."""
    allow_origin: tuple[str, ...] = ()
    """Web pages of other origins that may use the API, as in https://chat.example.org."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where to compute."""
    memory: Positive | None = None
    """Most memory for models, in GB; by default half of what is free. Those used least recently make room."""
    rows: Few = 32
    """Most answers that a model writes at the same time; more wait."""
    queue: Whole = 256
    """Most answers that may wait for a model; more are refused (429)."""
    timeout: Positive = 600
    """Most seconds for one request, waiting included."""
    max_body: Count = 1_000_000
    """Most bytes of a request."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


DEFAULT_PATHS = (Path("runs"),)
"""Where models are looked for unless told otherwise."""
