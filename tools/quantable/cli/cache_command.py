"""`quantable cache`: look into the cache, and empty it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantable.cli.cache_options import CACHE_VARIABLE, cache_options, open_cache
from quantable.cli.options import json_option
from quantable.cli.output import say, show, table
from quantable.ir.errors import UnknownNameError

if TYPE_CHECKING:
    from quantable.driver.cache import Cache, Entry

ACTIONS = ("info", "list", "clear", "prune", "explain")


@click.command("cache")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("keys", nargs=-1, metavar="[KEY [OTHER]]")
@cache_options
@json_option
def command(
    action: str, keys: tuple[str, ...], cache: Path | None, cache_limit: int, as_json: bool
) -> None:
    """Show what the cache holds (info, list), or make it smaller (prune, clear).

    `explain KEY` compares the components of an entry's key with those of another entry, or with
    the nearest one of the same stage: what changed is why one was not taken for the other. Keys may
    be cut short. `prune` removes what was used least recently until the limit is kept.

    \b
    Example:
      quantable cache list --cache ~/.cache/quantable
      quantable cache explain 3f2a91 --cache ~/.cache/quantable
      quantable cache prune --cache-limit 500
    """
    if (action == "explain") != bool(keys) or len(keys) > 2:
        raise click.UsageError("expected: explain KEY [OTHER]; the other actions take no key")
    held = open_cache(cache, cache_limit, say)
    if held is None:
        raise click.UsageError(f"give --cache DIR, or set {CACHE_VARIABLE}")
    if action == "info":
        entries = len(held.entries())
        facts = {"folder": str(held.root), "entries": entries, "bytes": held.size()}
        show({**facts, "limit_bytes": held.limit}, as_json=as_json)
    elif action == "list":
        rows = [
            (entry.stage, entry.key[:16], held.size_of(entry), _when(used))
            for entry, used in held.entries()
        ]
        table(("stage", "key", "bytes", "last used"), rows, as_json=as_json)
    elif action == "explain":
        _explain(held, keys, as_json=as_json)
    else:
        entries, freed = held.clear() if action == "clear" else held.trim()
        show({"removed_entries": entries, "freed_bytes": freed}, as_json=as_json)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _explain(held: Cache, keys: tuple[str, ...], *, as_json: bool) -> None:
    entry = _entry(held, keys[0])
    other = _entry(held, keys[1]) if len(keys) == 2 else held.nearest(entry.stage, entry.components)
    names = dict.fromkeys((*entry.components, *(other.components if other else ())))
    rows = []
    for name in names:
        new = entry.components.get(name, "")
        old = other.components.get(name, "") if other else ""
        rows.append((name, new, old, "" if other is None else _verdict(new == old)))
    columns = ("component", entry.key[:16], other.key[:16] if other else "no other", "verdict")
    table(columns, rows, as_json=as_json)


def _verdict(is_equal: bool) -> str:
    return "same" if is_equal else "changed"


def _entry(held: Cache, key: str) -> Entry:
    entries = [entry for entry, _ in held.entries()]
    found = [entry for entry in entries if entry.key.startswith(key)]
    if len(found) != 1:
        raise UnknownNameError("entry, or only one,", key, [entry.key[:16] for entry in entries])
    return found[0]
