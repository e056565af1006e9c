"""The shared networks and their inputs, read lazily, the same for every tool that is compared.

Nothing is read before it is asked for, and only one batch is held at a time: 400 images of
MobileNetV2 would take 240 MB as one array.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantable.ir import DataError, UnknownNameError

Float = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
DEFAULT_SHARED = Path(__file__).resolve().parents[3].parent / "shared"
CIFAR_CALIBRATION = 512  # what the published table of peers was measured with
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Samples:
    """Inputs of a network, loaded one by one.

    Attributes:
        count: Number of samples.
        load: Returns the sample of an index, float32, without the batch dimension.
        labels: The right output index of every sample; None where there are none.
    """

    count: int
    load: Callable[[int], Float]
    labels: Labels | None = None

    def batches(self, size: int) -> Iterator[Float]:
        """Yield arrays [n, ...] of at most `size` samples, in order."""
        for start in range(0, self.count, size):
            stop = min(start + size, self.count)
            yield np.stack([self.load(index) for index in range(start, stop)])


@dataclass(frozen=True)
class Network:
    """One shared network.

    Attributes:
        name: Stem of its file in ``models/``.
        batch: Samples a run; 1 where the network's output fixes the batch dimension.
        samples: Returns the samples of a set ('calibration' or 'evaluation').
        note: Preprocessing, in words, for the table.
        data: File or folder in ``data/``, `{split}` standing for the set; '' for made up inputs.
        is_classifier: Whether the largest output is the answer.
    """

    name: str
    batch: int
    samples: Callable[[Path, str], Samples]
    note: str
    data: str
    is_classifier: bool = True

    def data_digest(self, shared: Path, split: str) -> str:
        """Return sha256 over the files of a set, labels included; '' for made up inputs."""
        if not self.data:
            return ""
        place = shared / "data" / self.data.format(split=split)
        files = sorted(file for file in place.iterdir()) if place.is_dir() else [place]
        h = hashlib.sha256()
        for file in files:
            content = file.read_bytes()
            h.update(f"{file.name}\0{len(content)}\0".encode() + content)
        return h.hexdigest()

    def model(self, shared: Path) -> Path:
        """Return the path of the ONNX file."""
        path = shared / "models" / f"{self.name}.onnx"
        if not path.is_file():
            raise DataError(
                f"there is no network '{self.name}'",
                where=str(path),
                help="give the folder of models and data with --shared",
            )
        return path


def _cifar_raw(pixels: npt.NDArray[np.uint8]) -> Float:
    return pixels.astype(np.float32)


def _cifar_normalized(pixels: npt.NDArray[np.uint8]) -> Float:
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1).astype(np.float32))


def _cifar(prepare: Callable[[npt.NDArray[np.uint8]], Float]) -> Callable[[Path, str], Samples]:
    def samples(shared: Path, split: str) -> Samples:
        with np.load(shared / "data" / f"cifar10_{split}.npz") as data:
            images, labels = data["image"], data["label"]
        if split == "calibration":
            images, labels = images[:CIFAR_CALIBRATION], labels[:CIFAR_CALIBRATION]
        return Samples(len(images), lambda index: prepare(images[index]), labels)

    return samples


def _keywords(shared: Path, split: str) -> Samples:
    with np.load(shared / "data" / f"kws_{split}.npz") as data:
        features, labels = data["feature"], data["label"]
    return Samples(len(features), lambda index: features[index], labels)


def read_image(path: Path, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Read a photo as [height, width, 3] RGB, resized bilinearly by PIL to (height, width)."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    height, width = size
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.uint8)


def _imagenet(side: int, prepare: Callable[[Float], Float]) -> Callable[[Path, str], Samples]:
    """Photos as they are, only resized: the shared ones are 224x224 already."""

    def samples(shared: Path, split: str) -> Samples:
        folder = shared / "data" / f"imagenet_{split}"
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))

        def load(index: int) -> Float:
            pixels = read_image(folder / rows[index]["file"], (side, side))
            return prepare(pixels.astype(np.float32))

        # The networks have 1001 outputs: 0 is the background.
        labels = np.array([int(row["class_index"]) + 1 for row in rows], np.int64)
        return Samples(len(rows), load, labels)

    return samples


def _wake_words(shared: Path, split: str) -> Samples:
    photos = _imagenet(96, lambda pixels: pixels / np.float32(255))(shared, split)
    return Samples(photos.count, photos.load)  # its two classes are not ImageNet's


def _faces(shared: Path, split: str) -> Samples:
    """Every other photo calibrates, the rest evaluates; each once more mirrored."""
    files = sorted((shared / "data" / "faces").glob("*.jpg"), key=lambda file: int(file.stem))
    chosen = files[0::2] if split == "calibration" else files[1::2]

    def load(index: int) -> Float:
        pixels = read_image(chosen[index // 2], (240, 320)).astype(np.float32)
        image = (pixels - np.float32(127)) / np.float32(128)
        mirrored = image[:, ::-1] if index % 2 else image
        return np.ascontiguousarray(mirrored.transpose(2, 0, 1))

    return Samples(2 * len(chosen), load)


def _smooth_vectors(shared: Path, split: str) -> Samples:
    """Five frames of 128 log-mel energies in dB, as smooth random curves.

    The generator is counter-based (Philox), keyed by the set, one stream a sample.
    """
    del shared
    key = {"calibration": 1, "evaluation": 2}[split]
    window = np.hanning(33)[1:-1]
    window /= np.sqrt((window**2).sum())

    def load(index: int) -> Float:
        generator = np.random.Generator(np.random.Philox(key=key, counter=index << 64))
        noise = generator.standard_normal(640 + len(window) - 1)
        return (np.convolve(noise, window, "valid") * 8 - 25).astype(np.float32)

    return Samples({"calibration": 256, "evaluation": 512}[split], load)


def _signed(pixels: Float) -> Float:
    return pixels / np.float32(127.5) - np.float32(1)


_CIFAR, _PHOTOS = "cifar10_{split}.npz", "imagenet_{split}"
_NORMALIZED = _cifar(_cifar_normalized), "CIFAR-10, normalized", _CIFAR
_RESIZED = "ImageNet photos, resized"
_VECTORS, _BOXES = "smooth random vectors, no labels", "6 photos and mirrored ones each, no labels"
NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("resnet8", 50, _cifar(_cifar_raw), "CIFAR-10, raw pixels", _CIFAR),
        Network("resnet20", 50, *_NORMALIZED),
        Network("resnet56", 50, *_NORMALIZED),
        Network("cct_cifar", 50, *_NORMALIZED),
        Network("dscnn_kws", 50, _keywords, "Speech Commands features", "kws_{split}.npz"),
        Network("mobilenetv1_0.25_128", 1, _imagenet(128, _signed), _RESIZED, _PHOTOS),
        Network("mobilenetv2_keras", 1, _imagenet(224, _signed), _RESIZED, _PHOTOS),
        Network("mobilenetv1_vww", 50, _wake_words, "ImageNet photos at 96, no labels", _PHOTOS),
        Network("fc_autoencoder", 50, _smooth_vectors, _VECTORS, "", False),
        Network("ultraface_slim", 1, _faces, _BOXES, "faces", False),
    )
}  # fmt: skip
"""The ten shared networks, in the order of the tables."""


def network(name: str) -> Network:
    """Return a network by name.

    Raises:
        UnknownNameError: There is none; the message lists the nearest.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    return NETWORKS[name]
