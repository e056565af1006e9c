"""The inputs of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantable.bench.datasets import DEFAULT_SHARED, NETWORKS, Samples, network, read_image
from quantable.bench.peers import input_name
from quantable.ir import DataError, UnknownNameError

needs_shared = pytest.mark.skipif(
    not DEFAULT_SHARED.is_dir(), reason="the shared networks are not beside the project"
)
RANGES = {
    "resnet8": (0, 255), "dscnn_kws": (-250, 250), "mobilenetv1_vww": (0, 1),
    "fc_autoencoder": (-80, 30), "ultraface_slim": (-127 / 128, 1),
    "mobilenetv1_0.25_128": (-1, 1), "mobilenetv2_keras": (-1, 1),
}  # fmt: skip


def test_batches_are_in_order_and_the_last_may_be_short() -> None:
    samples = Samples(5, lambda index: np.full((2,), index, np.float32))
    found = list(samples.batches(2))
    assert [len(batch) for batch in found] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], np.arange(5))


def test_unknown_network_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="resnet56"):
        network("resnet50")


def test_missing_folder_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--shared"):
        network("resnet8").model(tmp_path)


def test_images_are_rgb_of_the_asked_size(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 4), np.uint8)
    pixels[:, 40:] = (200, 100, 50, 255)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = read_image(tmp_path / "image.png", (8, 16))
    assert found.shape == (8, 16, 3)
    assert found[4, 2].tolist() == [0, 0, 0]
    assert found[4, 12].tolist() == [200, 100, 50]


@needs_shared
@pytest.mark.parametrize("name", NETWORKS)
def test_samples_fit_the_network(name: str) -> None:
    import onnx

    item = NETWORKS[name]
    path = item.model(DEFAULT_SHARED)
    proto = {value.name: value for value in onnx.load(path).graph.input}[input_name(path)]
    shape = [dim.dim_value for dim in proto.type.tensor_type.shape.dim][1:]
    low, high = RANGES.get(name, (-3, 3))
    for split in ("calibration", "evaluation"):
        samples = item.samples(DEFAULT_SHARED, split)
        first = samples.load(0)
        assert (first.dtype, list(first.shape)) == (np.float32, shape)
        assert low <= first.min() < first.max() <= high
        np.testing.assert_array_equal(first, samples.load(0))
        assert samples.labels is None or len(samples.labels) == samples.count


@needs_shared
@pytest.mark.parametrize("name", ["fc_autoencoder", "ultraface_slim", "mobilenetv1_vww"])
def test_calibration_and_evaluation_are_disjoint(name: str) -> None:
    sets = [network(name).samples(DEFAULT_SHARED, s) for s in ("calibration", "evaluation")]
    count = min(s.count for s in sets)
    seen = [{s.load(i).tobytes() for i in range(min(count, 12))} for s in sets]
    assert not seen[0] & seen[1]
    assert all(len(found) == 12 for found in seen)
