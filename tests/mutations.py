"""Damage to the bytes of a file, of the kinds that disks, editors and malice do."""

import random
import struct

#: What counts and sizes in binary files are changed to.
EXTREMES = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to three changes."""
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(CHANGES)(data, chance)
    return data


def flip(data, chance):
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(data, chance):
    return data[: chance.randrange(len(data) + 1)]


def insert(data, chance):
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.randbytes(chance.choice([1, 2, 8, 100])) + data[place:]


def cut(data, chance):
    place = chance.randrange(len(data) + 1)
    return data[:place] + data[place + chance.choice([1, 2, 8, 100]) :]


def repeat(data, chance):
    begin = chance.randrange(len(data) + 1)
    end = min(len(data), begin + chance.choice([1, 8, 100]))
    return data[:end] + data[begin:]


def number(data, chance):
    place, kind = chance.randrange(len(data) + 1), chance.choice(["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"])
    value = struct.pack(kind, chance.choice(EXTREMES) % 256 ** struct.calcsize(kind))
    return data[:place] + value + data[place + len(value) :]


def digit(data, chance):
    """Change a digit of text, which is how .npy and TOML spell their numbers."""
    places = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return data
    place = chance.choice(places)
    return data[:place] + str(chance.choice([0, 9, -1, 10**12, "1e999", "nan"])).encode() + data[place + 1 :]


CHANGES = [flip, truncate, insert, cut, repeat, number, digit]
