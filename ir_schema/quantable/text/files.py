"""Texts as files (`.qirt`): what is too large for the text lies in `segments/` beside it."""

from __future__ import annotations

import re
from pathlib import Path

from quantable.ir.contents import ContentStore
from quantable.ir.errors import FormatError
from quantable.ir.graph import Graph
from quantable.schema.atomic import replacing
from quantable.schema.container import Container, map_file, write_segment
from quantable.schema.segments import FOLDER, Segment
from quantable.text.parser import parse_graph
from quantable.text.printer import print_graph

SUFFIX = ".qirt"
_DIGEST = re.compile(r"\bsha256:([0-9a-f]{64})\b")


def write_text(graph: Graph, path: Path, *, elide: int = 16) -> None:
    """Write the complete text of a graph, history included, and the contents that it names.

    Args:
        graph: The graph.
        path: The text file. Contents of more than `elide` elements go to ``segments/<sha256>``
            beside it, unless they are there already.
        elide: In elements.

    Raises:
        UserError: A file cannot be written.
    """
    text = print_graph(graph, elide=elide, history=True)
    named = set(_DIGEST.findall(text))
    for digest, ref in graph.contents().items():
        if digest in named:
            segment = Segment(digest, ref.size_bytes, None)
            write_segment(path.parent / FOLDER, segment, graph.store.raw)
    with replacing(path, durable=True) as file:
        file.write(text.encode())


def read_text(path: Path, *, checked: bool = True) -> Graph:
    """Read a text file; contents are read from `segments/` beside it when they are touched.

    Args:
        path: The text file.
        checked: As for `parse_graph`.

    Raises:
        FormatError: The file is no text of a graph, or contents that it names are missing.
    """
    try:
        text = bytes(map_file(path, "file")).decode()
    except UnicodeDecodeError as error:
        raise FormatError(
            f"not a {SUFFIX} file: expected UTF-8, found another byte at offset {error.start}",
            where=str(path), help="quantable print reads .qir files",
        ) from error  # fmt: skip
    store = ContentStore()
    graph = parse_graph(text, store=store, source=str(path), checked=checked)
    files = Container(path, str(path), 0, b"", memoryview(b""))
    for digest, ref in graph.contents().items():
        if digest in store:
            continue
        held = path.parent / FOLDER / digest
        if not held.is_file() or held.stat().st_size != ref.size_bytes:
            raise FormatError(
                f"contents are missing: expected {ref.size_bytes} bytes in {held}",
                where=str(path),
                help="quantable print --complete -o FILE writes them beside the text",
            )
        store.put_loader(digest, files.loader(Segment(digest, ref.size_bytes, None)))
    return graph
