"""One entry to emitted C code that is the same for every network, with threads or without."""

from __future__ import annotations

from collections.abc import Mapping

from quantable.ir import FormatError, OptionError


def push_text(manifest: Mapping[str, object]) -> str:
    """Return C code of ``quantable_push(arena, size, tensors)``, a run row by row of the input.

    Raises:
        FormatError: The code takes no rows.
    """
    push, prefix = manifest.get("push"), manifest["prefix"]
    if not isinstance(push, dict):
        raise FormatError(
            "expected code that takes rows of its input, found none",
            help="portable, armv7em and armv81m kernels do where windows read one input by rows",
        )
    inputs, outputs = manifest["inputs"], manifest["outputs"]
    assert isinstance(inputs, list)
    assert isinstance(outputs, list)
    results = "".join(f", tensors[{1 + index}]" for index in range(len(outputs)))
    ctype = f"{inputs[0]['dtype']}_t"
    return (
        "static int quantable_push(void *arena, size_t size, void *const *tensors) {\n"
        f"  static {prefix}_rows rows;\n"
        f"  const {ctype} *row = tensors[0];\n"
        f"  int status = {str(prefix).upper()}_MORE;\n"
        f"  for (int i = 0; i < {push['rows']} && status == {str(prefix).upper()}_MORE; i++) {{\n"
        f"    status = {prefix}_push_row(&rows, arena, size, row{results});\n"
        f"    row += {push['row_size']};\n  }}\n"
        "  return status;\n}\n"
    )


def entry_text(manifest: Mapping[str, object], threads: int, *, by_rows: bool = False) -> str:
    """Return C code to be compiled beside the emitted files.

    Its functions are ``int quantable_open(void)``, the number of threads, 0 if there are none;
    ``int quantable_run(void *arena, size_t size, void *const *tensors)``, with inputs and then
    outputs; and ``void quantable_close(void)``.

    Args:
        manifest: Of the code.
        threads: How many share a run; 1 runs the code that has none.
        by_rows: Hand in one row of the input after the other, to one thread.
    """
    inputs, outputs = manifest["inputs"], manifest["outputs"]
    assert isinstance(inputs, list)
    assert isinstance(outputs, list)
    count = len(inputs) + len(outputs)
    tensors = "".join(f", tensors[{index}]" for index in range(count))
    prefix = manifest["prefix"]
    if by_rows:
        opened, closed, static = "return 1;", "", push_text(manifest)
        run = "quantable_push(arena, size, tensors)"
    elif threads == 1:
        opened, closed = "return 1;", ""
        run = f"{prefix}_run(arena, size{tensors})"
        static = ""
    else:
        static = "static q_threads threads;\n"
        opened = f"return q_threads_start(&threads, {threads});"
        closed = "q_threads_stop(&threads);"
        run = f"{prefix}_run_threads(&threads, arena, size{tensors})"
    return (
        f'#include "model.h"\n{static}'
        "int quantable_open(void);\nvoid quantable_close(void);\n"
        "int quantable_run(void *arena, size_t size, void *const *tensors);\n"
        f"int quantable_open(void) {{ {opened} }}\n"
        f"void quantable_close(void) {{ {closed} }}\n"
        "int quantable_run(void *arena, size_t size, void *const *tensors) {\n"
        f"  (void)tensors;\n  return {run};\n}}\n"
    )


def thread_flags(manifest: Mapping[str, object], threads: int) -> list[str]:
    """Return what a compiler needs to build emitted code for some threads.

    Raises:
        OptionError: Not a number of threads.
        FormatError: The code cannot be built for several.
    """
    if threads < 1:
        raise OptionError(f"threads: expected at least 1, found {threads}")
    if threads == 1:
        return []
    files = manifest["files"]
    if not isinstance(files, (list, dict)) or "q_threads.h" not in files:
        raise FormatError(
            f"expected code that threads can share, found kernels '{manifest.get('kernels')}'",
            help="run it with one thread, or compile for a target such as x86-vnni or c-portable",
        )
    return [f"-DQUANTABLE_THREADS={threads}", "-D_GNU_SOURCE", "-pthread"]
