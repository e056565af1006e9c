"""Error of one operation at a time: it alone quantized, and everything but it quantized.

An operation stands for all that the target computes with it (see `groups`). Alone, it quantizes its
inputs, its parameters and its output, as the target does, and everything else is float. Left out,
it is float, and everything else is as the target computes it: the gain is what a float fallback of
the operation would bring.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantable.driver.analysis.forms import Form, Values, alone, rerun
from quantable.driver.analysis.groups import Group, group_facts
from quantable.driver.analysis.measures import Totals, decibels, gain_db, noise
from quantable.driver.analysis.subject import Pair, Subject


@dataclass(frozen=True)
class Share:
    """What one group does to the network.

    Attributes:
        group: The operations.
        local: By value, the error where the group ends, the group alone being quantized.
        alone: By measured value, the error at the network's outputs, the group alone being
            quantized.
        without: By measured value, the error that is left when the group is float.
    """

    group: Group
    local: dict[str, Totals]
    alone: dict[str, Totals]
    without: dict[str, Totals]


class Layerwise:
    """Measures every group that quantizes.

    Attributes:
        shares: In topological order.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._outputs = subject.totals_at_outputs()
        self.shares: list[Share] = []
        self._alone: list[Form] = []
        for group in subject.groups:
            if group.quantizes:
                local = {name: subject.totals(name) for name in group.outputs}
                at_outputs = subject.totals_at_outputs
                self.shares.append(Share(group, local, at_outputs(), at_outputs()))
                self._alone.append(Form(alone(subject.graph, group)))

    def add(self, pair: Pair) -> None:
        """Add one sample."""
        for name, totals in self._outputs.items():
            totals.add(pair.real[name], pair.quantized[name])
        real, quantized = self._subject.float_form, self._subject.quantized_form
        for share, form in zip(self.shares, self._alone, strict=True):
            names = share.group.operations
            on = rerun(pair.real, names, form, real)
            for name, totals in (*share.local.items(), *share.alone.items()):
                totals.add(pair.real[name], on.get(name, pair.real[name]))
            off = rerun(pair.quantized, names, real, quantized)
            for name, totals in share.without.items():
                totals.add(pair.real[name], off.get(name, pair.quantized[name]))

    def facts(self) -> list[dict[str, object]]:
        """Return the shares as JSON values."""
        before = noise(self._outputs)
        return [self._facts(share, before) for share in self.shares]

    def _facts(self, share: Share, before: float) -> dict[str, object]:
        left = noise(share.without)
        return {
            **group_facts(self._subject.graph, share.group),
            "local": {name: totals.facts() for name, totals in share.local.items()},
            "alone": {name: totals.facts() for name, totals in share.alone.items()},
            "alone_db": decibels(noise(share.alone)),
            "without": {name: totals.facts() for name, totals in share.without.items()},
            "without_db": decibels(left),
            "gain_db": gain_db(before, left),
        }


def without(subject: Subject, pair: Pair, groups: tuple[Group, ...]) -> Values:
    """Return every value of the quantized network with some groups in float."""
    names = {name for group in groups for name in group.operations}
    changed = rerun(pair.quantized, names, subject.float_form, subject.quantized_form)
    return {**pair.quantized, **changed}
