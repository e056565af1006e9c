"""Regenerate ``generated/layout.py`` from the .fbs files: ``python -m quantable.schema.generate``.

A change that needs another version than `quantable.schema.versions` says is refused (`evolution`).
"""

from __future__ import annotations

from pathlib import Path

from quantable.schema.evolution import check_change, since
from quantable.schema.fbs import Layout, layout_source, parse_layout
from quantable.schema.versions import WRITABLE, Version, current, spelled

SCHEMA_FOLDER = Path(__file__).parent
SCHEMA_FILES = ("common.fbs", "graph.fbs", "profile.fbs")
RELEASED_FOLDER = SCHEMA_FOLDER / "released"
"""Holds for every released version a folder with its .fbs files, which never change again."""
LAYOUT_FILE = SCHEMA_FOLDER / "generated" / "layout.py"


def layout_of(folder: Path) -> Layout:
    """Return the layout of the .fbs files in a folder."""
    return parse_layout([(folder / name).read_text("utf-8") for name in SCHEMA_FILES])


def releases() -> dict[Version, Layout]:
    """Return the layout of every released version, oldest first."""
    found = {}
    for folder in RELEASED_FOLDER.iterdir():
        major, minor = folder.name.removeprefix("v").split(".")
        found[int(major), int(minor)] = layout_of(folder)
    return dict(sorted(found.items()))


def fresh_layout() -> Layout:
    """Return the layout of the .fbs files as they are, with the minor version of every addition.

    Raises:
        VersionError: The version has to be another one.
    """
    held, layout = releases(), layout_of(SCHEMA_FOLDER)
    check_change(held, layout, current())
    return {**layout, "since": since(held, layout, current())}


if __name__ == "__main__":
    LAYOUT_FILE.write_text(layout_source(fresh_layout()), "utf-8")
    print(f"version {spelled(current())}; writable: {', '.join(map(spelled, WRITABLE))}")  # noqa: T201
