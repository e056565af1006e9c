"""Kernels of AArch64 against the reference: as plain C here, in every form under an emulator."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from quantable.adapters.c_compiler import CompiledModel
from quantable.adapters.c_program import ProgramModel
from quantable.backends.c import emit
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import AARCH64
from tests.kernels import vector_layers as layers
from tests.kernels.conftest import VECTORS, Network

GCC, CLANG, EMULATOR = "aarch64-linux-gnu-gcc", "clang-19", "qemu-aarch64"
FORMS = {
    "neon": "-march=armv8-a", "dotprod": "-march=armv8.2-a+dotprod",
    "i8mm": "-march=armv8.2-a+dotprod+i8mm",
}  # fmt: skip
"""What the compiler is told, so that it takes each form."""
CROSS = (
    "--target=aarch64-linux-gnu", "-isystem", "/usr/aarch64-linux-gnu/include",
    "--gcc-install-dir=/usr/lib/gcc-cross/aarch64-linux-gnu/12",
)  # fmt: skip
"""What clang has to be told, to compile for another machine."""


def _add_products(network):
    layers.add_convs_of_every_number_of_outputs(network)
    layers.add_convs_of_every_window(network, 3)
    layers.add_convs_of_one_spatial_dimension(network)
    layers.add_linears(network)


def _add_others(network):
    for channels in (2, 40, 64, 100):
        layers.add_depthwise(network, channels)
    for inner in (1, 6, 64):
        layers.add_matmuls(network, inner)
    layers.add_sums(network)
    layers.add_means_and_maxima(network)


LAYERS = {"products": _add_products, "others": _add_others}


def _demand_the_reference(graph, samples, found):
    reference = ReferenceRuntime(graph)
    for vector in range(VECTORS):
        expected = reference.run({name: array[vector] for name, array in samples.items()})
        for name, array in expected.items():
            operation = graph.producers[name]
            np.testing.assert_array_equal(
                found[name][vector], array, f"{operation.kind} {dict(operation.attributes)}"
            )


def _require(*programs):
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def test_plain_c(tmp_path):
    """The same constants without vectors, and nothing undefined."""
    network = Network(1)
    layers.add_convs_of_every_number_of_outputs(network)
    layers.add_convs_of_every_window(network, 3)
    layers.add_linears(network)
    layers.add_depthwise(network, 40)
    layers.add_matmuls(network, 6)
    layers.add_sums(network)
    layers.add_means_and_maxima(network)
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=AARCH64)
    source = (tmp_path / "model.c").read_text("utf-8")
    assert "  q_conv_" not in source, "a layer runs in portable C"
    flags = ("-O0", "-fsanitize=undefined", "-fno-sanitize-recover")
    _demand_the_reference(graph, samples, CompiledModel(tmp_path, flags=flags).run(samples))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [(GCC, ("-O2",)), (CLANG, ("-O3", *CROSS, "-std=gnu11", "-ffp-contract=fast"))],
    ids=["gcc", "clang"],
)
@pytest.mark.parametrize("chosen", sorted(LAYERS))
def test_emulated(tmp_path, chosen, compiler, flags, form):
    """What compilers make of it, one of them free to contract products with sums."""
    _require(compiler, GCC, EMULATOR)
    network = Network(2)
    LAYERS[chosen](network)
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=AARCH64)
    model = ProgramModel(
        tmp_path, compiler=compiler, flags=(*flags, FORMS[form]), runner=(EMULATOR, "-cpu", "max")
    )
    _demand_the_reference(graph, samples, model.run(samples))


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chosen", sorted(LAYERS))
def test_threads_share_layers(tmp_path, chosen, form, threads):
    _require(GCC, EMULATOR)
    network = Network(3)
    LAYERS[chosen](network)
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=AARCH64)
    model = ProgramModel(
        tmp_path, compiler=GCC, flags=("-O1", FORMS[form], "-DQUANTABLE_SMALLEST_SHARED=1"),
        runner=(EMULATOR, "-cpu", "max"), threads=threads,
    )  # fmt: skip
    _demand_the_reference(graph, samples, model.run(samples))


@pytest.mark.fuzz
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", layers.RANDOM)
def test_random_layers(tmp_path, kind, form):
    """500 of every kernel over all forms, in code that is compiled quickly."""
    _require(GCC, EMULATOR)
    network = Network(100 + sorted(FORMS).index(form))
    for _ in range(167):
        layers.RANDOM[kind](network)
    graph, samples = network.graph(), network.samples()
    emit(graph, tmp_path, kernels=AARCH64)
    model = ProgramModel(
        tmp_path, compiler=GCC, flags=("-O0", FORMS[form]), runner=(EMULATOR, "-cpu", "max")
    )
    _demand_the_reference(graph, samples, model.run(samples))
