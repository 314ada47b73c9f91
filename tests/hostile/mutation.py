"""Right bytes, changed a little: what a fuzzer without eyes would send, from one seed."""

from collections.abc import Iterator, Sequence
from random import Random

INTERESTING = bytes.fromhex(
    "00 17 18 1a 1b 20 37 3b 40 57 5b 5f 60 7b 7f 80 97 9b 9f a0 bf c0 d8 f6 f7 f9 fb ff"
)
"""Heads at the edges of what they mean."""
SPLICE_BYTES_MAX = 64


def mutated(specimens: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    random = Random(seed)
    for _ in range(count):
        data = bytearray(random.choice(specimens))
        for _ in range(random.choice((1, 1, 1, 2, 4, 8))):
            change(data, specimens, random)
        yield bytes(data)


def change(data: bytearray, specimens: Sequence[bytes], random: Random) -> None:
    """One change, in place."""
    if not data:
        data += random.randbytes(4)
    at = random.randrange(len(data))
    match random.randrange(8):
        case 0:
            data[at] ^= 1 << random.randrange(8)
        case 1:
            data[at] = random.randrange(256)
        case 2:
            data[at] = random.choice(INTERESTING)
        case 3:
            data.insert(at, random.choice(INTERESTING))
        case 4:
            del data[at : at + random.randint(1, 4)]
        case 5:
            other = random.choice(specimens)
            start = random.randrange(len(other))
            data[at:at] = other[start : start + random.randint(1, SPLICE_BYTES_MAX)]
        case 6:
            data[at:at] = data[at : at + random.randint(1, SPLICE_BYTES_MAX)]
        case _:
            del data[at:]
