"""Write a file of either kind again: in this version, or for an older reader."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path

from quantable.ir.errors import FormatError
from quantable.schema.container import open_file
from quantable.schema.decode import Decoder
from quantable.schema.graph_file import INLINE_LIMIT, load, save
from quantable.schema.profile_file import load_profile, save_profile
from quantable.schema.reading import KINDS, read_segments, read_tables
from quantable.schema.versions import FormatUpgradeWarning, Version

_ROOTS = {"QIR": "Graph", "QPR": "Profile"}


def kind_of(path: str | PathLike[str]) -> str:
    """Return the file identifier without its digit: 'QIR' or 'QPR'.

    Raises:
        FormatError: The file is of neither kind.
    """
    try:
        open_file(Path(path), "QPR", KINDS)
    except FormatError:
        open_file(Path(path), "QIR", KINDS)
        return "QIR"
    return "QPR"


def version_of(path: str | PathLike[str]) -> Version:
    """Return the version that a file says it has, whether this reader reads it or not.

    Raises:
        FormatError: The file is missing, foreign or truncated.
    """
    kind = kind_of(path)
    container = open_file(Path(path), kind, KINDS)
    decoder = Decoder(container.head, container.where)
    major, minor = decoder.root_scalars(_ROOTS[kind], ("version_major", "version_minor"))
    return major, minor


def rewrite(
    path: str | PathLike[str], output: str | PathLike[str], version: Version | None = None
) -> None:
    """Read a .qir or .qprof file of any version and write it in this one.

    A .qir file that holds its contents itself stays so.

    Args:
        path: What is read.
        output: What is written; may be the same.
        version: (major, minor) of the oldest reader that has to read it.

    Raises:
        FormatError: The file cannot be read.
        OptionError: The version cannot be written.
        UnsupportedError: The file uses what the version does not have.
        UserError: The file cannot be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FormatUpgradeWarning)
        if kind_of(path) == "QPR":
            save_profile(load_profile(path), output, version=version)
            return
        graph = load(path)
        container = open_file(Path(path), "QIR", KINDS)
        segments = read_segments(container, read_tables(container, "Graph").segments)
    packed = any(s.offset is not None and s.size > INLINE_LIMIT for s in segments)
    save(graph, output, inline_limit=None if packed else INLINE_LIMIT, version=version)
