"""A command that judges graphs: what `bisect` and `reduce` ask."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.driver.files import save_arrays
from quantable.ir import Graph, OptionError
from quantable.schema import save

Arrays = Mapping[str, npt.NDArray[np.generic]]

CANNOT_JUDGE = 125
_LAST_STATUS = 127


class CommandOracle:
    """Runs a command on a graph.

    The graph lies in a file of its own, weights inside, whose path replaces every ``{}`` of the
    command, or follows as the last argument. ``{inputs}`` is replaced by the path of a .npz file
    with one array a graph input, where there are inputs. No shell is in between; what the command
    prints is not shown.
    """

    def __init__(self, command: str) -> None:
        """Take a command line.

        Raises:
            OptionError: It is empty, or its quotes do not match.
        """
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise OptionError(f"oracle: {error}", where=command) from error
        if not self._words:
            raise OptionError("oracle: expected a command, found nothing")
        if not any("{}" in word for word in self._words):
            self._words.append("{}")

    def status(self, graph: Graph, inputs: Arrays | None = None) -> int:
        """Return the exit status of the command; negative where a signal ended it.

        Raises:
            OptionError: The command cannot be started.
        """
        with tempfile.TemporaryDirectory() as scratch:
            path, data = Path(scratch) / "candidate.qir", Path(scratch) / "inputs.npz"
            save(graph, path, inline_limit=None)
            if inputs is not None:
                save_arrays(inputs, data)
            words = [w.replace("{inputs}", str(data)).replace("{}", str(path)) for w in self._words]
            try:
                done = subprocess.run(words, capture_output=True, check=False)
            except OSError as error:
                raise OptionError(
                    f"oracle: '{words[0]}' cannot be started: {error.strerror}",
                    help="give the path of a program; shell syntax needs: sh -c '...'",
                ) from error
        return done.returncode

    def is_good(self, graph: Graph) -> bool | None:
        """Judge a stage as ``git bisect run`` does: 0 is good, 125 cannot be judged.

        Returns:
            True for good, False for bad, None where the command cannot judge.

        Raises:
            OptionError: The command was ended by a signal, or gave a status above 127.
        """
        status = self.status(graph)
        if not 0 <= status <= _LAST_STATUS:
            raise OptionError(
                f"oracle: expected an exit status of 0 to 127, found {status}",
                help="0 is good, 1 to 127 bad, 125 cannot be judged",
            )
        return None if status == CANNOT_JUDGE else status == 0

    def is_interesting(self, graph: Graph, inputs: Arrays | None) -> bool:
        """Whether the command gives 0."""
        return self.status(graph, inputs) == 0
