"""Inputs: every kind of source, and every way in which one can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantable.driver.data import Samples, open_samples
from quantable.driver.preprocessing import Preprocessing
from quantable.ir import DataError, Dim, DType, Graph, OptionError, Value

RAW = Preprocessing(scale=1.0)


def graph(**inputs: tuple[Dim, ...]) -> Graph:
    """A graph that only has inputs."""
    values = {name: Value(name, DType.FLOAT32, shape) for name, shape in inputs.items()}
    return Graph("net", inputs=tuple(inputs), values=values)


ONE = graph(x=("N", 2, 3))
TWO = graph(x=("N", 2), y=("N", 3))
IMAGE = graph(image=("N", 3, 4, 6))


def counting(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def arrays(samples: Samples, name: str = "x") -> np.ndarray:
    return np.concatenate([sample[name] for sample in samples])


def saved(folder: Path, **content: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **content)
    return folder / "data.npz"


def test_npz_by_the_inputs_names(tmp_path: Path) -> None:
    path = saved(tmp_path, y=counting(5, 3), x=counting(5, 2), label=np.arange(5))
    samples = open_samples(path, TWO)
    assert len(samples) == 5
    assert np.array_equal(arrays(samples, "x"), counting(5, 2))
    assert np.array_equal(arrays(samples, "y"), counting(5, 3))
    assert np.array_equal(samples.label("label"), np.arange(5))
    assert next(iter(samples))["x"].shape == (1, 2)


def test_the_one_fitting_array_may_have_any_name(tmp_path: Path) -> None:
    path = saved(tmp_path, feature=counting(4, 2, 3), label=np.arange(4))
    assert np.array_equal(arrays(open_samples(path, ONE)), counting(4, 2, 3))


def test_npy_arrays_mappings_and_iterables_are_the_same(tmp_path: Path) -> None:
    data = counting(4, 2, 3)
    np.save(tmp_path / "data.npy", data)
    sources = [
        tmp_path / "data.npy", str(tmp_path / "data.npy"), data, {"x": data},
        ({"x": row[None]} for row in data), (row[None] for row in data),
    ]  # fmt: skip
    for source in sources:
        assert np.array_equal(arrays(open_samples(source, ONE)), data)


def test_a_fixed_batch_takes_as_many_samples_at_once() -> None:
    samples = open_samples(counting(6, 3), graph(x=(2, 3)))
    assert [sample["x"].shape for sample in samples] == [(2, 3)] * 3
    with pytest.raises(DataError, match="expected a multiple of 2 samples"):
        open_samples(counting(5, 3), graph(x=(2, 3)))


def test_samples_and_shards_select() -> None:
    data = counting(10, 2, 3)
    assert np.array_equal(arrays(open_samples(data, ONE, samples=4)), data[:4])
    assert np.array_equal(arrays(open_samples(data, ONE, shard="2/3")), data[1::3])
    both = open_samples({"x": data, "label": np.arange(10)}, ONE, samples=7, shard="1/2")
    assert np.array_equal(arrays(both), data[:7:2])
    assert both.label("label").tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_is_i_of_n(shard: str) -> None:
    with pytest.raises(OptionError, match="expected i/n"):
        open_samples(counting(10, 2, 3), ONE, shard=shard)


def _write_photos(folder: Path) -> list[np.ndarray]:
    generator = np.random.Generator(np.random.Philox(1))
    pixels = [generator.integers(0, 256, (4, 6, 3), np.uint8) for _ in range(3)]
    for name, array in zip(("b", "c", "a"), pixels, strict=True):
        Image.fromarray(array).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text("file,label\n")
    return [pixels[2], pixels[0], pixels[1]]


def test_a_folder_of_images_in_the_order_of_names(tmp_path: Path) -> None:
    pixels = _write_photos(tmp_path)
    samples = open_samples(tmp_path, IMAGE, RAW)
    expected = np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32)
    assert np.array_equal(arrays(samples, "image"), expected)


def test_raw_arrays_take_the_same_preprocessing(tmp_path: Path) -> None:
    pixels = np.stack(_write_photos(tmp_path))
    how = Preprocessing(scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    expected = ((pixels / 255.0 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]).astype(np.float32)
    for source in (tmp_path, pixels):
        found = arrays(open_samples(source, IMAGE, how), "image")
        np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), rtol=1e-6)


def _with(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    array[index] = value
    return array


FAULTS: dict[str, tuple[Graph, Callable[[], object], str]] = {
    "empty": (ONE, lambda: counting(0, 2, 3), "there are no samples"),
    "nothing": (ONE, list, "there are no samples"),
    "rank": (ONE, lambda: counting(4, 6), "expected float32"),
    "shape": (ONE, lambda: counting(4, 3, 2), "expected float32[N, 2, 3], found float32[1, 3, 2]"),
    "wide": (ONE, lambda: counting(4, 2, 3).astype(np.float64), "found float64[1, 2, 3]"),
    "bytes": (ONE, lambda: counting(4, 2, 3).astype(np.uint8), "found uint8[1, 2, 3]"),
    "nan": (ONE, lambda: _with(counting(4, 2, 3), (2, 1, 0), np.nan), "sample 2, input 'x'"),
    "infinity": (ONE, lambda: _with(counting(4, 2, 3), (3, 0, 1), -np.inf), "(-inf) at [0, 0, 1]"),
    "name": (TWO, lambda: {"x": counting(4, 2)}, "no array for input 'y'"),
    "ambiguous": (
        ONE, lambda: {"a": counting(4, 2, 3), "b": counting(4, 2, 3)}, "no array for input 'x'",
    ),
    "lengths": (
        TWO, lambda: {"x": counting(4, 2), "y": counting(5, 3)}, "different numbers of samples",
    ),
    "no mapping": (TWO, lambda: [counting(1, 2)], "expected a mapping"),
    "item": (TWO, lambda: [{"x": counting(1, 2)}], "no array for input y"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_data_is_refused_with_its_place(fault: str) -> None:
    network, make, message = FAULTS[fault]
    with pytest.raises(DataError) as caught:
        list(open_samples(make(), network))  # type: ignore[arg-type] # faults on purpose
    assert message in f"{caught.value.where}: {caught.value.message}"


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xe0"
    for content in (b"", b"foreign", jpeg, b"PK\x03\x04 broken", b"\x93NUMPY broken"):
        path = tmp_path / "data.npz"
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            open_samples(path, ONE)
        assert str(path) in caught.value.where
        assert "pickle" not in str(caught.value), "nobody is told to trust a foreign file"
        assert "expected a .npz or .npy file" in caught.value.help


def test_one_image_is_not_a_folder_of_images(tmp_path: Path) -> None:
    _write_photos(tmp_path)
    photo = next(path for path in tmp_path.iterdir() if path.suffix == ".png")
    with pytest.raises(DataError, match="is no file of NumPy") as caught:
        open_samples(photo, IMAGE, RAW)
    assert "give its folder" in caught.value.help


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        open_samples(tmp_path / "none.npz", ONE)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    _write_photos(tmp_path)
    (tmp_path / "bb.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read as an image") as caught:
        list(open_samples(tmp_path, IMAGE, RAW))
    assert caught.value.where.endswith("bb.png")


def test_a_folder_needs_a_preprocessing_and_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no samples"):
        open_samples(tmp_path, IMAGE, RAW)
    (tmp_path / "labels.csv").write_text("no image")
    with pytest.raises(DataError, match="no file in this folder is an image"):
        open_samples(tmp_path, IMAGE, RAW)
    _write_photos(tmp_path)
    with pytest.raises(DataError, match="how pixels become inputs was not said"):
        open_samples(tmp_path, IMAGE)
    with pytest.raises(DataError, match="serves one input"):
        open_samples(tmp_path, TWO, RAW)


def test_missing_labels_are_named() -> None:
    with pytest.raises(DataError, match=r"no array 'label' of labels \(found: classes\)"):
        open_samples({"x": counting(4, 2, 3), "classes": np.arange(4)}, ONE).label("label")


def test_an_input_may_be_a_scalar() -> None:
    (sample,) = open_samples([{"x": np.float32(2).reshape(())}], graph(x=()))
    assert sample["x"].shape == ()
