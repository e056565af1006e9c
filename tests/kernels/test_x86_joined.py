"""Windows of few channels are copied side by side, and nothing behind the image is read for it."""

from __future__ import annotations

import pytest

from quantable.adapters.c_compiler import run_selftest
from quantable.backends.c import emit
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import X86
from tests.backends.c.test_emit import SANITIZERS, has_sanitizers
from tests.kernels import vector_layers as layers
from tests.kernels.conftest import Network
from tests.kernels.test_x86 import vector_flags

CHANNELS = (1, 3, 5)
EDGES = (3, 7)


def _windows(seed):
    """Layers that read inputs of the network themselves: runs of 3 to 35 bytes, no borders."""
    network = Network(seed)
    for channels in CHANNELS:
        for edge in EDGES:
            for stride in (1, 2):
                size = (edge + stride * (edge % 3), edge + stride * (3 + channels))
                window = (channels, 20), size, (edge, edge), (stride, stride)
                layers.add_conv(network, *window, (1, 1))
    return network


@pytest.mark.parametrize("vectors", ["avx2", "avx512"])
def test_windows_of_few_channels(agree, vectors):
    agree(_windows(21), vector_flags(vectors, ("-O1",)), X86)


@pytest.mark.parametrize("vectors", ["avx2", "avx512"])
def test_no_byte_behind_the_image_is_read(tmp_path, vectors):
    flags = ("-O1", "-g", *SANITIZERS)
    if not has_sanitizers("gcc", flags):
        pytest.skip("no sanitizers of gcc on this machine")
    network = _windows(22)
    graph, inputs = network.graph(), {n: a[:1] for n, a in network.samples().items()}
    outputs = ReferenceRuntime(graph).run({name: array[0] for name, array in inputs.items()})
    golden = inputs | {name: array[None] for name, array in outputs.items()}
    emit(graph, tmp_path, golden=golden, kernels=X86)
    passed, printed = run_selftest(tmp_path, compiler="gcc", flags=vector_flags(vectors, flags))
    assert passed, printed
