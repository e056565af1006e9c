"""Ways to break the bytes of a file, all drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

Mutation = Callable[[random.Random, bytearray], None]


def _set_byte(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def _flip_bit(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_word(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) // 4) * 4
    word = rng.choice([0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.randrange(len(data))])
    data[at : at + 4] = word.to_bytes(4, "little")


def _copy_word(rng: random.Random, data: bytearray) -> None:
    source, target = (rng.randrange(len(data) // 4) * 4 for _ in range(2))
    data[target : target + 4] = data[source : source + 4]


def _swap_words(rng: random.Random, data: bytearray) -> None:
    """Swap two indices, offsets or lengths, often neighbours."""
    first = rng.randrange(len(data) // 4) * 4
    second = min(first + 4 * rng.randrange(1, 9), len(data) // 4 * 4 - 4)
    held = data[first : first + 4]
    data[first : first + 4] = data[second : second + 4]
    data[second : second + 4] = held


def _nudge_word(rng: random.Random, data: bytearray) -> None:
    """Make a small index, length or offset a little larger or smaller."""
    places = [at for at in range(0, len(data) - 3, 4) if data[at + 1 : at + 4] == b"\0\0\0"]
    if places:
        at = rng.choice(places)
        data[at] = (data[at] + rng.choice([-4, -2, -1, 1, 2, 4])) % 256


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 70)]


def _insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randrange(1, 70))


MUTATIONS: tuple[Mutation, ...] = (
    _set_byte, _flip_bit, _set_word, _set_word, _copy_word, _swap_words, _nudge_word, _cut, _remove,
    _insert,
)  # fmt: skip


def mutant(data: bytes, rng: random.Random, begin: int = 0) -> bytes:
    """Return the bytes with one to six mutations at or after a position."""
    changed = bytearray(data[begin:])
    for _ in range(rng.choice([1, 1, 1, 2, 6])):
        if len(changed) < 8:
            break
        rng.choice(MUTATIONS)(rng, changed)
    return data[:begin] + bytes(changed)


def mutants(data: bytes, count: int, seed: int) -> list[bytes]:
    """Return mutated copies of a file."""
    rng = random.Random(seed)
    return [mutant(data, rng) for _ in range(count)]


def head_mutants(data: bytes, count: int, seed: int) -> list[bytes]:
    """Return copies whose tables were mutated; the size prefix agrees with what they became."""
    rng = random.Random(seed)
    end = int.from_bytes(data[:4], "little") + 4
    contents = data[-(-end // 64) * 64 :]
    found = []
    for _ in range(count):
        head = mutant(data[:end], rng, begin=12)
        size = (len(head) - 4).to_bytes(4, "little")
        found.append(size + head[4:] + bytes(-len(head) % 64) + contents)
    return found
