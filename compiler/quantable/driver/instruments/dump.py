"""Writes the graph around passes into a folder, numbered in the order in which they ran.

``003-fold-batchnorm.before.qir``, ``003-fold-batchnorm.after.qir`` and, for a person, the same as
``.txt``. A pass counts, whether it is dumped or not: a filter does not change the numbers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from quantable.driver.emission import prepare_folder, write_text
from quantable.ir import Graph, OptionError, UnknownNameError, graph_digest
from quantable.passes.base import Pass, recorded
from quantable.passes.instruments.instrument import Instrument, Step
from quantable.schema import save
from quantable.text.printer import print_graph

WHEN = ("before", "after", "changed")


class Dump(Instrument):
    """Dumps before and after every pass, or after those that change something."""

    name: ClassVar[str] = "dump"

    def __init__(self, folder: Path, pattern: str = "", when: str = "changed") -> None:
        """Prepare the folder.

        Args:
            folder: Made where it is missing; what lies there is kept or overwritten.
            pattern: A regular expression that is searched for in pass names; '' for all.
            when: 'before' or 'after' every pass, or before and after those that 'changed' the
                graph, by its digest.

        Raises:
            OptionError: The pattern is no regular expression, or the folder cannot be written to.
            UnknownNameError: `when` is none of `WHEN`.
        """
        if when not in WHEN:
            raise UnknownNameError("moment of a dump", when, WHEN)
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise OptionError(
                f"dump filter: expected a regular expression, found '{pattern}': {error}"
            ) from error
        prepare_folder(folder)
        self._folder, self._when = folder, when
        self._count = 0

    def before(self, step: Step) -> None:
        """Count the pass, and dump what it is given."""
        self._count += 1
        if self._when == "before":
            self._write(step.item, step.graph, "before")

    def after(self, step: Step, result: Graph) -> None:
        """Dump what the pass made."""
        made = recorded(step, result)
        if self._when == "after":
            self._write(step.item, made, "after")
        elif self._when == "changed" and graph_digest(step.graph) != graph_digest(made):
            self._write(step.item, step.graph, "before")
            self._write(step.item, made, "after")

    def failed(self, step: Step, error: Exception) -> None:
        """Dump what the failing pass was given, whenever dumps are made."""
        self._write(step.item, step.graph, "failed")

    def _write(self, item: Pass, graph: Graph, moment: str) -> None:
        if self._pattern.search(item.name):
            stem = f"{self._count:03}-{item.name}.{moment}"
            save(graph, self._folder / f"{stem}.qir")
            write_text(print_graph(graph), self._folder / f"{stem}.txt")
