"""A diff as one HTML page, side by side; it needs no other file and no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from quantable.ir.diff import GraphDiff, OperationChange, OperationRef
from quantable.report.diff_text import parameter_size, place

_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem;
  padding: 0 1rem; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; margin-bottom: 1.5rem; }
th, td { border: 1px solid #8886; padding: .3rem .5rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
td.before { background: #d332; font-family: monospace; }
td.after { background: #3a32; font-family: monospace; }
td.empty { background: #8881; }
small { opacity: .7; }
"""

Row = tuple[str, str, str, str]
"""Where, before, after, how far apart or who did it; plain text."""


def diff_page(found: GraphDiff, before: str, after: str) -> str:
    """Return the page.

    Args:
        found: The diff.
        before, after: What the two sides are called.
    """
    body = "".join(_section(title, rows) for title, rows in _sections(found))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(before)} | {escape(after)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(found.verdict())}</h1>\n"
        f"<p>before: <code>{escape(before)}</code>, after: <code>{escape(after)}</code></p>\n"
        f"{body}</body>\n</html>\n"
    )


def _sections(found: GraphDiff) -> Iterator[tuple[str, list[Row]]]:
    yield "operations added", [(ref.name, "", ref.kind, "") for ref in found.added]
    yield "operations removed", [(ref.name, ref.kind, "", "") for ref in found.removed]
    yield (
        "operations replaced",
        [
            (", ".join(entry.sources), _listed(entry.before), _listed(entry.after),
             f"{len(entry.before)} to {len(entry.after)}")
            for entry in found.replaced
        ],
    )  # fmt: skip
    yield "operations rewired", list(_rows(found.rewired))
    yield "quantization changed", list(_rows(found.quantization))
    yield (
        "parameters changed",
        [
            (f"{entry.name} ({', '.join(entry.forms)}) of {', '.join(entry.readers)}",
             entry.before, entry.after, parameter_size(entry))
            for entry in found.parameters
        ],
    )  # fmt: skip
    yield "attributes changed", list(_rows(found.attributes))
    yield (
        "metadata changed",
        [(change.name, change.before, change.after, change.size) for change in found.metadata],
    )


def _rows(changes: Iterable[OperationChange]) -> Iterator[Row]:
    for change in changes:
        for number, field in enumerate(change.fields):
            notes = [field.size, f"by {change.by}" if change.by and not number else ""]
            if change.follows and not number:
                notes.append(f"followed by {', '.join(change.follows)}")
            note = "; ".join(filter(None, notes))
            yield f"{place(change)}: {field.name}", field.before, field.after, note


def _listed(refs: Iterable[OperationRef]) -> str:
    return "\n".join(f"{ref.name} ({ref.kind})" for ref in refs)


def _section(title: str, rows: list[Row]) -> str:
    if not rows:
        return ""
    head = "<tr><th>where</th><th>before</th><th>after</th><th>remark</th></tr>\n"
    body = "".join(_row(row) for row in rows)
    return f"<h2>{escape(title)} <small>{len(rows)}</small></h2>\n<table>\n{head}{body}</table>\n"


def _row(row: Row) -> str:
    where, before, after, remark = (escape(text).replace("\n", "<br>") for text in row)
    cells = "".join(
        f'<td class="{side if text else "empty"}">{text}</td>'
        for side, text in (("before", before), ("after", after))
    )
    return f"<tr><td>{where}</td>{cells}<td>{remark}</td></tr>\n"
