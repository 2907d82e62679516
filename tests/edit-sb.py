#!/usr/bin/python3
"""Reads and changes what md keeps on a member (metadata 1.2), for tests.

usage: edit-sb.py FILE bitmap-at		byte offset of the bitmap
       edit-sb.py FILE bitmap FIELD[=VALUE]...	its superblock
       edit-sb.py FILE super FIELD[=VALUE]...	md's superblock; its checksum is
						made right, unless it is given
A field without a value is printed. FILE may be several: FILE,FILE...
"""
import struct
import sys

SUPER_AT = 4096
SUPER = {
    "magic": (0, "<I"), "feature_map": (8, "<I"), "level": (72, "<i"),
    "layout": (76, "<I"), "size": (80, "<Q"), "chunksize": (88, "<I"),
    "raid_disks": (92, "<I"), "bitmap_offset": (96, "<i"),
    "data_offset": (128, "<Q"), "data_size": (136, "<Q"),
    "super_offset": (144, "<Q"), "recovery_offset": (152, "<Q"),
    "dev_number": (160, "<I"), "bblog_shift": (185, "<B"),
    "bblog_size": (186, "<H"), "bblog_offset": (188, "<i"),
    "events": (200, "<Q"), "resync_offset": (208, "<Q"),
    "sb_csum": (216, "<I"), "max_dev": (220, "<I"),
    "role0": (256, "<H"), "role1": (258, "<H"), "role2": (260, "<H"),
}
BITMAP = {
    "magic": (0, "<I"), "version": (4, "<I"), "uuid0": (8, "<I"),
    "events": (24, "<Q"), "events_cleared": (32, "<Q"),
    "sync_size": (40, "<Q"), "state": (48, "<I"), "chunksize": (52, "<I"),
    "daemon_sleep": (56, "<I"), "write_behind": (60, "<I"),
    "sectors_reserved": (64, "<I"), "nodes": (68, "<I"),
}


def checksum(sb):
    (max_dev,) = struct.unpack_from("<I", sb, 220)
    data = bytearray(sb[:256 + 2 * max_dev])
    data[216:220] = bytes(4)
    tail = len(data) % 4
    words = struct.unpack_from("<%dI" % (len(data) // 4), data)
    total = sum(words)
    if tail == 2:
        total += struct.unpack_from("<H", data, len(data) - 2)[0]
    return ((total & 0xffffffff) + (total >> 32)) & 0xffffffff


def edit(buf, fields, args):
    changed = False
    for arg in args:
        name, _, value = arg.partition("=")
        at, form = fields[name]
        if value:
            struct.pack_into(form, buf, at, int(value, 0))
            changed = True
        else:
            print(struct.unpack_from(form, buf, at)[0])
    return changed


def main(name, what, *args):
    with open(name, "r+b") as f:
        f.seek(SUPER_AT)
        sb = bytearray(f.read(4096))
        assert struct.unpack_from("<I", sb)[0] == 0xa92b4efc, "no md superblock"
        bitmap_at = SUPER_AT + 512 * struct.unpack_from("<i", sb, 96)[0]
        if what == "bitmap-at":
            print(bitmap_at)
        elif what == "super":
            if edit(sb, SUPER, args):
                if not any(a.startswith("sb_csum=") for a in args):
                    struct.pack_into("<I", sb, 216, checksum(sb))
                f.seek(SUPER_AT)
                f.write(sb)
        elif what == "bitmap":
            f.seek(bitmap_at)
            bm = bytearray(f.read(512))
            if edit(bm, BITMAP, args):
                f.seek(bitmap_at)
                f.write(bm)
        else:
            sys.exit(__doc__)


if len(sys.argv) < 3:
    sys.exit(__doc__)
for each in sys.argv[1].split(","):
    main(each, *sys.argv[2:])
