"""One run of the CLI: where to connect, and how to show what came back."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from cli.client import AdminClient
from cli.instance import Instance, NoInstance, find
from cli.shapes import Shape
from runtime.settings import Settings


class Session:
    """What every command gets. With `json`, stdout holds one JSON document and nothing else."""

    def __init__(self, json: bool, data: str | None) -> None:
        self.json = json
        self.data = data
        self.actor = ""
        self.out = Console(highlight=False)
        self._instance: Instance | None = None
        self._client: AdminClient | None = None

    def instance(self) -> Instance:
        """Where the admin service is. Raises NoInstance."""
        self._instance = self._instance or find(self.data)
        return self._instance

    def settings(self) -> Settings:
        """The instance's settings, for commands that read its log themselves: what its dev.json says, over the
        environment. Raises ValidationError."""
        try:
            document = self.instance().document
        except NoInstance:
            if self.data or "ONYSOFT_NATS_URL" not in os.environ:
                raise
            document = {}
        if not document:
            return Settings()
        folder = Path(document["data"])
        return Settings(
            nats_url=document["nats_url"], projections_dir=folder / "projections", archive_dir=folder / "archive"
        )

    def call(self, method: str, request: Any) -> Any:
        """One call to the admin service. Raises NoInstance, CallFailed."""
        return self._connected().call(method, request)

    def stream(self, method: str, request: Any) -> Iterator[Any]:
        """One streaming call to the admin service. Raises NoInstance, CallFailed."""
        return self._connected().stream(method, request)

    def show(self, shape: Shape, title: str = "") -> None:
        """One thing, as a table of names and values."""
        if self.json:
            return self.write(shape)
        table = Table(title=title or None, title_justify="left", show_header=False)
        table.add_column("name", style="cyan", no_wrap=True)
        table.add_column("value", overflow="fold")
        for name, value in shape.items():
            table.add_row(name, _cell(value))
        self.out.print(table)
        return None

    def show_all(self, name: str, shapes: Sequence[Shape], columns: Sequence[str]) -> None:
        """Many things: `{name: […]}`, or a table of some columns."""
        if self.json:
            return self.write({name: list(shapes)})
        table = Table(title=f"{name}: {len(shapes)}", title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column.replace("_", " "), no_wrap=number == 0, overflow="fold")
        for shape in shapes:
            table.add_row(*(_cell(shape.get(column, "")) for column in columns))
        self.out.print(table)
        return None

    def write(self, document: Any) -> None:
        """A JSON document on stdout."""
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        sys.stdout.buffer.flush()

    def write_line(self, document: Any) -> None:
        """A JSON document on a line of its own, for commands that follow something without an end."""
        sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Close the connection, if one was opened."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> AdminClient:
        if self._client is None:
            instance = self.instance()
            self._client = AdminClient(instance.addresses, instance.token, actor=self.actor)
        return self._client


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return str(value)
