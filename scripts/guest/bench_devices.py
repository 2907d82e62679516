"""What is measured: members made of null block devices, and arrays of them.

A member is made of two null block devices, joined by dm-linear: the first
16 MiB keep what is written, for md's metadata, and have a write cache, so that
flushes and FUA cost something; the rest holds no data, so that no time is spent
on copying what a disk would fetch by itself. Both end each request by an
interrupt, LATENCY after it was sent. So every write of the first device is a
write of metadata.
"""
import functools, os, re, subprocess, sys, time

LATENCY = 50_000            # ns
META_MIB = 16
HUGE_PAGES = 40             # of 2 MiB, for fio's buffers
DATA_MIB = 30 << 10         # more, and mdadm has no room for a bitmap of 64 KiB chunks
MD = "/dev/md0"
IMPLEMENTATIONS = {"stock": "raid1", "md-raid1": "md_raid1"}

began = time.monotonic()


def say(text):
    print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)


def run(*cmd, **kw):
    """its output; what it complains of is shown if it fails"""
    done = subprocess.run(list(map(str, cmd)), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, **kw)
    if done.returncode:
        subprocess.call("dmesg | tail", shell=True)
        sys.exit(f"failed: {' '.join(done.args)}\n{done.stdout}{done.stderr}")
    return done.stdout


def put(path, value):
    with open(path, "w") as f:
        f.write(f"{value}\n")


def get(path):
    with open(path) as f:
        return f.read()


def until(what, condition, seconds=600, step=0.1):
    for _ in range(int(seconds / step)):
        if condition():
            return
        time.sleep(step)
    sys.exit(f"waited in vain for: {what}")


def setup():
    # a line on the console takes its time
    run("dmesg", "-n", "1")
    run("modprobe", "-a", "md-mod", "null_blk", "dm-mod")
    # a request is cut by how its pages lie in memory, which is another thing after
    # each boot, unless they lie side by side
    put("/proc/sys/vm/nr_hugepages", HUGE_PAGES)


# ---- members -------------------------------------------------------------------

def null(name, mib, latency, **attrs):
    d = f"/sys/kernel/config/nullb/{name}"
    os.mkdir(d)
    # irqmode 2: a timer's interrupt ends the request
    # max_sectors: as much as disks mostly take, the default is 127 KiB
    for key, value in dict(size=mib, irqmode=2, completion_nsec=latency, max_sectors=2560,
                           hw_queue_depth=256, submit_queues=os.cpu_count(), **attrs,
                           power=1).items():
        put(f"{d}/{key}", value)
    put(f"/sys/block/{name}/queue/scheduler", "none")


def linear(name, parts):
    """a device made of others, given with their MiB"""
    at, table = 0, ""
    for part, mib in parts:
        table += f"{at} {mib << 11} linear /dev/{part} 0\n"
        at += mib << 11
    run("dmsetup", "create", "--noudevsync", "--noudevrules", name, "--table", table)
    path = f"/dev/mapper/{name}"
    if not os.path.exists(path):
        run("dmsetup", "mknodes", name)
    return path


class Member:
    def __init__(self, name, mib=DATA_MIB, latency=LATENCY, meta_first=True):
        self.meta, self.data = f"meta{name}", f"data{name}"
        null(self.meta, META_MIB, latency, memory_backed=1, cache_size=META_MIB)
        null(self.data, mib, latency, memory_backed=0)
        parts = [(self.meta, META_MIB), (self.data, mib)]
        self.path = linear(f"m{name}", parts if meta_first else parts[::-1])

    def __str__(self):
        return self.path

    def moved(self, read=False):
        """bytes that were written to it, or read, so far"""
        return sum(int(get(f"/sys/block/{dev}/stat").split()[2 if read else 6]) * 512
                   for dev in (self.meta, self.data))


@functools.cache
def member(n):
    return Member(n)


@functools.cache
def slow_member():
    return Member("slow", latency=1_000_000)


@functools.cache
def bare():
    """the limit: what a member is without md; here its data come first"""
    return Member("bare", meta_first=False)


# ---- implementations and arrays ------------------------------------------------

def load(impl):
    if impl == "stock":
        run("modprobe", "raid1")
    else:
        run("insmod", "/job/md-raid1.ko")


def unload(impl):
    run("rmmod", IMPLEMENTATIONS[impl])


def sync_speed(low, high):
    """KiB/s"""
    # the lower one may not be above the other, in whatever order
    put("/proc/sys/dev/raid/speed_limit_min", 0)
    put("/proc/sys/dev/raid/speed_limit_max", high)
    put("/proc/sys/dev/raid/speed_limit_min", low)


def attr(name, value=None):
    path = f"/sys/block/md0/md/{name}"
    return get(path).strip() if value is None else put(path, value)


def bits_set(dev):
    for line in run("mdadm", "-X", dev).splitlines():
        if "Bitmap :" in line:
            return int(line.split(",")[1].split()[0])
    sys.exit(f"no bitmap on {dev}")


def time_base(seconds):
    # md core's attributes give way to ours a moment after the start
    for _ in range(100):
        try:
            return attr("bitmap/time_base", seconds)
        except OSError:
            time.sleep(0.1)
    sys.exit("cannot set bitmap/time_base")


def clear_bits(members):
    """all bits are cleared, and none is from here on"""
    time_base(1)
    until("bits to be cleared", lambda: not any(map(bits_set, members)), step=1)
    time_base(600)


def running():
    return os.path.exists("/sys/block/md0/md") and \
        attr("array_state") in ("clean", "active", "active-idle", "read-auto")


def settle(members, chunk):
    until("the array to run", running)
    # an array that is clean now and then has its superblocks written, and that
    # has nothing to do with the bitmap
    attr("safe_mode_delay", 0)
    if chunk:
        clear_bits(members)


def create(members, chunk=None, slots=None, mib=None, in_sync=True, options=()):
    """an array, its bits clear; mib: its size; options: of its last member"""
    bitmap = ["--bitmap=internal"] if chunk else ["--bitmap=none"]
    if chunk and chunk != "default":
        bitmap = [f"--bitmap-chunk={chunk}"] + bitmap
    if in_sync:
        bitmap.append("--assume-clean")
    if mib:
        bitmap.append(f"--size={mib}M")
    slots = slots or len(members)
    devs = list(members)
    devs[-1:-1] = options
    run("mdadm", "--quiet", "--create", MD, "--run", "--level=1", "--metadata=1.2",
        f"--data-offset={META_MIB}M", "-n", str(slots), *bitmap, *devs,
        *["missing"] * (slots - len(members)))
    settle(members, chunk if in_sync else None)


def stop(members=()):
    """the array; members that are given become blank again"""
    run("mdadm", "--quiet", "--stop", MD)
    for m in members:
        zero(m)


def zero(m):
    run("mdadm", "--quiet", "--zero-superblock", m)


def leave(m):
    """a member fails and is removed"""
    run("mdadm", "--quiet", MD, "--fail", m)

    def removed():
        return not subprocess.call(["mdadm", "--quiet", MD, "--remove", str(m)],
                                   stderr=subprocess.DEVNULL)
    until(f"{m} to be removed", removed)


def copying():
    return re.search(r"(recovery|resync) *=", get("/proc/mdstat")) is not None


def copied():
    """after a resync or recovery: seconds that it took, by the kernel's log"""
    def idle():
        return attr("sync_action") == "idle" and not copying()
    # it may be about to begin
    time.sleep(0.5)
    until("copying to end", idle, step=0.2)
    times = {}
    for line in run("dmesg").splitlines():
        found = re.match(r"\[ *([\d.]+)\] md: (?:(\w+) of RAID array md0|md0: (\w+) done)", line)
        if found:
            times["end" if found[3] else "start"] = float(found[1])
    if int(attr("degraded")) or "end" not in times or times["end"] < times["start"]:
        sys.exit("copying did not end well:\n" + get("/proc/mdstat"))
    return times["end"] - times["start"]
