"""What commands show: facts on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

WARNINGS = 8
"""So many are told one by one."""


def say(text: str, *, quiet: bool = False) -> None:
    """Tell the user what happens, on stderr."""
    if not quiet:
        click.echo(text, err=True)


def show(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print facts, one a line, or as JSON."""
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(entry)}" for key, entry in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(entry) for entry in value) or "-"
    return "-" if value is None else str(value)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, as_json: bool) -> None:
    """Print rows as a table, or as a JSON list of objects."""
    if as_json:
        facts = [dict(zip(columns, row, strict=True)) for row in rows]
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        shown.add_row(*(_text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160, markup=False).print(shown)


def show_lines(lines: Iterable[Any]) -> None:
    """Print lines of `rich.text.Text`, with colour where stdout is a terminal."""
    from rich.console import Console

    if not sys.stdout.isatty():
        for line in lines:
            click.echo(line.plain)
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr; yields what is called with (done, of how many)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say_remarks(remarks: Sequence[tuple[str, str, str]]) -> None:
    """Tell on stderr what passes did or declined, and why."""
    for name, place, text in remarks:
        say(f"remark: {name}: {place}: {text}")


def say_warnings(warnings: Sequence[tuple[str, str, str]], *, quiet: bool = False) -> None:
    """Tell on stderr what is doubtful about calibration data: the first of it, and how much."""
    for name, place, text in warnings[:WARNINGS]:
        say(f"warning: {name}: {place}: {text}", quiet=quiet)
    if len(warnings) > WARNINGS:
        say(f"warning: {len(warnings) - WARNINGS} more of this kind", quiet=quiet)


def show_graph(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print the facts of a graph: all of them as JSON, for a person what changes by stage."""
    kept = ("level", "target", "operations", "parameter_bytes", "slot_states", "arena_bytes")
    brief = {name: facts[name] for name in kept if facts[name]}
    show(facts if as_json else {**brief, "digest": facts["digest"]}, as_json=as_json)


def show_manifest(manifest: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was emitted: the whole manifest as JSON, for a person the files."""
    files = [(name, entry["bytes"]) for name, entry in manifest["files"].items()]
    if as_json:
        show(manifest, as_json=True)
    else:
        table(("file", "bytes"), files, as_json=False)
