#!/usr/bin/python3
"""Writes inputs for the fuzzer (input.h): arrays as they are in practice.

usage: make-corpus.py DIR
"""
import os
import random
import struct
import sys

PRESENT, SLOT, IN_SYNC, FAULTY, BITMAP_SYNC, BLOCK_4K, ARRIVES = (1 << i for i in range(7))
ACTIVE = PRESENT | SLOT | IN_SYNC
V1_2, V1_1, V1_0, V0_90 = range(4)
READ_ONLY, DIRTY = 1, 2
SECTOR, SUPER, BITS, HEADER, ENTRY, MAP, MD, FAULT, FLIP = range(9)
RAW = 0x80
USED, NAMED = 1, 2
# what is put right in a bitmap superblock: all of it, without a seal, nothing
SEALED, OPEN, AS_IS = 0x7f, 0x2f, 0
EVENTS = 1000


def member(flags, before=800, after=64, events=0):
    return struct.pack("<BBHH", flags, events, before, after)


def config(members, layout=V1_2, size=20480, shift=0, offset=8, flags=0, alloc=0, slots=None):
    members = members + [member(0)] * (4 - len(members))
    return struct.pack("<BBBBIBxxxiQ", layout, (slots or 3) - 1, flags, alloc, size, shift,
                       offset, EVENTS - 256) + b"".join(members)


def record(kind, payload=b"", members=0xf, a=0, b=0):
    return struct.pack("<BBBBH", kind, members, a, b, len(payload)) + payload


def bitmap_super(fix=SEALED, chunk=7, events_cleared=14, generation=6, shift=3, quota=4,
                 reserved=0, floor=900, members=0xf):
    """chunk: log2 of sectors, where that is put right; else bytes"""
    sb = struct.pack("<II16sQQQIIIIII64x", 0x6d746962, 4, b"array-under-test", EVENTS,
                     events_cleared, 20480, 0, chunk, 5, 0, reserved, 0)
    sb += struct.pack("<IIQQiIII", 0x4d31524d, 0, generation, floor, 24, 128, shift, quota)
    return record(SUPER, sb, members, fix)


def entry(nr, uuid, events=(990, 991), left=3, flags=USED | NAMED, header=0, csum=(7, 8), members=0xf):
    return record(ENTRY, struct.pack("<16sQQQIIB", uuid, *events, left, *csum, flags),
                  members, nr, header)


def lacks(nr, index, bits, members=0xf):
    return record(MAP, bits, members, nr, index)


def flips(*what):
    return record(FLIP, b"".join(struct.pack("<BBH", *w) for w in what))


def md(uuid=b"\0" * 16, events=0, csum=7, log=0, log_size=0, max_dev=4, roles=(0, 1, 2, 3), dev=0,
       members=0xf):
    sb = bytearray(264)
    struct.pack_into("<I16s", sb, 160, dev, uuid)
    struct.pack_into("<BHi", sb, 185, 9, log_size, log)
    struct.pack_into("<QQII", sb, 200, events, 0, csum, max_dev)
    struct.pack_into("<4H", sb, 256, *roles)
    return record(MD, bytes(sb), members)


def uuid_of(m):
    """As input.c makes it for member m of an empty superblock"""
    return b"\0" * 15 + bytes([m + 1])


two = [member(ACTIVE), member(ACTIVE)]
away = two + [member(0)]
returns = two + [member(PRESENT | ARRIVES, events=10)]
some = bytes(random.Random(1).randbytes(40))
few_flips = flips((0, 15, 263), (0, 15, 258), (0, 1, 300), (2, 15, 1500), (4, 15, 77), (4, 3, 16000), (1, 1, 9))
SEEDS = {
    "plain": config(two) + bitmap_super(OPEN) + record(BITS, b"\x05\0\x80"),
    "plain-flips": config(two) + bitmap_super(OPEN) + record(BITS, b"\xff") + few_flips,
    "no-bitmap": config(two),
    "as-is": config(two) + bitmap_super(AS_IS, chunk=65536),
    "old-bitmap": config(two) + bitmap_super(0x67),
    "one-newer": config(two) + bitmap_super(0x67, members=1) + bitmap_super(OPEN, members=2) +
    record(BITS, some),
    "map": config(away) + bitmap_super() + record(HEADER) + entry(0, uuid_of(2)) + lacks(0, 0, some) +
    lacks(0, 1, b"\x80"),
    "map-flips": config(away) + bitmap_super() + record(HEADER) + entry(0, uuid_of(2)) +
    lacks(0, 0, some) + lacks(0, 1, b"\x80") + few_flips,
    "maps": config(away) + bitmap_super(quota=8) + entry(0, uuid_of(2)) + entry(1, b"another") +
    entry(2, b"a third", left=9) + b"".join(lacks(n, i, some[n:]) for n in range(3) for i in range(2)),
    "map-damaged": config(away) + bitmap_super() + entry(0, uuid_of(2)) + lacks(0, 0, some) +
    lacks(0, 1, some, members=0x8f),
    "map-on-one": config(away) + bitmap_super() + entry(0, uuid_of(2)) + lacks(0, 0, some, members=1) +
    lacks(0, 1, some, members=2),
    "header-on-one": config(away) + bitmap_super() + entry(0, uuid_of(2), members=2) + lacks(0, 0, some),
    "nameless": config(returns) + bitmap_super() +
    entry(0, b"", (900, 1000), flags=USED) + lacks(0, 0, some) + lacks(0, 1, some) + md(),
    "returns": config(returns) + bitmap_super() + entry(0, uuid_of(2)) + lacks(0, 0, some) +
    lacks(0, 1, some) + md(),
    "returns-changed": config(two + [member(PRESENT | ARRIVES, events=5)]) + bitmap_super() +
    entry(0, uuid_of(2)) + lacks(0, 0, some) + md() + md(dev=2, members=4),
    "returns-new": config(returns) + bitmap_super() + entry(0, b"another") + md(),
    "recovering": config(two + [member(PRESENT | SLOT)]) + bitmap_super() +
    entry(0, uuid_of(2), (999, 1000)) + lacks(0, 0, some) + lacks(0, 1, some) + md(),
    "back-in-sync": config(two + [member(ACTIVE)]) + bitmap_super() + entry(0, uuid_of(2)) +
    lacks(0, 0, some) + md(),
    "one-behind": config([member(ACTIVE), member(ACTIVE, events=1)]) + bitmap_super() +
    entry(0, uuid_of(2)) + lacks(0, 0, some),
    "coarse": config(away, size=300000, shift=3) + bitmap_super(chunk=15, shift=5, quota=2) +
    entry(0, uuid_of(2)) + lacks(0, 19, b"\xff"),
    "too-many": config(returns, slots=4) + bitmap_super(quota=1) + entry(0, b"another") +
    lacks(0, 0, some) + md(),
    "v1.0": config([member(ACTIVE, before=256)] * 2, V1_0, offset=-16) + bitmap_super() +
    entry(0, b"another") + lacks(0, 0, some),
    "v1.0-behind": config([member(ACTIVE, before=256)] * 2, V1_0, offset=2) + bitmap_super(OPEN),
    "v1.1": config([member(ACTIVE, before=128)] * 2, V1_1) + bitmap_super() + entry(0, b"another") +
    lacks(0, 0, some),
    "v0.90": config(two, V0_90) + bitmap_super(OPEN) + record(BITS, some),
    "4k": config([member(ACTIVE | BLOCK_4K)] * 2) + bitmap_super(reserved=8) + entry(0, b"another"),
    "log": config(away) + md(log=16, log_size=8) + bitmap_super() + entry(0, uuid_of(2)),
    "log-close": config(two) + md(log=9, log_size=8) + bitmap_super(),
    "no-room": config([member(ACTIVE, before=16)] * 2) + bitmap_super(chunk=0),
    "fault": config(away) + bitmap_super() + entry(0, uuid_of(2)) + lacks(0, 0, some) +
    record(FAULT, b"\0\0", 1, 8, 0) + record(FAULT, b"\7\1", 2, 40, 0),
    "read-only": config(away, flags=READ_ONLY) + bitmap_super() + entry(0, uuid_of(2)),
    "dirty": config(two, flags=DIRTY) + bitmap_super(OPEN) + record(BITS, some),
    "no-memory": config(returns, alloc=20) + bitmap_super() + entry(0, uuid_of(2)) + md(),
}

# of these, each bit is flipped
SEEDS["flips-plain"] = SEEDS["plain"]
SEEDS["flips-map"] = config(away) + bitmap_super(quota=1) + entry(0, uuid_of(2)) + \
    lacks(0, 0, some) + lacks(0, 1, b"\x80")

if len(sys.argv) != 2:
    sys.exit(__doc__)
os.makedirs(sys.argv[1], exist_ok=True)
for name, data in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)
