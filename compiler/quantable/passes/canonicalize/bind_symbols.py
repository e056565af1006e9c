"""Give symbolic dimensions numbers.

Before:
    x: f32[batch,length,4]
    y = Relu(x)
    return y
After:
    x: f32[1,1,4]
    y = Relu(x)
    return y

Run it in front of `fold-shapes`, which computes what depends on the numbers: code in C has fixed
shapes, and a network that makes masks or positions from the lengths of its inputs has to know them.

Preconditions:
    1. A dimension of an input is a symbol. It becomes the number that `sizes` gives, for instance
       "length=16", and 1 where that names it not.

Numerics: bit-exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, OptionError, UnknownNameError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.shapes.inference import bind_symbols, infer


@dataclass(frozen=True)
class BindSymbols(Pass):
    """See the module's docstring.

    Attributes:
        sizes: Numbers of symbols, each "SYMBOL=NUMBER"; all others become 1.
    """

    name: ClassVar[str] = "bind-symbols"
    summary: ClassVar[str] = "give symbolic dimensions numbers"
    sizes: tuple[str, ...] = ()

    def check(self) -> None:
        for entry in self.sizes:
            symbol, equals, number = entry.rpartition("=")
            if not (symbol and equals and number.isdecimal()):
                raise OptionError(
                    f"option 'sizes' of pass 'bind-symbols': expected SYMBOL=NUMBER, found "
                    f"'{entry}'",
                    help='for instance bind-symbols{sizes=["length=16"]}',
                )

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Bind, and infer what the rest of the network is then."""
        given = {s: int(n) for s, _, n in (entry.rpartition("=") for entry in self.sizes)}
        symbols = _symbols(graph)
        for name in given:
            if name not in symbols:
                raise UnknownNameError("symbol", name, symbols, where=f"graph '{graph.name}'")
        if not symbols or not context.rewrites.admit(*(op.name for op in graph.operations)):
            return graph
        return infer(bind_symbols(graph, {**symbols, **given})).graph


def _symbols(graph: Graph) -> Mapping[str, int]:
    """Return the symbols of the inputs, with the number that each has by default."""
    shapes = (graph.values[name].shape or () for name in graph.inputs)
    return {dim: 1 for shape in shapes for dim in shape if isinstance(dim, str)}
