"""Save and load .qir files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from quantable.ir.contents import ContentStore
from quantable.ir.graph import Graph
from quantable.schema.container import open_file, write_file
from quantable.schema.graph_reader import GraphReader
from quantable.schema.graph_writer import GraphWriter
from quantable.schema.reading import KINDS, read_segments, verified_root
from quantable.schema.segments import SegmentTable
from quantable.schema.tables import GraphT

IDENTIFIER = "QIR1"
INLINE_LIMIT = 4096
"""Contents of more bytes than this become files of their own, shared by all files of a folder."""


def save(
    graph: Graph, path: str | PathLike[str], *, inline_limit: int | None = INLINE_LIMIT
) -> None:
    """Write a graph, atomically; equal graphs give equal bytes.

    Args:
        graph: The graph.
        path: The .qir file. Contents of more than `inline_limit` bytes go to
            ``segments/<sha256>`` beside it, unless they are there already.
        inline_limit: In bytes; None writes one self-contained file.

    Raises:
        InternalError: The graph holds what a file cannot.
    """
    sizes = {digest: ref.size_bytes for digest, ref in graph.contents().items()}
    segments = SegmentTable.plan(sizes, graph.store.raw, inline_limit)
    write_file(Path(path), GraphWriter(graph, segments).table, IDENTIFIER, segments)


def load(path: str | PathLike[str]) -> Graph:
    """Read a graph. Contents are mapped, and checked against their digest when first touched.

    The graph is well formed as a file; whether it obeys the invariants of its level is the
    business of `quantable.ir.verify`.

    Raises:
        FormatError: The file is missing, foreign, truncated, corrupt or too new.
    """
    container = open_file(Path(path), IDENTIFIER, KINDS)
    root = verified_root(container, "Graph")
    table = GraphT.InitFromBuf(container.head, root)
    store = ContentStore()
    segments = read_segments(container, table.segments or ())
    for segment in segments:
        store.put_loader(segment.digest, container.loader(segment))
    return GraphReader(table, segments, store, container.where).graph()
