"""The typed form of a target description, and its loader."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from quantable.ir import (
    Arithmetic,
    FormatError,
    Granularity,
    OptionError,
    QuantizationPolicy,
    Rounding,
    Symmetry,
    TensorQuantizationConfig,
)
from quantable.targets.conditions import CONDITIONS
from quantable.targets.kernel_sets import KERNEL_SETS, PORTABLE, KernelSet
from quantable.targets.reader import TARGETS, read_description
from quantable.targets.scheme_rules import check_numbers, faults_of

if TYPE_CHECKING:
    from quantable.text.match import Pattern

__all__ = ["TARGETS", "ArithmeticContract", "Rule", "Scheme", "Target", "load_target"]

ACTIVATION = "activation"
FLOAT, PASSIVE, OPERAND = "float", "passive", "operand"
"""Scheme names with a meaning of their own: not quantized; a parameter that takes the row of the
tensor it acts on; 'activation' unless it is a parameter, which is not quantized."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a slot is quantized.

    Attributes:
        name: Its key in the description.
        bits, quant_min, quant_max, policy, rounding: As in `TensorQuantizationConfig`.
        observer: Calibration method; 'fixed' for a range that is known.
        exponent_bits: Of floating numbers; 0 for integers.
        block_size: Input channels that share a scale, where the granularity is 'block'.
        otherwise: The scheme of weights that are no matrix or have less than one block.
        scale, zero_point: The row of a fixed range.
        tail: The scheme that replaces this one on tail tensors ('float': not quantized there).
        edge: The scheme that replaces this one in the inputs of the first and of the last compute
            operations ('': none does).
        alternatives: Names of schemes that a slot with this one may have instead: what a search
            over bit widths tries.
    """

    name: str
    bits: int
    quant_min: int
    quant_max: int
    policy: QuantizationPolicy
    rounding: Rounding = Rounding.HALF_EVEN
    observer: str = ""
    exponent_bits: int = 0
    block_size: int = 0
    otherwise: str = ""
    scale: float = 0.0
    zero_point: int = 0
    tail: str = ""
    edge: str = ""
    alternatives: tuple[str, ...] = ()

    @property
    def is_fixed(self) -> bool:
        return self.observer == "fixed"

    def config(self, channel_axis: int | None = None) -> TensorQuantizationConfig:
        """Return the config of a slot, not quantized yet; per tensor where no axis is given.

        Args:
            channel_axis: Axis of the channels, or that along which the blocks lie.
        """
        axis = channel_axis if self.policy.has_axis else None
        policy = QuantizationPolicy(
            Granularity.PER_TENSOR if axis is None else self.policy.granularity,
            self.policy.arithmetic, self.policy.symmetry, self.policy.power_of_two,
        )  # fmt: skip
        return TensorQuantizationConfig(
            policy=policy, bits=self.bits, exponent_bits=self.exponent_bits,
            quant_min=self.quant_min, quant_max=self.quant_max, rounding=self.rounding,
            channel_axis=axis, observer=self.observer,
            block_size=self.block_size if policy.is_per_block else 0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """What a target does with one kind of operation.

    Attributes:
        kind: The operation kind.
        role: 'compute' (what quantization is for), 'elementwise' (quantizes its output), 'passive'
            (elements only move: the output has the row of the input).
        inputs, outputs: Scheme name of each slot; the last one stands for all further slots.
        weight_axis: Channel axis of the slot with the scheme 'weight'.
        input_axis: Its axis of input channels, along which blocks lie; None: never in blocks.
        align: Which inputs must have one row: 'none', 'output' (that of the output), 'large' (that
            of the input with the largest range).
        needs: Names of conditions (see `conditions`) that an operation must fulfil.
    """

    kind: str
    role: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_axis: int = 0
    input_axis: int | None = None
    align: str = "none"
    needs: tuple[str, ...] = ()

    def input_scheme(self, slot: int) -> str:
        """Return the scheme name of an input slot."""
        return self.inputs[min(slot, len(self.inputs) - 1)]

    def output_scheme(self, slot: int) -> str:
        """Return the scheme name of an output slot."""
        return self.outputs[min(slot, len(self.outputs) - 1)]


@dataclass(frozen=True, slots=True)
class ArithmeticContract:
    """How a target computes.

    Attributes:
        contract: Name of the contract.
        accumulator_bits: Width of sums of products.
        requantization: Form of the change of scale after an accumulator.
        rounding: How it rounds.
        bias_bits: Width of a bias.
        saturates: Whether results beyond the output type saturate.
    """

    contract: str
    accumulator_bits: int
    requantization: str
    rounding: Rounding
    bias_bits: int
    saturates: bool


@dataclass(frozen=True)
class Target:
    """A platform: what it can quantize, how, and with which arithmetic.

    Attributes:
        name, summary: For people.
        backend: Which backend emits for it: 'onnx' or 'c'.
        integer_only: Every operation must run in integers; else some may stay float. Such a target
            has the integer and planned levels.
        arithmetic: The arithmetic contract.
        schemes: By name.
        rules: By operation kind.
        fusions: Chains of operations that run as one: nothing is quantized in between.
        kernels: The set of kernels that emitted C is made of.
        digest: sha256 of the merged description.
    """

    name: str
    summary: str
    backend: str
    integer_only: bool
    arithmetic: ArithmeticContract
    schemes: Mapping[str, Scheme] = field(repr=False)
    rules: Mapping[str, Rule] = field(repr=False)
    fusions: tuple[Pattern, ...] = ()
    kernels: KernelSet = PORTABLE
    digest: str = ""

    @property
    def has_integer_level(self) -> bool:
        return self.integer_only

    def candidates(self, scheme: str, chosen: str = "") -> tuple[str, ...]:
        """Return the schemes that a slot may have.

        Args:
            scheme: That of the slot's rule.
            chosen: The form of it that the slot has there ('' for itself); it comes first.
        """
        held = self.schemes[scheme]
        names = [chosen, scheme, *held.alternatives, held.tail, held.edge]
        allowed = [name for name in names if name and (name != FLOAT or not self.integer_only)]
        floating = () if self.integer_only else (FLOAT,)
        return tuple(dict.fromkeys([*allowed, *floating]))

    def rule(self, kind: str) -> Rule | None:
        """Return the rule for a kind; None where the target cannot quantize it."""
        return self.rules.get(kind)


def load_target(name_or_path: str | Path) -> Target:
    """Return a target by name, or from a description file.

    Raises:
        UnknownNameError: No target has the name.
        OptionError: A description file is at fault; the message names the key.
    """
    return _known(str(name_or_path)) if str(name_or_path) in TARGETS else _read(name_or_path)


@functools.cache
def _known(name: str) -> Target:
    return _read(name)


def _read(name_or_path: str | Path) -> Target:
    table = read_description(name_or_path)
    where = f"target description '{Path(name_or_path).name}'"
    target = Target(
        name=table["name"],
        summary=table["summary"],
        backend=table["backend"],
        integer_only=table["integer_only"],
        arithmetic=ArithmeticContract(
            **{**table["arithmetic"], "rounding": Rounding(table["arithmetic"]["rounding"])}
        ),
        schemes=MappingProxyType(
            {name: _scheme(name, row, where) for name, row in sorted(table["schemes"].items())}
        ),
        rules=MappingProxyType(dict(sorted((*_functions(table), *_rules(table))))),
        fusions=_fusions(table, where),
        kernels=KERNEL_SETS[table.get("kernels", PORTABLE.name)],
        digest=hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest(),
    )
    _check_references(target, where)
    return target


def _fusions(table: Mapping[str, Any], where: str) -> tuple[Pattern, ...]:
    """Return the patterns of `[[fusions]]`.

    Raises:
        OptionError: One is no pattern, or no chain of operations without other readers in between.
    """
    found = []
    for number, row in enumerate(table.get("fusions", ())):
        # Here, since the parser takes a tenth of a second to import.
        from quantable.text.match import parse_pattern

        key = f"key 'fusions.{number}.pattern'"
        try:
            pattern = parse_pattern(row["pattern"])
        except FormatError as error:
            message = f"{key}: {error.message}"
            raise OptionError(message, where=where, help=error.help) from error
        inner = pattern.steps[:-1]
        if not (inner and pattern.is_chain and all("single-use" in s.properties for s in inner)):
            raise OptionError(
                f"{key}: expected a chain, each step but the last [single-use], found {pattern}",
                where=where, help="such as: Conv [single-use] -> Relu",
            )  # fmt: skip
        found.append(pattern)
    return tuple(found)


def _scheme(name: str, row: Mapping[str, Any], where: str) -> Scheme:
    fields = dict(row)
    symmetry = Symmetry(fields.pop("symmetry"))
    arithmetic = Arithmetic(fields.pop("arithmetic", "linear"))
    fields["rounding"] = Rounding(fields.pop("rounding", "half-even"))
    fields["alternatives"] = tuple(fields.pop("alternatives", ()))
    key = f"key 'schemes.{name}'"
    try:
        policy = QuantizationPolicy(
            Granularity(fields.pop("granularity", "tensor")), arithmetic, symmetry,
            fields.pop("power_of_two", arithmetic is Arithmetic.FLOATING),
        )  # fmt: skip
        scheme = Scheme(name, policy=policy, **fields)
        scheme.config(0 if policy.has_axis else None)
        check_numbers(scheme)
    except ValueError as error:
        raise OptionError(f"{key}: {error}", where=where) from error
    if scheme.is_fixed != (scheme.scale > 0):
        raise OptionError(
            f"{key}: expected a scale exactly where the observer is 'fixed'", where=where
        )
    if not scheme.quant_min <= scheme.zero_point <= scheme.quant_max and scheme.is_fixed:
        raise OptionError(
            f"{key}: expected a zero point in [{scheme.quant_min}, {scheme.quant_max}], "
            f"found {scheme.zero_point}", where=where,
        )  # fmt: skip
    return scheme


def _rules(table: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
    for kind, row in table["rules"].items():
        lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
        yield kind, Rule(kind, **{**row, **lists})


def _functions(table: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
    for kind in table.get("functions", ()):
        needs = ("function-of-one",)
        yield kind, Rule(kind, "elementwise", (OPERAND,), ("activation",), needs=needs)


def _check_references(target: Target, where: str) -> None:
    names = {*target.schemes, FLOAT}
    for scheme in target.schemes.values():
        for what in faults_of(target, scheme):
            raise OptionError(f"key 'schemes.{scheme.name}': {what}", where=where)
        if scheme.otherwise and scheme.otherwise not in names:
            _unknown(f"schemes.{scheme.name}.otherwise", scheme.otherwise, sorted(names), where)
        if scheme.tail and scheme.tail not in names:
            _unknown(f"schemes.{scheme.name}.tail", scheme.tail, sorted(names), where)
        for key, others in (("edge", (scheme.edge,)), ("alternatives", scheme.alternatives)):
            for other in others:
                if other and other not in target.schemes:
                    _unknown(f"schemes.{scheme.name}.{key}", other, sorted(target.schemes), where)
    for rule in target.rules.values():
        for side in ("inputs", "outputs"):
            allowed = {*names, PASSIVE, OPERAND} if side == "inputs" else names
            for name in getattr(rule, side):
                if name not in allowed:
                    _unknown(f"rules.{rule.kind}.{side}", name, sorted(allowed), where)
        for name in rule.needs:
            if name not in CONDITIONS:
                _unknown(f"rules.{rule.kind}.needs", name, sorted(CONDITIONS), where)


def _unknown(key: str, found: str, known: list[str], where: str) -> None:
    raise OptionError(
        f"key '{key}': expected one of {', '.join(known)}, found '{found}'", where=where
    )
