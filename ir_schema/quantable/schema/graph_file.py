"""Save and load .qir files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from quantable.ir.contents import ContentStore
from quantable.ir.graph import Graph
from quantable.schema.container import open_file, write_file
from quantable.schema.graph_reader import GraphReader
from quantable.schema.graph_writer import GraphWriter
from quantable.schema.reading import KINDS, read_segments, read_tables
from quantable.schema.segments import SegmentTable
from quantable.schema.targeting import stamped
from quantable.schema.versions import Version

PREFIX = "QIR"
INLINE_LIMIT = 4096
"""Contents of more bytes than this become files of their own, shared by all files of a folder."""


def save(
    graph: Graph,
    path: str | PathLike[str],
    *,
    inline_limit: int | None = INLINE_LIMIT,
    version: Version | None = None,
) -> None:
    """Write a graph, atomically; equal graphs give equal bytes.

    Args:
        graph: The graph.
        path: The .qir file. Contents of more than `inline_limit` bytes go to
            ``segments/<sha256>`` beside it, unless they are there already.
        inline_limit: In bytes; None writes one self-contained file.
        version: (major, minor) of the oldest reader that has to read the file; by default this
            version.

    Raises:
        InternalError: The graph holds what a file cannot.
        OptionError: The version cannot be written.
        UnsupportedError: The graph uses what the version does not have.
        UserError: The file cannot be written.
    """
    sizes = {digest: ref.size_bytes for digest, ref in graph.contents().items()}
    segments = SegmentTable.plan(sizes, graph.store.raw, inline_limit)
    table = stamped(GraphWriter(graph, segments).table, version, str(path))
    write_file(Path(path), table, PREFIX, segments)


def load(path: str | PathLike[str]) -> Graph:
    """Read a graph. Contents are mapped, and checked against their digest when first touched.

    The graph is well formed as a file; whether it obeys the invariants of its level is the
    business of `quantable.ir.verify`. A file of an older major version is upgraded, with a
    `FormatUpgradeWarning`.

    Raises:
        FormatError: The file is missing, foreign, truncated, corrupt or too new.
    """
    container = open_file(Path(path), PREFIX, KINDS)
    table = read_tables(container, "Graph")
    store = ContentStore()
    segments = read_segments(container, table.segments)
    for segment in segments:
        store.put_loader(segment.digest, container.loader(segment))
    return GraphReader(table, segments, store, container.where).graph()
