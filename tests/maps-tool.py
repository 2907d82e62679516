#!/usr/bin/python3
"""Reads and spoils tables of member maps (maps.h) on members, for tests.

usage: maps-tool.py info FILE		geometry and entries
       maps-tool.py at FILE WHAT	byte offset: stamp, table, header (the one
					that counts), other (the other one),
					map UUID (of that entry), end
       maps-tool.py save FILE OUT	copy of the whole table, to put it back
       maps-tool.py load FILE IN
       maps-tool.py flip FILE OFFSET	one bit of the byte there
       maps-tool.py zero FILE OFFSET LENGTH
       maps-tool.py clock FILE          of the stamp
       maps-tool.py unclock FILE	the stamp as an older module writes it
       maps-tool.py tick FILE		the stamp with the next clock, not settled
       maps-tool.py craft FILE SHIFT QUOTA USED	stamp and header of a table with
					such grains, and USED entries, the first
					of which has the present one's UUID
FILE may be several: FILE,FILE...
"""
import os
import struct
import sys
import zlib

MAGIC = 0xa92b4efc
STAMP_AT = 136
STAMP_SIZE = 56
BLOCK_GRAINS = 31744


class Table:
    def __init__(self, name):
        self.f = open(name, "r+b", buffering=0)
        size = os.fstat(self.f.fileno()).st_size
        for at in (4096, 0, (size // 512 - 16 & ~7) * 512):
            sb = self.read(at, 4096)
            if struct.unpack_from("<I", sb)[0] == MAGIC:
                break
        else:
            sys.exit("no md superblock")
        self.sb_at = at
        self.bitmap_at = at + 512 * struct.unpack_from("<i", sb, 96)[0]
        self.stamp_at = self.bitmap_at + STAMP_AT
        (magic, _, self.generation, self.floor, offset, sectors, self.shift,
         self.quota) = struct.unpack("<IIQQiIII", self.read(self.stamp_at, 40))
        if magic != 0x4d31524d:
            sys.exit("no stamp")
        self.table_at = at + 512 * offset
        self.size = 512 * sectors
        self.header_at = self.table_at + 4096 * (self.generation % 2)
        self.other_at = self.table_at + 4096 * (1 - self.generation % 2)
        h = self.read(self.header_at, 4096)
        (self.blocks,) = struct.unpack_from("<I", h, 32)
        self.entries = {}
        for nr in range(16):
            e = h[128 + nr * 64:192 + nr * 64]
            if e[48] & 1:
                self.entries[e[:16].hex() if e[48] & 2 else "unknown"] = \
                    (nr,) + struct.unpack_from("<QQQ", e, 16)

    def read(self, at, size):
        return os.pread(self.f.fileno(), size, at)

    def write(self, at, data):
        os.pwrite(self.f.fileno(), data, at)

    def stamp(self):
        return bytearray(self.read(self.stamp_at, STAMP_SIZE))

    def write_stamp(self, stamp):
        array = self.read(self.bitmap_at + 8, 16)
        struct.pack_into("<I", stamp, 4, crc(array + stamp[8:]))
        self.write(self.stamp_at, stamp)

    def clock(self):
        return struct.unpack_from("<Q", self.stamp(), 40)[0]

    def unclock(self):
        self.write_stamp(self.stamp()[:40] + bytes(16))

    def tick(self):
        stamp = self.stamp()
        struct.pack_into("<Q", stamp, 40, 1 + self.clock())
        self.write_stamp(stamp)

    def at(self, what, uuid=None):
        if what == "map":
            return self.table_at + 4096 * (2 + self.entries[uuid][0] * self.blocks)
        return {"stamp": self.stamp_at, "table": self.table_at, "header": self.header_at,
                "other": self.other_at, "end": self.table_at + self.size}[what]


    def craft(self, shift, quota, used):
        size, = struct.unpack("<Q", self.read(self.bitmap_at + 40, 8))
        grains = (size + (1 << shift) - 1) >> shift
        stamp = self.stamp()
        struct.pack_into("<II", stamp, 32, shift, quota)
        h = bytearray(self.read(self.header_at, 4096))
        struct.pack_into("<I", h, 12, shift)
        struct.pack_into("<QI", h, 24, grains, -(-grains // BLOCK_GRAINS))
        first = min(nr for nr, *_ in self.entries.values())
        entry = h[128 + first * 64:192 + first * 64]
        for nr in range(16):
            at = 128 + nr * 64
            h[at:at + 64] = entry if nr < used else bytes(64)
            h[at] = (entry[0] + nr) % 256 if nr < used else 0
        struct.pack_into("<I", h, 8, crc(h[:8] + bytes(4) + h[12:]))
        self.write(self.header_at, h)
        self.write_stamp(stamp)


# crc32_le() with ~0 in the kernel, which does not invert the result
def crc(data):
    return zlib.crc32(bytes(data)) ^ 0xffffffff


def main(cmd, name, *args):
    t = Table(name)
    if cmd == "info":
        print("generation %d, floor %d, %d bytes at %d, grain shift %d, quota %d, blocks %d" %
              (t.generation, t.floor, t.size, t.table_at, t.shift, t.quota, t.blocks))
        for uuid, e in t.entries.items():
            print("%s: entry %d, events %d %d, left %d" % (uuid, *e))
    elif cmd == "at":
        print(t.at(*args))
    elif cmd == "save":
        with open(args[0], "wb") as f:
            f.write(t.read(t.table_at, t.size))
    elif cmd == "load":
        with open(args[0], "rb") as f:
            t.write(t.table_at, f.read())
    elif cmd == "flip":
        at = int(args[0])
        (old,) = t.read(at, 1)
        t.write(at, bytes([old ^ 1 << at % 8]))
    elif cmd == "craft":
        t.craft(*map(int, args))
    elif cmd == "zero":
        t.write(int(args[0]), bytes(int(args[1])))
    elif cmd == "clock":
        print(t.clock())
    elif cmd == "unclock":
        t.unclock()
    elif cmd == "tick":
        t.tick()
    else:
        sys.exit(__doc__)


if len(sys.argv) < 3:
    sys.exit(__doc__)
for each in sys.argv[2].split(","):
    main(sys.argv[1], each, *sys.argv[3:])
