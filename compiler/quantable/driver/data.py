"""Calibration and test inputs: files, folders of images, arrays, or any iterable.

What a source may be:

- `.npz`: an array for every input, under the input's name. For a network with one input, the one
  array that can be it may have any name; others (labels) are ignored.
- `.npy`: one array, for a network with one input.
- a folder: its image files, in the order of their names, for a network with one input.
- an iterable of samples: mappings from input name to array, or arrays for a network with one input.

An array has the input's rank, its first axis counting samples (batches, where the network's first
dimension is fixed). Values are float32 unless a preprocessing says what raw ones mean. Every sample
is checked when it is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.driver.preprocessing import Preprocessing
from quantable.ir import DataError, DType, Graph, OptionError, Value

Array = npt.NDArray[np.generic]
Sample = Mapping[str, Array]
Source = str | Path | Mapping[str, Array] | Array | Iterable[Sample | Array]
_MAGIC = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
"""How a .npy file begins, and a .npz file, which may be empty."""
_EXPECTED = "expected a .npz or .npy file of NumPy, or a folder of images"
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Samples:
    """A sequence of samples, read and checked one at a time.

    Attributes:
        indices: Which samples of the source take part.
        read: Returns one sample of the source.
        labels: Further arrays of the source, one entry a sample (class labels, for instance).
    """

    indices: Sequence[int]
    read: Callable[[int], Sample]
    labels: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(index) for index in self.indices)

    def label(self, name: str) -> Array:
        """Return the entries of another array of the source for these samples.

        Raises:
            DataError: The source has no such array.
        """
        if name not in self.labels:
            known = ", ".join(sorted(self.labels)) or "none"
            raise DataError(f"the data have no array '{name}' of labels (found: {known})")
        return self.labels[name][np.asarray(self.indices, np.int64)]


def open_samples(
    source: Source,
    graph: Graph,
    preprocessing: Preprocessing | None = None,
    *,
    samples: int | None = None,
    shard: str = "",
) -> Samples:
    """Open inputs for a graph.

    Args:
        source: See the module's docstring.
        graph: Its inputs say which names, types and shapes are expected.
        preprocessing: How raw values become inputs.
        samples: Use only so many, from the start.
        shard: ``i/n``: every n-th sample, from the i-th on (1 to n).

    Raises:
        DataError: The source is empty, or a sample has a wrong shape or type or is not finite.
        OptionError: `samples` or `shard` is out of range.
    """
    how = preprocessing or Preprocessing()
    inputs = [graph.values[name] for name in graph.inputs]
    found = _open(source, inputs, how)
    if not found.indices:
        raise DataError(
            "there are no samples", where=_name_of(source),
            help="expected at least one; the first axis of an array counts samples",
        )  # fmt: skip
    chosen = _chosen(list(found.indices), samples, shard)
    return Samples(chosen, found.read, found.labels)


def _chosen(indices: list[int], samples: int | None, shard: str) -> list[int]:
    if samples is not None:
        if samples < 1:
            raise OptionError(f"samples: expected at least 1, found {samples}")
        indices = indices[:samples]
    if shard:
        part, _, count = shard.partition("/")
        if not (part.isdigit() and count.isdigit() and 1 <= int(part) <= int(count)):
            raise OptionError(f"shard: expected i/n with i from 1 to n, found '{shard}'")
        indices = indices[int(part) - 1 :: int(count)]
        if not indices:
            raise DataError(f"shard {shard} has no samples")
    return indices


def _name_of(source: Source) -> str:
    return str(source) if isinstance(source, (str, Path)) else "data"


def _open(source: Source, inputs: list[Value], how: Preprocessing) -> Samples:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return _from_folder(path, inputs, how)
        return _from_arrays(_load(path), inputs, how, str(path))
    if isinstance(source, np.ndarray):
        return _from_arrays({"": source}, inputs, how, "data")
    if isinstance(source, Mapping):
        return _from_arrays(source, inputs, how, "data")
    return _from_iterable(list(source), inputs)


def _load(path: Path) -> Mapping[str, Array]:
    try:
        with path.open("rb") as file:
            _require_arrays(file.read(len(_MAGIC[0])), path)
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise DataError("no such file or folder", where=str(path), help=_EXPECTED) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"cannot be read: {reason}", where=str(path), help=f"{_EXPECTED} that is whole"
        ) from error


def _require_arrays(start: bytes, path: Path) -> None:
    """Refuse a foreign file; NumPy would take it for a pickle, and advise to trust it."""
    if not start.startswith(_MAGIC):
        hint = "; for one image, give its folder" if path.suffix.lower() in IMAGE_SUFFIXES else ""
        raise DataError("is no file of NumPy", where=str(path), help=_EXPECTED + hint)


def _from_folder(path: Path, inputs: list[Value], how: Preprocessing) -> Samples:
    if len(inputs) != 1:
        raise DataError(
            f"a folder of images serves one input, the network has {len(inputs)}", where=str(path),
            help="write all inputs to one .npz file",
        )  # fmt: skip
    if not how.is_given:
        raise DataError(
            "how pixels become inputs was not said", where=str(path),
            help="give --scale (1 for raw pixels, 1/255 ...) and perhaps --mean and --std",
        )  # fmt: skip
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(
            "there are no samples: no file in this folder is an image", where=str(path),
            help=f"expected files whose names end with {', '.join(IMAGE_SUFFIXES)}",
        )  # fmt: skip
    value = inputs[0]

    def read(index: int) -> Sample:
        image = how.read_image(files[index], value.shape)
        return {value.name: _checked(image, value, str(files[index]))}

    return Samples(range(len(files)), read, {})


def _from_arrays(
    arrays: Mapping[str, Array], inputs: list[Value], how: Preprocessing, where: str
) -> Samples:
    names = {value.name: _array_for(value, arrays, len(inputs), how, where) for value in inputs}
    batch = _batch(inputs[0]) if inputs else 1
    lengths = {name: len(arrays[key]) for name, key in names.items()}
    count = min(lengths.values(), default=0)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"the inputs have different numbers of samples: {found}", where=where,
            help="the first axis of every array counts samples; make them agree",
        )  # fmt: skip
    if count % batch:
        raise DataError(
            f"expected a multiple of {batch} samples (the network's fixed batch), found {count}",
            where=where,
        )

    def read(index: int) -> Sample:
        place = f"{where}, sample {index}"
        found = {}
        for value in inputs:
            raw = arrays[names[value.name]][index * batch : (index + 1) * batch]
            found[value.name] = _checked(_prepared(raw, value, how, place), value, place)
        return found

    used = set(names.values())
    others = {
        key: array
        for key, array in arrays.items()
        if key not in used and array.ndim >= 1 and len(array) == count
    }
    return Samples(range(count // batch), read, others)


def _batch(value: Value) -> int:
    first = value.shape[0] if value.shape else 1
    return first if isinstance(first, int) else 1


def _array_for(
    value: Value, arrays: Mapping[str, Array], inputs: int, how: Preprocessing, where: str
) -> str:
    if value.name in arrays:
        return value.name
    if inputs == 1:
        fitting = [key for key, array in arrays.items() if _can_be(array, value, how)]
        if len(fitting) == 1:
            return fitting[0]
        if len(arrays) == 1:
            return next(iter(arrays))
    found = ", ".join(
        f"{key or 'array'} {array.dtype}{list(array.shape)}" for key, array in arrays.items()
    )
    raise DataError(
        f"no array for input '{value.name}': expected {_describe(value)}, found {found or 'none'}",
        where=where, help=f"name the array '{value.name}'",
    )  # fmt: skip


def _can_be(array: Array, value: Value, how: Preprocessing) -> bool:
    is_rank = value.shape is not None and array.ndim == len(value.shape)
    return is_rank and (array.dtype == value.dtype.numpy or how.is_given)


def _prepared(raw: Array, value: Value, how: Preprocessing, where: str) -> Array:
    if not how.is_given or value.dtype is not DType.FLOAT32:
        return raw
    if raw.ndim == 4:
        return np.concatenate([how.image(image, value.shape, where) for image in raw])
    return how.values(raw, where)


def _from_iterable(items: list[Sample | Array], inputs: list[Value]) -> Samples:
    def read(index: int) -> Sample:
        item, place = items[index], f"data, sample {index}"
        if not isinstance(item, Mapping):
            if len(inputs) != 1:
                raise DataError("expected a mapping from input name to array", where=place)
            item = {inputs[0].name: np.asarray(item)}
        missing = [value.name for value in inputs if value.name not in item]
        if missing:
            raise DataError(f"no array for input {', '.join(missing)}", where=place)
        return {
            value.name: _checked(np.asarray(item[value.name]), value, place) for value in inputs
        }

    return Samples(range(len(items)), read, {})


def _describe(value: Value) -> str:
    shape = "?" if value.shape is None else ", ".join(str(dim) for dim in value.shape)
    return f"{value.dtype.numpy.name}[{shape}]"


def _checked(array: Array, value: Value, where: str) -> Array:
    found = f"{array.dtype}{list(array.shape)}"
    place = f"{where}, input '{value.name}'"
    if array.dtype != value.dtype.numpy:
        raise DataError(
            f"expected {_describe(value)}, found {found}", where=place,
            help="convert the array, or say with --scale (1: as they are) what raw values mean",
        )  # fmt: skip
    if value.shape is not None and not _shape_fits(array.shape, value.shape):
        raise DataError(
            f"expected {_describe(value)}, found {found}", where=place,
            help="a sample has the shape of the network's input; preprocess the data accordingly",
        )  # fmt: skip
    if array.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            count = "1 element is" if bad.size == 1 else f"{bad.size} elements are"
            raise DataError(
                f"{count} not finite, the first ({array.flat[bad[0]]}) at "
                f"{[int(i) for i in np.unravel_index(bad[0], array.shape)]}",
                where=place,
                help="leave the sample out, or mend it; one such number would ruin every scale",
            )
    return np.asarray(array, order="C")


def _shape_fits(found: tuple[int, ...], expected: Sequence[int | str]) -> bool:
    return len(found) == len(expected) and all(
        isinstance(dim, str) or dim == size for size, dim in zip(found, expected, strict=True)
    )
