"""Serve models: a page to talk with them, look into them and train them, and an API that OpenAI's clients speak."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro
from rich.console import Console

from folio.config import Settings
from folio.errors import UserError
from folio.log import format_count, make_console
from folio.notices import notify
from folio.report.tables import show_table
from folio.runs.flags import read_config
from folio.server.app import create_app
from folio.server.catalog import Catalog, Entry
from folio.server.config import DEFAULT_PATHS, ServerConfig
from folio.server.process import Server, address_of, bind
from folio.server.security import new_key

MOST_SHOWN = 12
KINDS = {"base": "continues texts", "chat": "answers", "reward": "scores answers; for the page only"}


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Settings):
    """Settings of `folio serve`."""

    paths: tyro.conf.Positional[tuple[Path, ...]] = DEFAULT_PATHS
    """Folders that contain runs at any depth, runs, or model directories."""
    open: bool = False
    """Open the page in a browser."""
    server: ServerConfig = field(default_factory=ServerConfig)


def main(arguments: Sequence[str]) -> None:
    """Run `folio serve [PATHS...] [flags]`."""
    config = read_config(ServeConfig, arguments, recipe=None, prog="folio serve", description=__doc__)
    for path in config.paths:
        if path not in DEFAULT_PATHS and not os.path.isdir(path):
            raise UserError(f"{path}: no such folder, run or model directory.")
    settings = config.server
    if settings.api_key is None and not settings.is_local:
        settings = replace(settings, api_key=new_key())
    catalog = Catalog(config.paths or DEFAULT_PATHS)
    console = make_console()
    with bind(settings.host, settings.port) as listening:
        address = address_of(listening, settings.host)
        server = Server(create_app(settings, catalog), on_stop=tell_end)
        show(console, address, settings, catalog)
        if config.open:
            webbrowser.open(address)
        server.run([listening])
    if server.was_forced:
        raise KeyboardInterrupt
    console.print("Stopped.")


def show(console: Console, address: str, settings: ServerConfig, catalog: Catalog) -> None:
    """Print where the server is, what it offers, and how to stop it."""
    entries = catalog.entries()
    console.print(f"Page  {address}", soft_wrap=True)
    console.print(f"API   {address}/v1", soft_wrap=True)
    if settings.api_key is not None:
        console.print(f"Key   {settings.api_key}", soft_wrap=True)
    console.print("Stop  Ctrl-C\n")
    show_table({entry.id: words(entry) for entry in entries[:MOST_SHOWN]}, console)
    if len(entries) > MOST_SHOWN:
        console.print(
            f"and {format_count(len(entries) - MOST_SHOWN, 'more model')}: GET /v1/models lists them."
        )
    if not entries:
        notify(
            f"{', '.join(map(str, catalog.paths))}: no model yet. Drop a text on the page, or `folio run shakespeare`; "
            "each model is on offer as soon as it is saved."
        )


def words(entry: Entry) -> str:
    """Describe a model in a line."""
    return f"{KINDS[entry.kind]}, {entry.parameters / 1e6:.1f} M parameters, reads {entry.config.block_size:,} tokens"


def tell_end(n_requests: int) -> None:
    """Say what the first Ctrl-C does."""
    rest = (
        f"{format_count(n_requests, 'request')} may finish; Ctrl-C again ends at once." if n_requests else ""
    )
    print(f"\nStopping. {rest}".rstrip(), file=sys.stderr)
