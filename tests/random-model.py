#!/usr/bin/python3
"""Random sequences of what can happen to an array, held against a model.

usage: random-model.py DIR MODULE	with, in the environment,
	SEED=n	first seed (1)
	N=n	how many sequences, each with a seed of its own (0: no limit)
	TIME=s	stop after so many seconds (0: no limit)
	SLOW=n	patience

The model is what each block of 4 KiB must contain, and, at most, which blocks
each absent member lacks. When nothing is going on, the array and all members in
sync must be equal to the model. When they are not, the seed and the steps that
led there are printed.

A crash is a cut: writes of all members are held, one member after the other;
the backing files are copied; the array is thrown away and assembled from the
copies. What had been acknowledged must be there, what had not may be.
"""
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
import time

DIR, MODULE = sys.argv[1:3]
SLOW = int(os.environ.get("SLOW") or 1)
MD = "/dev/md0"
SYS = "/sys/block/md0/md/"
MEMBERS = 4
BLOCK = 4096
SIZE = 8 << 20
BLOCKS = SIZE // BLOCK
# Superblocks, bitmap and table that may be written while a member returns.
META = 1 << 20


class Wrong(Exception):
    pass


def run(*args, check=True):
    p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    if check and p.returncode:
        raise Wrong("%s: status %d: %s" % (" ".join(args), p.returncode, p.stdout))
    return p.returncode == 0


def get(path):
    with open(path) as f:
        return f.read().strip()


def put(path, value):
    with open(path, "w") as f:
        f.write(value)


def content(block, version):
    if not version:
        return bytes(BLOCK)
    return struct.pack("<QQ", block, version) * (BLOCK // 16)


class Member:
    def __init__(self, nr):
        self.name = "r%d" % nr
        self.file = "%s/%s.img" % (DIR, self.name)
        with open(self.file, "wb") as f:
            f.truncate(12 << 20)
        self.loop = subprocess.check_output(
            ["losetup", "--show", "-f", self.file], text=True).strip()
        self.path = "/dev/mapper/" + self.name
        run("dmsetup", "create", "--noudevsync", "--noudevrules", self.name, "--table",
            "0 %d linear %s 0" % ((12 << 20) // 512, self.loop))
        if not os.path.exists(self.path):
            run("dmsetup", "mknodes", self.name)
        minor = os.minor(os.stat(self.path).st_rdev)
        self.kname = "dm-%d" % minor
        self.sys = SYS + "dev-" + self.kname
        self.lacks = None       # blocks at most; None: not known
        self.count = None       # bytes written before it came back
        self.extra = 0          # blocks written since

    def written(self):
        return int(get("/sys/block/%s/stat" % self.kname).split()[6]) * 512

    def attr(self, name):
        try:
            return get(self.sys + "/" + name)
        except OSError:
            return ""

    def present(self):
        return os.path.isdir(self.sys)

    def state(self):
        return self.attr("state").split(",")

    def in_sync(self):
        return "in_sync" in self.state() and "faulty" not in self.state()

    def wipe(self):
        run("blkdiscard", "-f", self.path)

    def uuid(self):
        with open(self.file, "rb") as f:
            f.seek(self.super_at)
            return f.read(256)[168:184].hex()

    def read(self, at, size):
        buf = mmap.mmap(-1, size)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        try:
            assert os.preadv(fd, [buf], at) == size
        finally:
            os.close(fd)
        return buf[:]

    def data(self):
        return self.read(self.data_at, SIZE)


class Sequence:
    def __init__(self, seed, members):
        self.rng = random.Random(seed)
        self.members = members
        self.steps = []
        self.image = bytearray(SIZE)
        self.version = 0
        self.recent = set()
        self.fd = None
        self.ours = True
        self.vanished = 0
        self.unsure = {}        # block: the contents it may have

    # ---- helpers -------------------------------------------------------

    def say(self, text):
        self.steps.append("%6.1f %s" % (time.monotonic() - begin, text))

    def wait(self, what, cond, seconds=15):
        end = time.monotonic() + seconds * SLOW
        while not cond():
            if time.monotonic() > end:
                raise Wrong("waited in vain for: " + what)
            time.sleep(0.02)

    def open(self):
        self.fd = os.open(MD, os.O_RDWR | os.O_DIRECT)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def insync(self):
        return [m for m in self.members if m.in_sync()]

    def quiet(self):
        if get(SYS + "sync_action") != "idle" or get(SYS + "resync_start") != "none":
            return False
        vacant = int(get(SYS + "degraded"))
        spares = recovering = 0
        for m in self.members:
            s = m.state()
            if "faulty" in s or not m.present():
                continue
            if m.attr("slot") == "none":
                spares += 1
            elif "in_sync" not in s:
                recovering += 1
        return not recovering and not (spares and vacant) and \
            get(SYS + "sync_action") == "idle"

    def bits(self):
        """Is any bit set on the first member in sync?"""
        m = self.insync()[0]
        sb = m.read(m.super_at, BLOCK)
        at = m.super_at + 512 * struct.unpack_from("<i", sb, 96)[0]
        raw = m.read(at, BLOCK)
        chunk = struct.unpack_from("<I", raw, 52)[0]
        count = -(-SIZE // chunk)
        value = int.from_bytes(raw[256:256 + (count + 7) // 8], "little")
        return value & ((1 << count) - 1) != 0

    # ---- steps ---------------------------------------------------------

    def create(self):
        rng = self.rng
        for m in self.members:
            m.wipe()
            m.lacks, m.count, m.used = None, None, False
        self.slots = rng.randint(2, 4)
        first = rng.randint(2, self.slots)
        meta = rng.choice(["1.2", "1.2", "1.2", "1.0", "1.1"])
        self.chunk = rng.choice(["64K", "64K", "256K", "64M"])
        self.say("create: %d slots, %d members, metadata %s, chunks of %s" %
                 (self.slots, first, meta, self.chunk))
        run("mdadm", "--quiet", "--create", MD, "--run", "--level=1",
            "--metadata=" + meta, "--bitmap=internal", "--bitmap-chunk=" + self.chunk,
            "--size=8M", "--assume-clean", "-n%d" % self.slots,
            *[m.path for m in self.members[:first]], *["missing"] * (self.slots - first))
        self.chunk = {"64K": 16, "256K": 64, "64M": BLOCKS}[self.chunk]
        for m in self.members[:first]:
            m.used = True
        for m in self.members:
            m.super_at = {"1.2": 4096, "1.1": 0, "1.0": (12 << 20) - 8192}[meta]
        sb = self.members[0].read(self.members[0].super_at, BLOCK)
        for m in self.members:
            m.data_at = 512 * struct.unpack_from("<Q", sb, 128)[0]
        self.pace()
        self.open()
        # mdadm begins with all bits set
        self.recent = set(range(BLOCKS))
        if rng.random() < 0.7:
            self.settle()

    def pace(self):
        put(SYS + "bitmap/time_base", self.rng.choice(["0.1", "0.1", "100"])
            if self.ours else "1")

    def one_write(self, block, count, acked=True):
        buf = mmap.mmap(-1, count * BLOCK)
        new = {}
        for i in range(block, block + count):
            self.version += 1
            new[i] = content(i, self.version)
            buf[(i - block) * BLOCK:(i - block + 1) * BLOCK] = new[i]
        # what was written before it is known to have ended well
        self.flying = new
        assert os.pwrite(self.fd, buf, block * BLOCK) == count * BLOCK
        self.flying = {}
        for i, data in new.items():
            self.image[i * BLOCK:(i + 1) * BLOCK] = data
            self.unsure.pop(i, None)
        self.recent.update(new)
        for m in self.members:
            if m.lacks is not None:
                m.lacks.update(new)
            m.extra += count

    def span(self):
        """Where to write: mostly in one part, so that chunks meet again."""
        count = self.rng.choice([1, 1, 1, 2, 5, 8, 32])
        top = self.rng.choice([BLOCKS // 8, BLOCKS])
        return self.rng.randrange(0, top - count), count

    def write(self):
        n = self.rng.randint(1, 25)
        self.say("write %d times" % n)
        for _ in range(n):
            self.one_write(*self.span())

    def flush(self):
        self.say("flush")
        os.fsync(self.fd)

    def settle(self):
        """Until no bit is set, if it can be had."""
        self.say("settle")
        self.calm()
        if not self.ours:
            return
        put(SYS + "bitmap/time_base", "0.1")
        self.wait("clear bits", lambda: not self.bits())
        self.recent.clear()
        self.pace()

    def calm(self):
        self.wait("the end of copying", self.quiet, 30)
        for m in self.members:
            if m.in_sync():
                self.returned(m)

    def returned(self, m):
        if m.count is not None and m.lacks is not None:
            cost = m.written() - m.count
            most = (len(m.lacks) + m.extra) * BLOCK + META
            if cost > most:
                raise Wrong("%s got %d KiB, lacked at most %d blocks, %d were written" %
                            (m.name, cost >> 10, len(m.lacks), m.extra))
        m.count = None
        m.lacks = None

    def fail(self):
        good = self.insync()
        now = [m for m in self.members if m.present() and "faulty" not in m.state()
               and m.attr("slot") != "none" and good != [m]]
        if not now:
            return
        m = self.rng.choice(now)
        self.say("fail %s (%s)" % (m.name, m.attr("state")))
        if m.in_sync():
            # recovery may have ended meanwhile
            self.returned(m)
            m.lacks = set(self.recent) if self.ours else None
        elif m.lacks is not None:
            m.lacks |= self.recent
        put(m.sys + "/state", "faulty")

    def remove(self):
        now = [m for m in self.members if "faulty" in m.state()]
        if not now:
            return
        m = self.rng.choice(now)
        self.say("remove " + m.name)

        def gone():
            try:
                put(m.sys + "/state", "remove")
            except OSError:
                return not m.present()
            return True
        self.wait("removal", gone)
        self.wait("removal", lambda: not m.present())

    def join(self):
        now = [m for m in self.members if not m.present()]
        if not now:
            return
        m = self.rng.choice(now)
        how = self.rng.choice(["--re-add", "--re-add", "--add"])
        if not self.ours:
            # Stock takes members back that lack what it has just copied to a
            # new one: events_cleared grows only with the next write.
            m.wipe()
            how = "--add"
            m.lacks = None
        vacant = int(get(SYS + "degraded"))
        m.count, m.extra, m.used = m.written(), 0, True
        if how == "--re-add" and run("mdadm", "--quiet", MD, how, m.path, check=False):
            self.say("re-add " + m.name)
            how = ""
        if how:
            self.say("add " + m.name)
            run("mdadm", "--quiet", MD, "--add", m.path)
        if not vacant:
            # A spare that waits is nobody's former member any more.
            m.lacks = None

    def stop(self):
        self.say("stop")
        self.close()
        self.fresh = self.insync()
        for m in self.members:
            if m in self.fresh:
                self.returned(m)
        run("mdadm", "--quiet", "--stop", MD)

    def assemble(self):
        fresh = self.fresh
        if self.rng.random() < 0.4:
            fresh = self.rng.sample(fresh, self.rng.randint(1, len(fresh)))
        rest = [m for m in self.members if m not in fresh and m not in self.fresh and m.used]
        more = [m for m in rest if self.rng.random() < 0.3]
        self.say("assemble %s %s" % (" ".join(m.name for m in fresh),
                                     "and stale " + " ".join(m.name for m in more)
                                     if more else ""))
        # Bits that are set now stand for all of their chunks.
        wide = set()
        for block in self.recent:
            at = block - block % self.chunk
            if at not in wide:
                wide.update(range(at, min(at + self.chunk, BLOCKS)))
        self.recent = wide
        for m in self.fresh:
            if m not in fresh:
                self.vanished += 1
                m.lacks = set()
                m.count = None
        for m in self.members:
            if m.lacks is not None:
                m.lacks |= self.recent
            if not self.ours or self.vanished > 1:
                m.lacks = None
            m.count = None
        run("mdadm", "--quiet", "--assemble", "--run", MD,
            *[m.path for m in fresh + more])
        if get(SYS + "array_state") in ("readonly", "read-auto"):
            put(SYS + "array_state", "active")
        self.pace()
        self.open()

    def restart(self):
        self.stop()
        self.assemble()

    def stock(self):
        """A session, or the end of it."""
        self.stop()
        self.swap()
        self.assemble()

    def swap(self):
        self.ours = not self.ours
        self.say("now it is %s" % ("ours" if self.ours else "stock"))
        if self.ours:
            run("rmmod", "raid1")
            run("insmod", MODULE)
        else:
            run("rmmod", "md_raid1")
            run("modprobe", "raid1")

    def crash(self):
        """While a thread is writing."""
        self.say("crash (%s)" % " ".join(m.name for m in self.insync()))
        spans = [self.span() for _ in range(400)]
        stop = threading.Event()
        self.flying = {}
        trouble = []

        def writer():
            try:
                for s in spans:
                    if stop.is_set():
                        break
                    self.one_write(*s)
            except Exception as e:
                trouble.append(e)
        t = threading.Thread(target=writer)
        t.start()
        time.sleep(self.rng.random() * 0.1)
        order = list(self.members)
        self.rng.shuffle(order)
        for m in order:
            run("dmsetup", "suspend", "--nolockfs", "--noflush", "--noudevsync", m.name)
        # From here on nothing is acknowledged that is not on all members.
        time.sleep(0.02)
        fresh = self.insync()
        flying = dict(self.flying)
        unsure = dict(self.unsure)
        image = bytearray(self.image)
        # Between the lines above a write may have ended.
        for block, data in flying.items():
            old = bytes(image[block * BLOCK:(block + 1) * BLOCK])
            unsure[block] = unsure.get(block, set()) | {old, data}
        for m in self.members:
            run("cp", "--sparse=always", m.file, m.file + ".cut")
        for m in order:
            run("dmsetup", "resume", "--noudevsync", m.name)
        stop.set()
        t.join()
        if trouble:
            raise trouble[0]
        self.close()
        run("mdadm", "--quiet", "--stop", MD)
        for m in self.members:
            run("dd", "if=" + m.file + ".cut", "of=" + m.path, "bs=1M", "oflag=direct",
                "status=none")
            os.unlink(m.file + ".cut")
            m.count = None
        self.image = image
        self.unsure = unsure
        self.recent.update(flying)
        self.fresh = fresh
        if self.rng.random() < 0.15:
            self.swap()
        self.assemble()

    def make_sure(self):
        """What a crash left open is decided when the resync has been there: a
        member that fails before may take the only copy with it."""
        for block, may in self.unsure.items():
            buf = mmap.mmap(-1, BLOCK)
            os.preadv(self.fd, [buf], block * BLOCK)
            if buf[:] not in may:
                raise Wrong("block %d is neither old nor new after a crash" % block)
            self.image[block * BLOCK:(block + 1) * BLOCK] = buf[:]
        self.unsure = {}

    def verify(self, calm=True):
        if calm:
            self.calm()
            self.make_sure()
        want = bytes(self.image)
        buf = mmap.mmap(-1, 1 << 20)
        for at in range(0, SIZE, 1 << 20):
            assert os.preadv(self.fd, [buf], at) == 1 << 20
            self.compare("the array", at, buf[:], want[at:at + (1 << 20)])
        if not calm:
            return
        # Asked in this order: a bit that is clear has been told to the maps.
        bits = self.bits()
        lines = {}
        if self.ours:
            for line in get(SYS + "bitmap/members").splitlines():
                f = line.split()
                lines[f[0].replace("-", "")] = f
        for m in self.members:
            if m.in_sync():
                self.compare(m.name, 0, m.data(), want)
                continue
            f = lines.get(m.uuid())
            if not f:
                continue
            if m.lacks is not None and int(f[3]) > len(m.lacks) * BLOCK:
                raise Wrong("%s is said to lack %s bytes, it is %d blocks at most" %
                            (m.name, f[3], len(m.lacks)))
            if not bits and self.unsaid(m, int(f[3]) // BLOCK, want):
                raise Wrong("%s lacks more than is remembered: %s" % (m.name, f))

    def unsaid(self, m, said, want):
        """Does it lack more than is said? Not if it is known by another name."""
        have = m.data()
        lack = sum(have[at:at + BLOCK] != want[at:at + BLOCK]
                   for at in range(0, SIZE, BLOCK))
        # a member that changed elsewhere will not be taken by its map
        return lack > said and m.lacks is not None

    def compare(self, who, at, have, want):
        if have == want:
            return
        for i in range(0, len(want), BLOCK):
            h, w = have[i:i + BLOCK], want[i:i + BLOCK]
            if h != w:
                raise Wrong("%s, block %d: has version %d of block %d, want version %d" %
                            (who, (at + i) // BLOCK, *struct.unpack_from("<QQ", h)[::-1],
                             struct.unpack_from("<QQ", w)[1]))

    def play(self):
        self.create()
        steps = [self.write] * 5 + [self.flush] + [self.settle] * 3 + [self.fail] * 3 + \
            [self.remove] * 4 + [self.join] * 5 + [self.restart] * 2 + [self.stock] + \
            [self.crash] * 2
        for _ in range(self.rng.randint(12, 24)):
            self.rng.choice(steps)()
            if self.rng.random() < 0.5:
                self.verify()
        self.verify()
        self.end()

    def end(self):
        self.close()
        run("mdadm", "--quiet", "--stop", MD)
        if not self.ours:
            self.swap()


begin = time.monotonic()


def main():
    seed = int(os.environ.get("SEED") or 1)
    limit = int(os.environ.get("N") or 0)
    seconds = int(os.environ.get("TIME") or 0)
    members = [Member(i) for i in range(MEMBERS)]
    done = steps = 0
    while (not limit or done < limit) and \
            (not seconds or time.monotonic() - begin < seconds):
        s = Sequence(seed + done, members)
        put("/dev/kmsg", "random-model: seed %d" % (seed + done))
        try:
            s.play()
            # nothing is used apart from the rest here
            log = subprocess.check_output(["dmesg"], text=True)
            log = log[log.rindex("random-model: seed"):]
            if "refused" in log:
                raise Wrong("a member was refused: " + log)
        except (Wrong, OSError, AssertionError) as e:
            print("FAIL: SEED=%d: %s: %s" % (seed + done, type(e).__name__, e))
            print("\n".join(s.steps))
            print(get("/proc/mdstat"))
            if os.path.exists(SYS + "bitmap/members"):
                print(get(SYS + "bitmap/members"))
            for m in members:
                if m.present():
                    print(m.name, m.kname, m.attr("slot"), m.attr("state"))
            sys.stdout.flush()
            return 1
        done += 1
        steps += len(s.steps)
    print("%d sequences, %d steps, %d s, seeds %d to %d" %
          (done, steps, time.monotonic() - begin, seed, seed + done - 1))
    return 0


sys.exit(main())
