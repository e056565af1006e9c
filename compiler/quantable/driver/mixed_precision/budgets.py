"""What a search may be held to, and how it becomes knapsacks.

- ``average-bits``: weights and activations have at most so many bits on average, each by
  themselves, counted as below.
- ``weight-bits``: the bits of weights, averaged over the elements of all weights.
- ``activation-bits``: the bits in which compute operations read activations, averaged over the
  elements that they read.
- ``size``: bytes of all weights, each stored in whole bytes.
- ``operations``: products times bits of the weight times bits of the activation, summed up.
- ``latency``: products times their cost in the C backend's own table (`backends.c.costs`), in
  products of an 8-bit Conv; for targets of that backend.

Averages count every operand of every convolution and matrix product, those without a choice, those
of the first and last layers and those in float (32 bits) included.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from quantable.backends.c.costs import product_cost
from quantable.driver.mixed_precision.items import ACTIVATION, WEIGHT, Item
from quantable.driver.mixed_precision.knapsack import Option, least_cost
from quantable.ir import OptionError, UnknownNameError
from quantable.targets.description import Target

Bits = Sequence[int]
"""Bits of several items, in order."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One sum over groups of items that a budget bounds.

    Attributes:
        name: Its key in `LIMITS`.
        unit: What is bounded, for messages.
        roles: Which items take part.
        joins: Whether the items of one operation are chosen together.
        cost: Of items that are chosen together, given their bits; a whole number.
        total: What the sum is divided by to be an average; None for a sum.
        backend: The backend whose targets it is for; '' for all.
    """

    name: str
    unit: str
    roles: tuple[str, ...]
    joins: bool
    cost: Callable[[Sequence[Item], Bits], int]
    total: Callable[[Sequence[Item]], int] | None = None
    backend: str = ""

    def groups(self, items: Sequence[Item]) -> list[list[int]]:
        """Return the numbers of the items that are chosen together, in order."""
        found: dict[object, list[int]] = {}
        for number, item in enumerate(items):
            if item.role in self.roles:
                key = item.slot.operation if self.joins else item.slot
                found.setdefault(key, []).append(number)
        return list(found.values())

    def amount(self, items: Sequence[Item], picks: Sequence[int]) -> Fraction:
        """Return what a choice for all items comes to."""
        found = 0
        for group in self.groups(items):
            held = [items[number] for number in group]
            bits = [items[number].choices[picks[number]].bits for number in group]
            found += self.cost(held, bits)
        return Fraction(found, self.total_of(items))

    def bound(self, items: Sequence[Item], value: Fraction) -> int:
        """Return the largest sum of costs within the limit."""
        return int(value * self.total_of(items) // 1)

    def total_of(self, items: Sequence[Item]) -> int:
        """Return what the sum of costs is divided by."""
        if self.total is None:
            return 1
        return max(self.total([item for item in items if item.role in self.roles]), 1)


def _elements(items: Sequence[Item]) -> int:
    return sum(item.elements for item in items)


def _stored_bits(items: Sequence[Item], bits: Bits) -> int:
    return sum(item.elements * width for item, width in zip(items, bits, strict=True))


def _stored_bytes(items: Sequence[Item], bits: Bits) -> int:
    return sum((item.elements * width + 7) // 8 for item, width in zip(items, bits, strict=True))


def _bit_operations(items: Sequence[Item], bits: Bits) -> int:
    found = items[0].products
    for width in bits:
        found *= width
    return found


def _cost(items: Sequence[Item], bits: Bits) -> int:
    return items[0].products * product_cost(items[0].kind, bits[0])


def _hundred(items: Sequence[Item]) -> int:
    del items
    return 100


LIMITS: dict[str, Limit] = {
    limit.name: limit
    for limit in (
        Limit("weight-bits", "average bits of weights", (WEIGHT,), False, _stored_bits, _elements),
        Limit("activation-bits", "average bits of activations", (ACTIVATION,), False, _stored_bits,
              _elements),
        Limit("size", "bytes of weights", (WEIGHT,), False, _stored_bytes),
        Limit("operations", "bit operations", (WEIGHT, ACTIVATION), True, _bit_operations),
        Limit("latency", "products of an 8-bit Conv", (WEIGHT, ACTIVATION), True, _cost, _hundred,
              backend="c"),
    )
}  # fmt: skip
"""Every sum that can be bounded, by name."""

BUDGETS: dict[str, tuple[str, ...]] = {
    "average-bits": ("weight-bits", "activation-bits"),
    **{name: (name,) for name in LIMITS},
}
"""Every budget by name: the sums that it bounds. No two of one budget have an item in common."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound that the user gave: a name of `BUDGETS`, and its value."""

    name: str
    value: Fraction

    @staticmethod
    def parse(text: str) -> Budget:
        """Return what ``NAME=NUMBER`` says.

        Raises:
            UnknownNameError: There is no such budget.
            OptionError: It is not of that form.
        """
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(
                f"budget: expected NAME=NUMBER, found '{text}'", help="for instance average-bits=5"
            )
        if name not in BUDGETS:
            raise UnknownNameError("budget", name, BUDGETS)
        try:
            number = Fraction(value)
        except (ValueError, ZeroDivisionError):
            number = Fraction(0)
        if number <= 0:
            raise OptionError(f"budget {name}: expected a number above 0, found '{value}'")
        return Budget(name, number)

    def __str__(self) -> str:
        return f"{self.name}={shown(self.value)}"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What it bounds."""
        return tuple(LIMITS[name] for name in BUDGETS[self.name])

    def check(self, target: Target) -> None:
        """Refuse a budget that makes no sense for a target.

        Raises:
            OptionError: It has no cost table.
        """
        for limit in self.limits:
            if limit.backend not in ("", target.backend):
                raise OptionError(
                    f"budget {limit.name}: target '{target.name}' has no table of costs; expected "
                    f"one of backend '{limit.backend}', found '{target.backend}'",
                    help="give a budget of operations instead",
                )

    def holds(self, items: Sequence[Item], picks: Sequence[int]) -> bool:
        """Whether a choice for all items is within the budget."""
        return all(limit.amount(items, picks) <= self.value for limit in self.limits)


@dataclass(frozen=True, slots=True)
class Knapsack:
    """A limit as groups of options.

    Attributes:
        limit, bound: What may be spent.
        groups: By group: its options.
        meanings: By group: the number of each item in it with its choice, for every option.
    """

    limit: Limit
    bound: int
    groups: tuple[tuple[Option, ...], ...]
    meanings: tuple[tuple[Mapping[int, int], ...], ...]

    @staticmethod
    def of(
        limit: Limit, value: Fraction, items: Sequence[Item], losses: Sequence[Sequence[float]]
    ) -> Knapsack:
        """Return the knapsack of a limit.

        Args:
            limit, value: What may be spent on what.
            items: All items.
            losses: By item: the loss of each choice.

        Raises:
            OptionError: Nothing is within the limit; says what the least is.
        """
        groups, meanings = [], []
        for group in limit.groups(items):
            held = [items[number] for number in group]
            options, means = [], []
            for picks in itertools.product(*(range(len(item.choices)) for item in held)):
                bits = [item.choices[p].bits for item, p in zip(held, picks, strict=True)]
                loss = sum(losses[n][p] for n, p in zip(group, picks, strict=True))
                options.append(Option(limit.cost(held, bits), loss))
                means.append(dict(zip(group, picks, strict=True)))
            groups.append(tuple(options))
            meanings.append(tuple(means))
        found = Knapsack(limit, limit.bound(items, value), tuple(groups), tuple(meanings))
        found._check(items, value)
        return found

    def without(self, number: int, pick: int) -> Knapsack:
        """Return the knapsack without the options in which an item has a choice."""
        kept = [
            [index for index, meaning in enumerate(meanings) if meaning.get(number) != pick]
            for meanings in self.meanings
        ]
        return replace(
            self,
            groups=tuple(tuple(g[i] for i in k) for g, k in zip(self.groups, kept, strict=True)),
            meanings=tuple(
                tuple(m[i] for i in k) for m, k in zip(self.meanings, kept, strict=True)
            ),
        )

    def _check(self, items: Sequence[Item], value: Fraction) -> None:
        least = least_cost(self.groups)
        if least > self.bound:
            possible = Fraction(least, self.limit.total_of(items))
            raise OptionError(
                f"no assignment is within the budget: expected at most {shown(value)} "
                f"{self.limit.unit}, the least possible is {shown(possible, up=True)}",
                help="give a larger budget, or a target with narrower alternatives",
            )


def shown(value: Fraction, *, up: bool = False) -> str:
    """Return a number for people: whole, or with 4 places (rounded up, so that it suffices)."""
    if value.denominator == 1:
        return str(value.numerator)
    steps = value * 10_000
    whole = -(-steps.numerator // steps.denominator) if up else round(steps)
    return f"{whole / 10_000:g}" if value < 100 else f"{float(value):.10g}"
