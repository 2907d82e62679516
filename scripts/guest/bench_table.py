"""The tables: from what bench.json has, nothing is measured here."""
from bench_devices import IMPLEMENTATIONS, LATENCY, META_MIB

TITLES = {
    "paths": "Writes",
    "degraded": "Two of four slots are vacant",
    "recovery": "Beside a recovery of 20 MB/s",
    "reads": "Reads",
    "sync": "Copying, as fast as it goes",
    "growth": "By the number of members, chunks of 64 KiB",
    "sizes": "Assembly of a clean array, by its size",
    "cpus": "By the number of processors, which take turns: instructions of all of them",
}


def ratio(a, b):
    return f"{a / b:.2f}" if a and b else "-"


def no_bitmap(array):
    """the same, without one"""
    name, slash, cpus = array.partition("/")
    return f"{name.rpartition('-')[0]}-none{slash}{cpus}"


def number(n, unit=1):
    return "-" if n is None else f"{n / unit:.0f}"


def iops_table(part, limits):
    """arrays with and without bitmaps, or other variants, side by side"""
    cells = part["cells"]
    variants = list(dict.fromkeys(a[len(i) + 1:] for a in part["arrays"] for i in IMPLEMENTATIONS
                                  if a.startswith(i + "-")))

    def cell(array, key, field="iops"):
        return cells.get(array, {}).get(key, {}).get(field)

    def meta(array, key):
        writes, flushes = cell(array, key, "meta_writes"), cell(array, key, "meta_flushes")
        return "-" if writes is None else f"{writes:.0f}+{flushes:.0f}"

    line = "{:<44}{:>5} {:<7}{:>7}{:>7}{:>9}{:>7} {:>6}{:>6} {:>6}{:>6} {:>6}{:>6} {:>10}{:>10}"
    print(line.format("", "", "", "IOPS", "", "", "to", "of", "none", "p99", "us", "k ins", "truct.",
                      "metadata", ""))
    print(line.format("", "load", "", "bare", "stock", "md-raid1", "stock", *["stock", "ours"] * 4))
    for key, about in part["rows"].items():
        load = key.rpartition("-")[2]
        for variant in variants:
            both = [f"{i}-{variant}" for i in IMPLEMENTATIONS]
            s, o = (cell(array, key) for array in both)
            if s is None and o is None:
                continue
            print(line.format(
                about, load, variant, number(limits.get(key, {}).get("iops")), number(s), number(o),
                ratio(o, s), *(ratio(cell(a, key), cell(no_bitmap(a), key)) for a in both),
                *(number(cell(a, key, "p99"), 1000) for a in both),
                *(number(cell(a, key, "instructions"), 1000) for a in both),
                *(meta(a, key) for a in both)))


def plain_table(part, columns):
    """one line for each row and implementation; columns: field, title"""
    line = "{:<70}{:<10}" + "{:>13}" * len(columns)
    print(line.format("", "", *columns.values()))
    for key, about in part["rows"].items():
        for impl, cells in part["cells"].items():
            if key in cells:
                print(line.format(about, impl, *(cells[key][field] for field in columns)))


def slower(name, part):
    """rows in which md-raid1 is not as good as it should be"""
    cells = part["cells"]
    for array in cells:
        if not array.startswith("md-raid1"):
            continue
        for key, cell in cells[array].items():
            rate = "iops" if "iops" in cell else "mib_per_s"
            stock = cells.get(array.replace("md-raid1", "stock"), {}).get(key, {}).get(rate)
            none = cells.get(no_bitmap(array), {}).get(key, {}).get(rate)
            if rate not in cell:
                continue
            # fio counts whole milliseconds
            # what a return does not have to copy does not count against it
            if stock and cell[rate] < 0.98 * stock and not key.startswith("return"):
                yield f"{name}: {array} {key}: {ratio(cell[rate], stock)} of stock"
            if none and cell[rate] < 0.9 * none:
                yield f"{name}: {array} {key}: {ratio(cell[rate], none)} of none"


def tables(parts):
    bare = {}
    for part in parts.values():
        bare.update(part["cells"].get("bare", {}))
    for name, part in parts.items():
        print(f"\n{TITLES[name]}\n")
        if name == "sync":
            plain_table(part, dict(seconds="seconds", mib="MiB written", mib_per_s="MiB/s"))
        elif name == "sizes":
            plain_table(part, dict(ms="ms", cpu_ms="ms of CPU", read_kib="KiB read",
                                   memory_kib="KiB memory", vmalloc_kib="KiB vmalloc"))
        else:
            iops_table(part, bare)
        if name == "recovery":
            for array, cells in part["cells"].items():
                print(f"{array}: the recovery did", ", ".join(
                    f"{cell['recovered'] / 1000:.1f} MB/s beside {key}"
                    for key, cell in cells.items()))
    print(f"""
IOPS are medians in virtual time: 1 CPU (but for the last part), 1 ns for each instruction (so a cache
miss costs nothing), and members that take {LATENCY // 1000} us for any request. Bare is one
member without md. Load: queue depth, or threads x depth of each. Of none: beside
the same implementation without a bitmap. p99: of 100 requests, 99 take no longer
(of flushes, where there are any). Instructions: thousands for each request,
those of fio and the members included. Metadata: writes + flushes on each member for
1,000 writes of the user, flushes by the user included. The first {META_MIB} MiB of a
member are for metadata; more in scripts/guest/bench_devices.py.
""")
    for name, part in parts.items():
        for remark in slower(name, part):
            print(f"slower: {remark}")
