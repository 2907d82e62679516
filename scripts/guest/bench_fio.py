"""How it is measured: rows of the table, and fio, which makes the load.

All rows of an array and all their rounds are played by one fio, one job after
the other. Before and after each job, the clock, the CPU's idle time and the
counters of the members are noted ("marks"). What the CPU did in between, less
what it takes to start a job, is the cost of the requests: in virtual time, a
nanosecond is an instruction.
"""
import dataclasses, json, os, random, re, shutil, statistics, sys

from bench_devices import DATA_MIB, get, run, say

DIR = "/tmp/bench"
TARGET = f"{DIR}/target"    # a symbolic link to the device
CHUNK = 64 << 10            # cold writes: one to each of these
HOT_MIB = 64                # what is written to again and again
FRESH = 1 << 30             # from here on, each round writes where nobody did before
AGING_MIB = 1024
PLAYED = []                 # jobs between marks: name, threads
UNITS = {"4k": 4 << 10, "64k": 64 << 10, "1m": 1 << 20}


@dataclasses.dataclass
class Row:
    work: str               # name of the workload
    about: str
    rw: str                 # as fio calls it
    bs: str
    load: str               # queue depth, or threads x depth of each
    count: int              # requests
    area: str               # hot: written before; fresh: not; cold: one to each
                            # chunk; aging: like hot, but larger; whole: of the array
    options: dict           # more of fio's
    seconds: int = 0        # by time, not by count

    def __post_init__(self):
        threads, _, depth = self.load.rpartition("x")
        self.threads, self.depth = int(threads or 1), int(depth)
        self.key = f"{self.work}-{self.load}"


def rows(work, about, rw, bs, loads, area, seconds=0, **options):
    return [Row(work, about, rw, bs, load, count, area, options, seconds)
            for load, count in loads.items()]


# ---- what fio is told ----------------------------------------------------------

GLOBAL = dict(filename=TARGET, thread=1, direct=1, ioengine="libaio", norandommap=1,
              group_reporting=1, clocksource="clock_gettime", allow_mounted_write=1,
              disk_util=0, clat_percentiles=0, lat_percentiles=1,
              percentile_list="50:99:99.9")


def section(name, **options):
    return "\n".join([f"[{name}]"] + [f"{k}={v}" for k, v in options.items()]) + "\n"


def iolog(at, count):
    """a log for fio to play: one block in each of count chunks, in any order"""
    path = f"/tmp/iolog-{at}-{count}"
    if not os.path.exists(path):
        rand = random.Random(at)
        spots = [at + i * CHUNK + rand.randrange(CHUNK // 4096) * 4096 for i in range(count)]
        rand.shuffle(spots)
        with open(path, "w") as f:
            f.write(f"fio version 2 iolog\n{TARGET} add\n{TARGET} open\n")
            f.writelines(f"{TARGET} write {spot} 4096\n" for spot in spots)
            f.write(f"{TARGET} close\n")
    return path


class Script:
    """of one run of fio"""

    def __init__(self, members, warm, threads):
        # writes and flushes of metadata; how far a recovery is
        # the version is for scripts/profile, to notice
        files = ["/proc/version", "/proc/timer_list", *(f"/sys/block/{m.meta}/stat" for m in members),
                 "/proc/mdstat"]
        self.mark = "cat " + " ".join(files)
        self.warm = warm
        self.fresh = FRESH
        self.text = section("global", **GLOBAL)
        for n in threads:
            self.job(f"start-{n}", n, rw="randread", bs="4k", number_ios=1, size="64m")

    def job(self, name, threads, **options):
        PLAYED.append((name, threads))
        options = dict(stonewall=1, numjobs=threads, **options)
        if threads == 1:
            self.text += section(name, **options, exec_prerun=self.mark, exec_postrun=self.mark)
            return
        # each thread would make its own marks
        mark = dict(stonewall=1, ioengine="null", rw="read", size="4k", exec_prerun=self.mark)
        self.text += section(name + ".before", **mark)
        self.text += section(name, **options)
        self.text += section(name + ".after", **mark)

    def where(self, row):
        """fio's options for what a row writes to"""
        share = row.count // row.threads
        if row.area == "whole":
            return {}
        if row.area == "hot":
            return dict(offset=0, size=f"{HOT_MIB}m")
        if row.area == "aging":
            return dict(offset=FRESH, size=f"{AGING_MIB}m")
        area = share * (CHUNK if row.area == "cold" else UNITS[row.bs])
        at = self.fresh
        # chunks of 64 MiB are to be fresh, too, and bits that were set ahead are not
        self.fresh += -(-(area * row.threads + (16 << 20)) >> 26) << 26
        if self.fresh > DATA_MIB << 20:
            sys.exit("no room for so many rounds")
        # fio adds no flushes to a log that it plays
        if row.area == "cold" and row.threads == 1 and "fsync" not in row.options:
            return dict(read_iolog=iolog(at, row.count))
        return dict(offset=at, size=area, offset_increment=area)

    def row(self, row, turn):
        if row.area == "hot" and self.warm:
            self.text += section(f"warm-{row.key}-{turn}", stonewall=1, iodepth=8, rw="write",
                                 bs="64k", size=f"{HOT_MIB}m")
        options = dict(iodepth=row.depth, randseed=turn + 1, **self.where(row), **row.options)
        if "read_iolog" not in options:
            options.update(rw=row.rw, bs=row.bs)
            if row.seconds:
                options.update(time_based=1, runtime=row.seconds)
            else:
                options.update(number_ios=row.count // row.threads)
        self.job(f"{row.key}.{turn}", row.threads, **options)

    def play(self, dev):
        """what fio says of each job"""
        os.symlink(str(dev), TARGET)
        with open(f"{DIR}/script", "w") as f:
            f.write(self.text)
        run("fio", "--output-format=json", "--output=result", "script", cwd=DIR)
        text = get(f"{DIR}/result")
        # there are remarks before it
        said, _ = json.JSONDecoder().raw_decode(text[text.index("{\n"):])
        return {job["jobname"]: job for job in said["jobs"]}


# ---- what came of it -----------------------------------------------------------

class Mark:
    def __init__(self, text):
        def number(name):
            return int(re.search(name + r"\D*(\d+) nsecs", text)[1])
        self.busy = number("now at") - number(r"\.idle_sleeptime") - number(r"\.iowait_sleeptime")
        self.now = number("now at")
        lines = [line.split() for line in text.splitlines()]
        stats = [list(map(int, words)) for words in lines
                 if len(words) > 15 and all(map(str.isdigit, words))]
        self.members = len(stats)
        # a flush is counted as a write as well
        self.writes = sum(s[4] - s[15] for s in stats)
        self.flushes = sum(s[15] for s in stats)
        done = re.search(r"% \((\d+)/\d+\)", text)
        self.recovered = int(done[1]) if done else 0


class Span:
    """between the two marks of a job"""

    def __init__(self, name, threads):
        if threads == 1:
            files = f"{name}.prerun.txt", f"{name}.postrun.txt"
        else:
            files = f"{name}.before.prerun.txt", f"{name}.after.prerun.txt"
        a, b = (Mark(get(f"{DIR}/{f}")) for f in files)
        self.busy = b.busy - a.busy
        # on each member
        self.writes = (b.writes - a.writes) / max(a.members, 1)
        self.flushes = (b.flushes - a.flushes) / max(a.members, 1)
        self.recovered = (b.recovered - a.recovered) * 1e9 / (b.now - a.now)


def turn_result(row, job, span, start):
    """what one round of a row has shown"""
    reads, writes = job["read"], job["write"]
    ios = reads["total_ios"] + writes["total_ios"]
    ms = max(reads["runtime"], writes["runtime"])
    # the flush is what takes its time, where there is one
    slowest = next(job[kind] for kind in ("sync", "write", "read") if job[kind]["total_ios"])
    percentile = slowest["lat_ns"]["percentile"]
    got = dict(iops=ios * 1000 / ms, p50=percentile["50.000000"], p99=percentile["99.000000"],
               p999=percentile["99.900000"],
               instructions=(span.busy - start.busy) / max(ios - row.threads, 1))
    if writes["total_ios"]:
        got["meta_writes"] = span.writes * 1000 / writes["total_ios"]
        got["meta_flushes"] = span.flushes * 1000 / writes["total_ios"]
    if row.seconds:
        got["recovered"] = span.recovered       # KiB/s
    return got


def median(got):
    cell = {key: round(statistics.median(g[key] for g in got), 1) for key in got[0]}
    cell["rounds"] = [round(g["iops"]) for g in got]
    return cell


def measure(name, dev, members, picked, rounds, warm):
    """cells of the table, by row"""
    if not picked:
        return {}
    shutil.rmtree(DIR, ignore_errors=True)
    os.mkdir(DIR)
    threads = {row.threads for row in picked}
    script = Script(members, warm, threads)
    for turn in range(rounds):
        for row in picked:
            script.row(row, turn)
    said = script.play(dev)
    start = {n: Span(f"start-{n}", n) for n in threads}
    cells = {}
    for row in picked:
        names = [f"{row.key}.{turn}" for turn in range(rounds)]
        cells[row.key] = cell = median([
            turn_result(row, said[n], Span(n, row.threads), start[row.threads]) for n in names])
        say(f"{name:14} {row.key:12} {' '.join(map(str, cell['rounds']))} IOPS,"
            f" p99 {cell['p99'] / 1000:.0f} us, {cell['instructions'] / 1000:.1f} k instructions")
    return cells
