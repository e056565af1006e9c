"""Random numbers that depend on where they are used and on nothing else.

Every use has its own place in the sequence of a counter-based generator (Philox), so that neither
the order of uses nor the number of threads matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_SHUFFLES, _MASKS = 0, 1
_LEVELS = 256


def generator(key: tuple[int, int], *place: int) -> np.random.Generator:
    """Return the generator of a place.

    Args:
        key: Seed and stream.
        place: Up to three numbers.
    """
    counter = [0, *place, *[0] * (3 - len(place))]
    return np.random.Generator(np.random.Philox(key=list(key), counter=counter))


def batches(
    samples: Sequence[int], size: int, key: tuple[int, int]
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield batches without end, sorted; every sample is used once before any is used again."""
    ids = np.asarray(samples, np.int64)
    size, epoch = min(size, len(ids)), 0
    left = ids[:0]
    while True:
        if len(left) < size:
            order = generator(key, _SHUFFLES, epoch).permutation(len(ids))
            left, epoch = np.concatenate([left, ids[order]]), epoch + 1
        yield np.sort(left[:size])
        left = left[size:]


def masks(probability: float, key: tuple[int, int], *place: int) -> Callable[[Tensor], Tensor]:
    """Return what draws, tensor after tensor, which elements are true with a probability."""
    source = generator(key, _MASKS, *place)
    bound = round(probability * _LEVELS)

    def drawn(like: Tensor) -> Tensor:
        found = np.frombuffer(source.bytes(like.numel()), np.uint8) < bound
        return torch.from_numpy(found.reshape(tuple(like.shape)))

    return drawn
