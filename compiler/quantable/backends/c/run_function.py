"""The functions that run a network: all its steps, with one thread or with several."""

from __future__ import annotations

from quantable.backends.c.header import (
    has_threads,
    push_signature,
    run_signature,
    tensors,
    threads_signature,
)
from quantable.backends.c.push import Push
from quantable.backends.c.sharing import run_size
from quantable.backends.c.storage import Place
from quantable.backends.c.streams import pushed_lines, step_calls
from quantable.backends.c.text import C_TYPES
from quantable.backends.c.unit import Step, Unit


def tensors_struct(unit: Unit) -> list[str]:
    """Return the type of what every step is given."""
    members = []
    for side, index, tensor in tensors(unit):
        const = "const " if side == "in" else ""
        members.append(f"  {const}{C_TYPES[tensor.dtype]} *{side}{index};")
    if unit.push is not None:
        members.append("  int32_t kept; /* rows of the ring that in0 is */")
    if has_threads(unit):
        members += ["#if defined(QUANTABLE_THREADS)", "  q_threads *threads;", "  q_share share;"]
        members.append("#endif")
    return ["typedef struct {", "  uint8_t *arena;", *members, "} run_tensors;", ""]


def run_lines(unit: Unit, steps: list[Step]) -> list[str]:
    """Return the functions that run the network."""
    lines = [*_steps(unit, steps), *_checks(unit), *_border_copies(unit)]
    lines += [f"{run_signature(unit)} {{", *_given(unit)]
    if has_threads(unit):
        lines += ["#if defined(QUANTABLE_THREADS)", "  t.share.part = 0;", "  t.share.parts = 1;"]
        lines.append("#endif")
    lines += ["  run_steps(&t);", *_ended(unit)]
    if unit.push is not None:
        lines += _pushing(unit, unit.push)
    return lines + (_threaded(unit, steps) if has_threads(unit) else [])


def _steps(unit: Unit, steps: list[Step]) -> list[str]:
    lines = pushed_lines(unit, unit.push, steps) if unit.push is not None else []
    lines += ["static void run_steps(const run_tensors *t) {"]
    lines += step_calls(unit, steps)
    if not steps:
        lines.append("  (void)t;")
    return [*lines, "}", ""]


def _checks(unit: Unit) -> list[str]:
    plan = unit.graph.plan
    assert plan is not None  # plan_unit checked it
    upper = unit.prefix.upper()
    names = [f"{side}{index}" for side, index, _ in tensors(unit)]
    conditions = []
    if names:
        conditions.append((" || ".join(f"t->{name} == NULL" for name in names), "NULL"))
    if plan.arena_bytes:
        conditions += [
            ("t->arena == NULL", "NULL"),
            (f"arena_size < {upper}_ARENA_SIZE", "ARENA_SIZE"),
            (f"(uintptr_t)t->arena % {upper}_ARENA_ALIGN != 0", "ARENA_ALIGN"),
        ]
    lines = ["static int run_check(const run_tensors *t, size_t arena_size) {"]
    for condition, status in conditions:
        lines += [f"  if ({condition}) {{", f"    return {upper}_ERROR_{status};", "  }"]
    if not conditions:
        lines.append("  (void)t;")
    if not plan.arena_bytes:
        lines.append("  (void)arena_size;")
    return [*lines, f"  return {upper}_OK;", "}", ""]


def _border_copies(unit: Unit) -> list[str]:
    """Copy outputs that are constants, inputs, or one value under two names."""
    lines = []
    for index, tensor in enumerate(unit.border.outputs):
        size = f"{tensor.size} * sizeof(*t->out{index})"
        if unit.graph.is_parameter(tensor.value):
            array = unit.graph.array(tensor.value)
            source = unit.constant(f"{unit.prefix}_output_{index}", array, tensor.dtype)
        else:
            place = unit.storage.place(tensor.value)
            if place == Place("out", index):
                continue
            source = place.pointer(tensor.dtype)
        lines.append(f"  memcpy(t->out{index}, {source}, {size});")
    if not lines:
        return []
    return ["static void run_copies(const run_tensors *t) {", *lines, "}", ""]


def _given(unit: Unit) -> list[str]:
    """Return the beginning of both functions: what was given, checked."""
    names = [f"{side}{index}" for side, index, _ in tensors(unit)]
    return [
        "  run_tensors t;",
        "  t.arena = arena;",
        *(f"  t.{name} = {name};" for name in names),
        *([f"  t.kept = {unit.push.height};"] if unit.push is not None else []),
        "  const int status = run_check(&t, arena_size);",
        f"  if (status != {unit.prefix.upper()}_OK) {{",
        "    return status;",
        "  }",
    ]


def _pushing(unit: Unit, push: Push) -> list[str]:
    """Return the function that takes a row; it begins as one that takes all of them."""
    upper, threads = unit.prefix.upper(), has_threads(unit)
    lines = [f"{push_signature(unit)} {{", *_given(unit)]
    if threads:
        lines += ["#if defined(QUANTABLE_THREADS)", "  t.share.part = 0;", "  t.share.parts = 1;"]
        lines.append("#endif")
    return [
        *lines,
        "  if (rows == NULL) {",
        f"    return {upper}_ERROR_NULL;",
        "  }",
        f"  memcpy(rows->kept + rows->count % {push.kept} * {push.row}, in0,",
        f"         {push.row} * sizeof(*in0));",
        "  rows->count++;",
        "  t.in0 = rows->kept;",
        f"  t.kept = {push.kept};",
        "  run_first(&t, rows->made, rows->count);",
        f"  if (rows->count < {push.height}) {{",
        f"    return {upper}_MORE;",
        "  }",
        "  run_rest(&t);",
        "  rows->count = 0;",
        "  memset(rows->made, 0, sizeof(rows->made));",
        *_ended(unit),
    ]


def _ended(unit: Unit) -> list[str]:
    copies = ["  run_copies(&t);"] if _border_copies(unit) else []
    return [*copies, f"  return {unit.prefix.upper()}_OK;", "}", ""]


def _threaded(unit: Unit, steps: list[Step]) -> list[str]:
    return [
        "#if defined(QUANTABLE_THREADS)",
        "static void run_share(const void *argument, int part, int parts) {",
        "  run_tensors t = *(const run_tensors *)argument;",
        "  t.share.part = part;",
        "  t.share.parts = parts;",
        "  run_steps(&t);",
        "}",
        "",
        f"{threads_signature(unit)} {{",
        *_given(unit),
        "  if (threads == NULL) {",
        f"    return {unit.prefix.upper()}_ERROR_NULL;",
        "  }",
        "  t.threads = threads;",
        f"  if (Q_IS_SHARED({max((step.size for step in steps), default=0)})) {{",
        f"    q_threads_run(threads, run_share, &t, Q_IS_SHARED({run_size(steps)}));",
        "  } else {",
        "    run_share(&t, 0, 1);",
        "  }",
        *_ended(unit),
        "#endif",
        "",
    ]
