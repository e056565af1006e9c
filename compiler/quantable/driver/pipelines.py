"""From the text of a pipeline to passes, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

from quantable.ir import OptionError, UnknownNameError
from quantable.passes.base import Pass
from quantable.passes.plan.budget import parsed_bytes
from quantable.passes.plan.plan_memory import PlanMemory
from quantable.passes.quantize.assign_configs import AssignConfigs
from quantable.passes.quantize.assignments import SLOT
from quantable.passes.quantize.dispatch import Dispatch
from quantable.passes.registry import GROUPS, PASSES, pass_class
from quantable.targets.description import FLOAT, Target
from quantable.text.pipeline import PipelineItem, PipelineOption, parse_pipeline, pointed


def resolve(text: str) -> tuple[Pass, ...]:
    """Return the passes that a pipeline names, groups expanded.

    Raises:
        OptionError: The text is not a pipeline, or an option has the wrong type.
        UnknownNameError: No pass or group, or no option, has the name.
    """
    return tuple(item for parsed in parse_pipeline(text) for item in _passes(parsed, text))


def canonical(passes: Iterable[Pass]) -> str:
    """Return the text of a pipeline: groups expanded, defaults omitted."""
    return ",".join(f"{item.name}{item.options()}" for item in passes)


def with_arena_budget(text: str, budget: str) -> str:
    """Return a pipeline that refuses networks whose arena is larger than a budget.

    Args:
        text: The pipeline, for instance ``plan``.
        budget: A number of bytes, or one of KB or MB (1024 bytes, 1024 KB).

    Raises:
        OptionError: The budget is no size, or no pass of the pipeline plans memory.
    """
    size = parsed_bytes(budget)
    if size is None:
        raise OptionError(
            f"--arena-budget: expected a size such as 22KB or 22528, found '{budget}'"
        )
    passes = list(resolve(text))
    _require(passes, PlanMemory, "a budget of the arena", text)
    return canonical(
        replace(item, arena_budget=size) if isinstance(item, PlanMemory) else item
        for item in passes
    )


def with_dispatch(
    text: str,
    *,
    method: str | None = None,
    table: Iterable[str] = (),
    schemes: Iterable[str] = (),
) -> str:
    """Return a pipeline whose dispatch, and whose choice of configs, have other options.

    Args:
        text: The pipeline, for instance ``quantize``.
        method: Of dispatching; None for that of the pipeline.
        table: Entries ``operation=platform``, after those of the pipeline.
        schemes: Entries ``operation.slot=scheme`` or ``operation=scheme``, after those of the
            pipeline.

    Raises:
        OptionError: Options are given, and no pass of the pipeline takes them.
    """
    entries, chosen = tuple(table), tuple(schemes)
    if method is None and not entries and not chosen:
        return text
    passes = list(resolve(text))
    if method is not None or entries:
        _require(passes, Dispatch, "the method and the table of dispatching", text)
    if chosen:
        _require(passes, AssignConfigs, "schemes of slots", text)
    for index, item in enumerate(passes):
        if isinstance(item, Dispatch):
            method = method or item.method
            passes[index] = replace(item, method=method, table=(*item.table, *entries))
        elif isinstance(item, AssignConfigs):
            passes[index] = replace(item, table=(*item.table, *chosen))
    return canonical(passes)


def _require(passes: Iterable[Pass], kind: type[Pass], what: str, text: str) -> None:
    if not any(isinstance(item, kind) for item in passes):
        raise OptionError(
            f"no pass takes {what}", where=f"pipeline '{text}'",
            help=f"put '{kind.name}' into the pipeline",
        )  # fmt: skip


def split_assignments(
    entries: Iterable[str], target: Target
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which of the entries of `--assign` are for dispatching, and which for configs.

    An entry that gives a whole operation to the target or to 'float', or that is none, is for
    dispatching; one that names a slot or a scheme is for configs.
    """
    table: list[str] = []
    schemes: list[str] = []
    for entry in entries:
        name, equals, value = entry.rpartition("=")
        is_platform = value in (FLOAT, target.name) and not SLOT.fullmatch(name)
        (table if is_platform or not equals else schemes).append(entry)
    return tuple(table), tuple(schemes)


def _passes(item: PipelineItem, text: str) -> tuple[Pass, ...]:
    if item.name in PASSES:
        return (_configured(item, text),)
    if item.name not in GROUPS:
        error = UnknownNameError("pass", item.name, {**PASSES, **GROUPS}, where="pipeline")
        error.message = pointed(error.message, text, item.column)
        raise error
    if item.options:
        raise OptionError(
            pointed(f"group '{item.name}' takes no options", text, item.column), where="pipeline",
            help=f"write its passes: {','.join(GROUPS[item.name])}",
        )  # fmt: skip
    return tuple(pass_class(name)() for name in GROUPS[item.name])


def _configured(item: PipelineItem, text: str) -> Pass:
    cls = pass_class(item.name)
    names = {field.name.replace("_", "-"): field.name for field in fields(cls)}
    hints = get_type_hints(cls)
    values: dict[str, object] = {}
    for option in item.options:
        name = option.name.replace("_", "-")
        if name not in names:
            error = UnknownNameError(
                f"option of pass '{item.name}'", option.name, names, where="pipeline"
            )
            error.message = pointed(error.message, text, option.column)
            error.help = error.help if names else "the pass has no options"
            raise error
        if names[name] in values:
            raise _fault(f"option '{name}' is given twice", text, option)
        values[names[name]] = _checked(option, hints[names[name]], text)
    return cls(**values)


def _checked(option: PipelineOption, kind: object, text: str) -> object:
    value = option.value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not _fits(value, kind):
        expected = _describe(kind)
        message = f"option '{option.name}': expected {expected}, found {option.value!r}"
        raise _fault(message, text, option)
    return value


def _fault(message: str, text: str, option: PipelineOption) -> OptionError:
    return OptionError(
        pointed(message, text, option.column), where="pipeline",
        help="see the pass's options: quantable list passes",
    )  # fmt: skip


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _fits(value: object, kind: object) -> bool:
    origin = get_origin(kind)
    if origin is tuple:
        element = get_args(kind)[0]
        return isinstance(value, tuple) and all(_fits(entry, element) for entry in value)
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, entry) for entry in get_args(kind))
    if kind is int:
        return _is_int(value)
    return isinstance(kind, type) and isinstance(value, kind)


def _describe(kind: object) -> str:
    origin = get_origin(kind)
    if origin is tuple:
        return f"a list, each {_describe(get_args(kind)[0])}"
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(_describe(entry) for entry in get_args(kind))
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
    return names.get(kind, str(kind)) if isinstance(kind, type) else str(kind)
