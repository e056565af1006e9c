"""Arithmetic on dimensions: sums of products of symbols with integer coefficients.

A dimension of a value is an int or a text (`quantable.ir.graph.Dim`). The text of an expression is
canonical, so that two equal dimensions that were computed on different ways have equal texts:
``N``, ``4*N``, ``N*M+2``, ``floor((H+1)/2)``. What is inside ``floor`` is a symbol of its own here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from quantable.ir.graph import Dim

_Monomial = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """An integer polynomial.

    Attributes:
        terms: (symbols, coefficient), sorted, no coefficient 0; the constant has no symbols.
    """

    terms: tuple[tuple[_Monomial, int], ...]

    @staticmethod
    def of(value: Dim | Expression) -> Expression:
        """Return an expression for a dimension."""
        if isinstance(value, Expression):
            return value
        if isinstance(value, str):
            return _parse(value)
        return _collect([((), int(value))])

    @property
    def constant(self) -> int | None:
        """The number, None where there are symbols."""
        if not self.terms:
            return 0
        (symbols, coefficient), *rest = self.terms
        return coefficient if not symbols and not rest else None

    @property
    def dim(self) -> Dim:
        """The dimension: a number, or the canonical text."""
        number = self.constant
        return _text(self) if number is None else number

    def __add__(self, other: Expression | int) -> Expression:
        return _collect([*self.terms, *Expression.of(other).terms])

    __radd__ = __add__

    def __neg__(self) -> Expression:
        return Expression(tuple((symbols, -coefficient) for symbols, coefficient in self.terms))

    def __sub__(self, other: Expression | int) -> Expression:
        return self + -Expression.of(other)

    def __rsub__(self, other: Expression | int) -> Expression:
        return Expression.of(other) - self

    def __mul__(self, other: Expression | int) -> Expression:
        return _collect(
            [
                (tuple(sorted((*a, *b))), x * y)
                for a, x in self.terms
                for b, y in Expression.of(other).terms
            ]
        )

    __rmul__ = __mul__

    def exact_quotient(self, divisor: Expression) -> Expression | None:
        """Return the quotient by a single term if it is a polynomial, else None."""
        if len(divisor.terms) != 1:
            return Expression.of(1) if self == divisor and self.terms else None
        (symbols, coefficient) = divisor.terms[0]
        result = []
        for own, factor in self.terms:
            rest = _without(own, symbols)
            if rest is None or factor % coefficient:
                return None
            result.append((rest, factor // coefficient))
        return _collect(result)

    def floor_quotient(self, divisor: int) -> Expression:
        """Return floor(self / divisor) for a positive divisor."""
        shared = gcd(divisor, *(abs(c) for s, c in self.terms if s))
        if shared == divisor:  # floor((d*p + c) / d) = p + floor(c / d)
            return _collect([(s, c // divisor) for s, c in self.terms])
        return _collect([((f"floor(({_text(self)})/{divisor})",), 1)])

    def substituted(self, bindings: dict[str, int]) -> Expression:
        """Return the expression with symbols replaced by numbers."""
        total = Expression(())
        for symbols, coefficient in self.terms:
            product = Expression.of(coefficient)
            for symbol in symbols:
                product = product * _bound(symbol, bindings)
            total = total + product
        return total


def _bound(symbol: str, bindings: dict[str, int]) -> Expression:
    if symbol in bindings:
        return Expression.of(bindings[symbol])
    if symbol.startswith("floor((") and symbol.endswith(")"):
        inside, _, divisor = symbol[len("floor((") : -1].rpartition(")/")
        if divisor.isdecimal():
            return _parse(inside).substituted(bindings).floor_quotient(int(divisor))
    return _collect([((symbol,), 1)])


def evaluate(dim: Dim, bindings: dict[str, int]) -> Dim:
    """Return a dimension with symbols replaced by numbers."""
    return Expression.of(dim).substituted(bindings).dim


def solve(difference: Expression) -> tuple[str, int] | None:
    """Return the one (symbol, value) that makes an expression 0: ``c*s + d`` with c dividing d."""
    symbolic = [(s, c) for s, c in difference.terms if s]
    if len(symbolic) != 1 or len(symbolic[0][0]) != 1:
        return None
    (symbol,), coefficient = symbolic[0]
    rest = sum(c for s, c in difference.terms if not s)
    value, remainder = divmod(-rest, coefficient)
    return (symbol, value) if remainder == 0 and value > 0 else None


def _collect(terms: list[tuple[_Monomial, int]]) -> Expression:
    total: dict[_Monomial, int] = {}
    for symbols, coefficient in terms:
        total[symbols] = total.get(symbols, 0) + coefficient
    kept = [(s, c) for s, c in total.items() if c]
    return Expression(tuple(sorted(kept, key=lambda term: (-len(term[0]), term[0]))))


def _without(symbols: _Monomial, taken: _Monomial) -> _Monomial | None:
    rest = list(symbols)
    for symbol in taken:
        if symbol not in rest:
            return None
        rest.remove(symbol)
    return tuple(rest)


def _text(expression: Expression) -> str:
    parts = []
    for symbols, coefficient in expression.terms:
        factors = [] if coefficient == 1 and symbols else [str(coefficient)]
        parts.append("*".join([*factors, *symbols]))
    return "+".join(parts)


def _parse(text: str) -> Expression:
    """Read a canonical text; any other text is one symbol, kept as it is."""
    terms: list[tuple[_Monomial, int]] = []
    for part in _split(text, "+"):
        factors = _split(part, "*")
        number = 1
        if factors[0].lstrip("-").isdecimal():
            number, factors = int(factors[0]), factors[1:]
        terms.append((tuple(factors), number))
    found = _collect(terms)
    is_canonical = _text(found) == text and all(s for symbols, _ in found.terms for s in symbols)
    return found if is_canonical else Expression((((text,), 1),))


def _split(text: str, separator: str) -> list[str]:
    """Split outside of parentheses."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == separator and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]
