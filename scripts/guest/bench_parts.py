"""What is measured: the parts, one function each.

A part has arrays and rows; a cell is what was measured of a row on an array.
Arrays are named IMPLEMENTATION-VARIANT, but for "bare", one member without md.
"""
import os
import time

import bench_devices as dev
from bench_devices import MD, get, leave, member, put, run, say
from bench_fio import Mark, measure, rows

BITMAPS = {"none": None, "64m": "64M", "64k": "64K"}


class Part:
    """cells, as they come; what is picked of them"""

    def __init__(self, only, rounds):
        self.only, self.rounds = tuple(only), rounds
        self.arrays, self.rows, self.cells = [], {}, {}

    def plan(self, arrays, about):
        """names of arrays, and of rows with what they are"""
        keys = [key for key in about if key.startswith(self.only)]
        names = [name for name in arrays if name.startswith(self.only)]
        if keys or names or not self.only:
            # a word for the one says nothing of the other
            self.rows = {key: about[key] for key in keys or about}
            self.arrays = names or arrays

    def plan_rows(self, variants, table, bare=True):
        names = [f"{i}-{v}" for i in dev.IMPLEMENTATIONS for v in variants]
        self.plan(["bare"] * bare + names, {r.key: r.about for r in table})
        self.table = [r for r in table if r.key in self.rows]

    def loaded(self):
        """each implementation, while it is loaded"""
        for impl in dev.IMPLEMENTATIONS:
            if any(a.startswith(impl) for a in self.arrays):
                dev.load(impl)
                yield impl
                dev.unload(impl)

    def add(self, array, cells):
        self.cells.setdefault(array, {}).update(cells)

    def bare(self):
        if "bare" in self.arrays:
            self.add("bare", measure("bare", dev.bare(), [dev.bare()], self.table,
                                     self.rounds, warm=False))

    def array(self, name, members, picked=None, warm=False):
        picked = self.table if picked is None else picked
        self.add(name, measure(name, MD, members, picked, self.rounds, warm))


# ---- writes --------------------------------------------------------------------

def cold(**loads):
    return rows("cold", "4 KiB random writes, bits clear", "write:60k", "4k", loads, "cold")


HOT = rows("hot", "4 KiB random writes, bits set", "randwrite", "4k",
           {"1": 2000, "32": 6000, "8x4": 6000}, "hot")
COLD = cold(**{"1": 1500, "32": 4000, "128": 6000, "32x1": 4096})
FLUSHED = \
    rows("hotflush", "4 KiB, each followed by a flush, bits set", "randwrite", "4k",
         {"1": 800, "8x1": 2400}, "hot", fsync=1) + \
    rows("coldflush", "4 KiB, each followed by a flush, bits clear", "write:60k", "4k",
         {"1": 800, "8x1": 2400}, "cold", fsync=1)
MIXED = rows("mixed", "4 KiB random, 70 % reads, bits set", "randrw", "4k",
             {"1": 2000, "32": 6000}, "hot", rwmixread=70)
STREAMS = \
    rows("seq64k", "64 KiB sequential writes", "write", "64k",
         {"1": 1500, "32": 4000, "4x8": 4000}, "fresh") + \
    rows("seq1m", "1 MiB sequential writes", "write", "1m",
         {"1": 600, "32": 1600, "4x8": 1600}, "fresh", mem="mmaphuge")
# bits are set, age, and are cleared again, all the time
AGING = rows("aging", "4 KiB random writes, bits come and go", "randwrite", "4k",
             {"32": 20000}, "aging")
AGING_BASE = "0.1"          # seconds from one pass to the next
PATHS = HOT + COLD + FLUSHED + MIXED + STREAMS + AGING


def rows_for(part, bitmap):
    """all but those that need more chunks than there are"""
    return [r for r in part.table if r.work != "aging" and
            not (r.area == "cold" and bitmap == "64m")]


def aging(part, name, members, bitmap):
    picked = [r for r in part.table if r.work == "aging" and bitmap != "64m"]
    if picked and bitmap != "none":
        dev.time_base(AGING_BASE)
    part.array(name, members, picked)


def paths(part):
    part.plan_rows(BITMAPS, PATHS)
    part.bare()
    members = [member(0), member(1)]
    for impl in part.loaded():
        for bitmap, chunk in BITMAPS.items():
            name = f"{impl}-{bitmap}"
            if name not in part.arrays:
                continue
            dev.create(members, chunk)
            part.array(name, members, rows_for(part, bitmap), warm=bool(chunk))
            aging(part, name, members, bitmap)
            dev.stop(members)


def degraded(part):
    """two of four slots are vacant; their members were there"""
    bitmaps = {name: BITMAPS[name] for name in ("none", "64k")}
    part.plan_rows(bitmaps, [r for r in HOT + COLD if r.load == "32"] + AGING, bare=False)
    members = [member(n) for n in range(4)]
    for impl in part.loaded():
        for bitmap, chunk in bitmaps.items():
            name = f"{impl}-{bitmap}"
            if name not in part.arrays:
                continue
            dev.create(members, chunk)
            leave(members[2])
            leave(members[3])
            part.array(name, members[:2], rows_for(part, bitmap), warm=bool(chunk))
            aging(part, name, members[:2], bitmap)
            dev.stop(members)


# ---- beside a recovery -----------------------------------------------------------

RECOVERY_KIB = 20000        # a second


def recovery(part):
    """a member is being recovered, with the same speed for both"""
    def load(work, about, rw):
        # md holds the speed by pausing now and then: so by time, not by count
        return rows(work, about, rw, "4k", {"1": 0, "32": 0}, "whole", seconds=2)
    table = load("write", "4 KiB random writes, bits set", "randwrite") + \
        load("read", "4 KiB random reads", "randread")
    part.plan_rows(["64k"], table, bare=False)
    # its rounds are long
    part.rounds = max(1, part.rounds // 3)
    members = [member(0), member(1)]
    for impl in part.loaded():
        name = f"{impl}-64k"
        dev.create(members, "64K", mib=1024 * part.rounds)
        leave(members[1])
        dev.zero(members[1])
        run("fio", "--name=x", f"--filename={MD}", "--direct=1", "--ioengine=libaio",
            "--iodepth=8", "--rw=write", "--bs=64k", "--output=/dev/null")
        dev.sync_speed(RECOVERY_KIB, RECOVERY_KIB)
        run("mdadm", "--quiet", MD, "--add", members[1])
        dev.until("the recovery to begin", dev.copying)
        time.sleep(3)
        part.array(name, members)
        if not dev.copying():
            raise SystemExit("the recovery was over too soon")
        dev.sync_speed(1000, 200000)
        dev.stop(members)


# ---- reads ---------------------------------------------------------------------

READS = \
    rows("read", "4 KiB random reads", "randread", "4k",
         {"1": 2000, "32": 6000, "8x1": 4000, "8x4": 6000}, "hot") + \
    rows("seqread", "64 KiB sequential reads", "read", "64k",
         {"1": 1500, "32": 4000, "4x8": 4000}, "fresh")
SECOND = {"equal": "two equal members",
          "slow": "the second takes 1 ms",
          "mostly": "the second is write-mostly"}


def reads(part):
    part.plan_rows(SECOND, READS)
    part.bare()
    for impl in part.loaded():
        for second in SECOND:
            if f"{impl}-{second}" not in part.arrays:
                continue
            members = [member(0), dev.slow_member() if second == "slow" else member(1)]
            dev.create(members, options=["--write-mostly"] if second == "mostly" else [])
            part.array(f"{impl}-{second}", members)
            dev.stop(members)


# ---- copying -------------------------------------------------------------------

SYNC_MIB = 1024
GRAINS = 16384              # of 4 KiB, one in each 64 KiB of the array
SYNCS = {"resync": "resync, 1 GiB", "recovery": "recovery of a new member, 1 GiB",
         "return-64k": "return of a member that lacks 16,384 x 4 KiB, chunks of 64 KiB",
         "return-64m": "the same, chunks of 64 MiB"}


def lack(m):
    """a member leaves, and what it then lacks is written"""
    leave(m)
    run("fio", "--name=x", f"--filename={MD}", "--direct=1", "--ioengine=libaio",
        "--iodepth=32", "--rw=write:60k", "--bs=4k", f"--number_ios={GRAINS}",
        "--output=/dev/null")


def sync_one(kind):
    """seconds, and bytes written to the second member"""
    members = [member(0), member(1)]
    second = members[1]
    if kind == "resync":
        before = second.moved()
        dev.create(members, "64K", mib=SYNC_MIB, in_sync=False)
    elif kind == "recovery":
        dev.create(members[:1], "64K", slots=2, mib=SYNC_MIB)
        before = second.moved()
        run("mdadm", "--quiet", MD, "--add", second)
    else:
        dev.create(members, kind[-3:].upper(), mib=SYNC_MIB)
        lack(second)
        before = second.moved()
        run("mdadm", "--quiet", MD, "--re-add", second)
    seconds = dev.copied()
    written = second.moved() - before
    dev.stop(members)
    return seconds, written


def sync(part):
    """as fast as it goes"""
    part.plan(list(dev.IMPLEMENTATIONS), SYNCS)
    dev.sync_speed(10 << 20, 10 << 20)
    for impl in part.loaded():
        for kind in part.rows:
            seconds, written = sync_one(kind)
            mib = written / (1 << 20)
            part.add(impl, {kind: dict(seconds=round(seconds, 3), mib=round(mib, 1),
                                       mib_per_s=round(mib / seconds, 1))})
            say(f"{impl:9} {kind:10} {seconds:.3f} s, {mib:.1f} MiB")
    dev.sync_speed(1000, 200000)


# ---- growth --------------------------------------------------------------------

def growth(part):
    """of arrays in members; "paths" has those of two"""
    part.plan_rows(["3", "8"], [r for r in HOT + COLD if r.load == "32"], bare=False)
    for impl in part.loaded():
        for count in (3, 8):
            if f"{impl}-{count}" not in part.arrays:
                continue
            members = [member(n) for n in range(count)]
            dev.create(members, "64K")
            part.array(f"{impl}-{count}", members, warm=True)
            dev.stop(members)


SIZES = {"1g": ("1 GiB", 1 << 10), "64g": ("64 GiB", 64 << 10),
         "4t": ("4 TiB", 4 << 20), "64t": ("64 TiB", 64 << 20)}


def memory():
    """KiB: available, and used by vmalloc"""
    put("/proc/sys/vm/drop_caches", 3)
    time.sleep(0.1)
    info = dict(line.split(":") for line in get("/proc/meminfo").splitlines())
    return [int(info[key].split()[0]) for key in ("MemAvailable", "VmallocUsed")]


def clock():
    mark = Mark(get("/proc/timer_list"))
    return mark.now, mark.busy


def assemble(members):
    """what the start of an array takes"""
    available, vmalloc = memory()
    read = members[0].moved(read=True)
    now, busy = clock()
    run("mdadm", "--quiet", "--assemble", MD, *members)
    dev.until("the array to run", dev.running, step=0.001)
    then, still_busy = clock()
    got = dict(ms=(then - now) / 1e6, cpu_ms=(still_busy - busy) / 1e6,
               read_kib=(members[0].moved(read=True) - read) / 1024)
    left, vmalloc_now = memory()
    return dict(**got, memory_kib=available - left, vmalloc_kib=vmalloc_now - vmalloc)


def sizes(part):
    """growth of arrays in size: their assembly"""
    part.plan(list(dev.IMPLEMENTATIONS), {k: f"array of {v[0]}" for k, v in SIZES.items()})
    members = {key: [dev.Member(f"{key}{n}", SIZES[key][1]) for n in "ab"] for key in part.rows}
    for impl in part.loaded():
        for key in part.rows:
            dev.create(members[key], "default")
            got = []
            for _ in range(part.rounds):
                dev.stop()
                got.append(assemble(members[key]))
            dev.stop(members[key])
            cell = {k: round(sorted(g[k] for g in got)[len(got) // 2], 1) for k in got[0]}
            part.add(impl, {key: cell})
            say(f"{impl:9} {key:4} {cell}")


def cpus(part):
    """as many as the machine has: what a request costs all of them together

    They take turns under emulation, and time is the sum of what they do. So with
    loads that keep one of them busy at any time, it is what requests cost.
    """
    count = os.cpu_count()
    variants = {f"{bitmap}/{count}": bitmap for bitmap in ("none", "64k")}
    part.plan_rows(variants, [r for r in HOT + COLD + READS if r.key in CPU_ROWS], bare=False)
    members = [member(0), member(1)]
    for impl in part.loaded():
        for variant, bitmap in variants.items():
            name = f"{impl}-{variant}"
            if name not in part.arrays:
                continue
            dev.create(members, BITMAPS[bitmap])
            part.array(name, members, warm=bitmap != "none")
            dev.stop(members)
            for cell in part.cells[name].values():
                cell["instructions"] = round(1e9 / cell["iops"], 1)


CPU_ROWS = ("hot-8x4", "cold-32x1", "read-8x4")
PARTS = {"paths": paths, "degraded": degraded, "recovery": recovery, "reads": reads,
         "sync": sync, "growth": growth, "sizes": sizes, "cpus": cpus}


def play(name, only, rounds):
    part = Part(only, rounds)
    say(f"--- {name}")
    _, before = clock()
    PARTS[name](part)
    _, busy = clock()
    say(f"{name} took {(busy - before) / 1e9:.0f} G instructions")
    return dict(rounds=part.rounds, rows=part.rows, arrays=part.arrays, cells=part.cells)
