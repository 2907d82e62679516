#!/usr/bin/python3
"""Random writes to md's files in sysfs, and random ioctls, under load.

usage: sysfs-fuzz.py [-s SEED] [-t SECONDS] [-o NAME] DIR MEMBER... --scratch MEMBER...
       sysfs-fuzz.py -c CONTENT DEVICE

On the array /dev/md0, which must be running with some of the members, only that
is done which must not harm its data. Two loaders write and read it; each sector
must have what was written last. On /dev/md1, made of the scratch members again
and again, anything is done. The processes:

    poke0, poke1   write and read attributes of md0, and send it ioctls
    scratch        the same for md1
    load0, load1   read and write md0
    calm           undoes what keeps I/O from going on
    supervisor     stops and starts both arrays, and adds members that were removed

With the same SEED, each process does the same in the same order. -o runs only
the processes whose name begins so. What they did is in DIR/NAME.ops. What md0 has
to contain afterwards is left in DIR/content; -c compares a device with it.
"""
import argparse
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys
import time

SLOW = int(os.environ.get("SLOW", "1"))
PATIENCE = 30 * SLOW    # seconds that anything may take

# ---- what is left out -------------------------------------------------------
# On md0: what takes data away on purpose, or lets root vouch for data that are
# not there. The kernel's own raid1 does as it is told as well.
LEFT_OUT = {
    "array_size",                   # a smaller one cuts off the end
    "fail_last_dev",                # the last member may go
    "offset",                       # of a spare: its data begin elsewhere, in
                                    # its superblock if need be
    "size",                         # of a spare: md core takes what the device
                                    # has no room for, and mdadm refuses it then
    "recovery_start",               # says that a spare has data
    "bad_blocks",                   # on all members: nobody has these data
    "unacknowledged_bad_blocks",
}
# On md1: while no module has the array, this is md core's own, and when no member
# is write-mostly, it refuses and leaves the array suspended for ever (6.12).
LEFT_OUT_THERE = {"backlog"}
STATES_LEFT_OUT = ("insync",)       # says that a spare has data
# On md1: md core then writes superblocks, though nothing is set up for that before
# an array runs, and oopses in md_super_write() (6.12).
STATES_LEFT_OUT_THERE = ("writemostly", "-writemostly", "failfast", "-failfast")
STOPPING = ("clear", "inactive")    # the array is stopped in between, by us
DISK_JOURNAL = 18                   # a journal: md core then wants one for ever

# ---- vocabulary -------------------------------------------------------------

NUMBERS = ["0", "1", "2", "3", "7", "8", "64", "512", "4096", "65536", "1000000", "2147483647",
           "2147483648", "4294967295", "4294967296", "4294967297", "9223372036854775807",
           "9223372036854775808", "18446744073709551615", "18446744073709551616", "-1", "-8", "+8",
           "1.5", ".5", "5.", "1.5.5", "0x10", "", " ", "abc", "none", "max", "auto", "default",
           "0 1", "1 2 3", "8 8", "100-200", "1" * 300, "9" * 4095, "\0", "\xff" * 16]
WORDS = {
    "array_state": ["active", "readonly", "read-auto", "clean", "active-idle", "write-pending",
                    "broken", "suspended", "clear", "inactive"],
    "sync_action": ["idle", "check", "repair", "resync", "recover", "frozen", "reshape", "none"],
    "state": ["faulty", "remove", "writemostly", "-writemostly", "blocked", "-blocked",
              "write_error", "-write_error", "want_replacement", "-want_replacement", "replacement",
              "-replacement", "re-add", "failfast", "-failfast", "external_bbl", "-external_bbl",
              "insync", "-insync", "nonsense"],
    "location": ["none", "+8", "8", "-8", "+2", "file", "+16", "none", "+8"],
    # other levels are not this module's; t-sysfs-fuzz.sh tries them
    "level": ["raid1", "1", "raid9", "none"],
    "new_level": ["raid1", "1", "raid5", "raid9"],
    "slot": ["0", "1", "2", "none", "-1"],
    "metadata_version": ["1.2", "1.0", "0.90", "none", "external:x", "1.9"],
    "metadata": ["internal", "external", "clustered"],
    "can_clear": ["true", "false"],
    "consistency_policy": ["resync", "bitmap", "ppl", "journal", "none"],
    "serialize_policy": ["0", "1"],
    "reshape_direction": ["forwards", "backwards"],
    "resync_start": ["none", "0", "8", "1024"],
    "suspend_lo": ["0", "8", "4096"],
    "suspend_hi": ["0", "8", "4096"],
    "raid_disks": ["1", "2", "3", "4", "2:1"],
    "safe_mode_delay": ["0", "0.001", "0.2", "5"],
    "time_base": ["1", "5", "0.1"],
    "backlog": ["0", "1", "256", "16383", "16384"],
    "uuid": [],
}


def ioc(direction, nr, size):
    return direction << 30 | size << 16 | 9 << 8 | nr


GET_ARRAY_INFO, GET_DISK_INFO = ioc(2, 0x11, 72), ioc(2, 0x12, 20)
ADD_NEW_DISK, SET_ARRAY_INFO = ioc(1, 0x21, 20), ioc(1, 0x23, 72)
HOT_REMOVE_DISK, HOT_ADD_DISK, SET_DISK_FAULTY = (ioc(0, n, 0) for n in (0x22, 0x28, 0x29))
SET_BITMAP_FILE, RUN_ARRAY = ioc(1, 0x2b, 4), ioc(1, 0x30, 12)
STOP_ARRAY, STOP_ARRAY_RO, RESTART_ARRAY_RW = (ioc(0, n, 0) for n in (0x32, 0x33, 0x34))
IOCTLS = {
    "RAID_VERSION": ioc(2, 0x10, 12), "GET_ARRAY_INFO": GET_ARRAY_INFO,
    "GET_DISK_INFO": GET_DISK_INFO, "GET_BITMAP_FILE": ioc(2, 0x15, 4096),
    "CLEAR_ARRAY": ioc(0, 0x20, 0), "ADD_NEW_DISK": ADD_NEW_DISK,
    "HOT_REMOVE_DISK": HOT_REMOVE_DISK, "SET_ARRAY_INFO": SET_ARRAY_INFO,
    "HOT_ADD_DISK": HOT_ADD_DISK, "SET_DISK_FAULTY": SET_DISK_FAULTY,
    "SET_BITMAP_FILE": SET_BITMAP_FILE, "RUN_ARRAY": RUN_ARRAY, "STOP_ARRAY": STOP_ARRAY,
    "STOP_ARRAY_RO": STOP_ARRAY_RO, "RESTART_ARRAY_RW": RESTART_ARRAY_RW,
    "CLUSTERED_DISK_NACK": ioc(0, 0x35, 0), "BLKROSET": 0x125d, "BLKFLSBUF": 0x1261,
    "UNKNOWN": ioc(0, 0x7f, 0),
}

# ---- processes --------------------------------------------------------------

SLOT = 256


class Board:
    """What the processes tell one another; shared memory."""

    def __init__(self, names):
        self.names = names
        self.mem = mmap.mmap(-1, SLOT * (len(names) + 1))

    def hold(self, on):
        self.mem[0] = 1 if on else 0

    def held(self):
        return self.mem[0] == 1

    def stop(self):
        self.mem[1] = 1

    def stopped(self):
        return self.mem[1] == 1

    def end(self):
        self.mem[2] = 1

    def over(self):
        return self.mem[2] == 1

    def idle(self, name):
        return self.said(name)[1] in ("parked", "done")

    def say(self, name, text):
        at = SLOT * (self.names.index(name) + 1)
        data = struct.pack("<d", time.monotonic()) + text.encode("utf-8", "replace")[:SLOT - 9]
        self.mem[at:at + SLOT] = data.ljust(SLOT, b"\0")

    def said(self, name):
        at = SLOT * (self.names.index(name) + 1)
        data = self.mem[at:at + SLOT]
        return struct.unpack_from("<d", data)[0], data[8:].rstrip(b"\0").decode("utf-8", "replace")


class Worker:
    def __init__(self, board, name, seed, directory):
        self.board, self.name = board, name
        self.random = random.Random("%s %s" % (seed, name))
        self.log = open(os.path.join(directory, name + ".ops"), "w", buffering=1,
                        encoding="utf-8", errors="replace")
        self.count = 0

    def doing(self, text):
        self.count += 1
        self.board.say(self.name, text)
        self.log.write("%s\n" % text)

    def done(self, result):
        self.log.write("    -> %s\n" % (result,))

    def park(self):
        """Let go of the array while it is stopped."""

    def run(self):
        try:
            while not self.board.stopped():
                if self.board.held():
                    self.park()
                    self.board.say(self.name, "parked")
                    while self.board.held() and not self.board.stopped():
                        time.sleep(0.02)
                    continue
                self.step()
            self.park()
            self.finish()
            self.board.say(self.name, "done")
        except Exception as e:      # pylint: disable=broad-except
            self.board.say(self.name, "FAILED: %s" % e)
            self.log.write("FAILED: %r\n" % e)
            raise

    def finish(self):
        pass


# ---- the load ---------------------------------------------------------------

class Content:
    """For each sector of a range, the tags that it may have."""

    def __init__(self, first, sectors):
        self.first = first
        self.tags = [(0,)] * sectors

    @staticmethod
    def data(sector, sectors, tag):
        return b"".join(struct.pack("<QQ", s, tag) * 32 for s in range(sector, sector + sectors))

    def check(self, sector, data):
        for i in range(len(data) // 512):
            part = data[i * 512:(i + 1) * 512]
            want = self.tags[sector + i - self.first]
            if not any(part == struct.pack("<QQ", sector + i, tag) * 32 for tag in want):
                raise RuntimeError("sector %d has %r, not one of %r" %
                                   (sector + i, struct.unpack_from("<QQ", part), want))

    def written(self, sector, sectors, tag, good):
        for i in range(sector - self.first, sector - self.first + sectors):
            self.tags[i] = (tag,) if good else self.tags[i] + (tag,)


class Device:
    """Direct I/O."""

    def __init__(self, name):
        self.fd = os.open(name, os.O_RDWR | os.O_DIRECT)
        self.buf = mmap.mmap(-1, 1 << 18)

    def read(self, sector, sectors):
        n = os.preadv(self.fd, [memoryview(self.buf)[:sectors * 512]], sector * 512)
        if n != sectors * 512:
            raise RuntimeError("short read: %d of %d bytes" % (n, sectors * 512))
        return self.buf[:sectors * 512]

    def write(self, sector, data):
        self.buf[:len(data)] = data
        if os.pwritev(self.fd, [memoryview(self.buf)[:len(data)]], sector * 512) != len(data):
            raise RuntimeError("short write")

    def close(self):
        os.close(self.fd)


class Loader(Worker):
    LENGTH = 4096   # sectors

    def __init__(self, board, name, seed, directory):
        super().__init__(board, name, seed, directory)
        self.first = int(name[-1]) * self.LENGTH
        self.content = Content(self.first, self.LENGTH)
        self.path = os.path.join(directory, "content." + name)
        self.tag = self.first
        self.dev = None
        self.good = self.bad = 0

    def park(self):
        if self.dev:
            self.dev.close()
        self.dev = None

    def step(self):
        if not self.dev:
            self.dev = Device("/dev/md0")
        sectors = self.random.choice((1, 1, 2, 7, 8, 8, 64, 128))
        sector = self.first + self.random.randrange(self.LENGTH - sectors)
        if self.random.random() < 0.4:
            self.doing("read %d+%d" % (sector, sectors))
            self.content.check(sector, self.dev.read(sector, sectors))
        else:
            self.write(sector, sectors)
        if self.random.random() < 0.1:
            time.sleep(0.05)

    def write(self, sector, sectors):
        self.tag += 1
        self.doing("write %d+%d, tag %d" % (sector, sectors, self.tag))
        try:
            self.dev.write(sector, Content.data(sector, sectors, self.tag))
            good = True
        except OSError as e:
            # the array may be read-only just now
            if e.errno not in (errno.EIO, errno.EROFS, errno.EPERM):
                raise
            good = False
            self.done(e)
            fcntl.ioctl(self.dev.fd, IOCTLS["BLKROSET"], struct.pack("<i", 0))
        self.good += good
        self.bad += not good
        self.content.written(sector, sectors, self.tag, good)

    def finish(self):
        with open(self.path, "w", encoding="ascii") as f:
            for i, tags in enumerate(self.content.tags):
                f.write("%d %s\n" % (self.first + i, " ".join(map(str, tags))))
        print("%s: %d writes, and %d that failed" % (self.name, self.good, self.bad), flush=True)
        # most must have gone through, or nothing was shown
        if self.good < 20 or self.good < self.bad:
            raise RuntimeError("too few writes")


def check_content(name, device):
    """All of a device against what the loaders have left."""
    known = {}
    with open(name, encoding="ascii") as f:
        for line in f:
            sector, *tags = map(int, line.split())
            known[sector] = tuple(tags)
    dev = Device(device)
    size = os.lseek(dev.fd, 0, os.SEEK_END) // 512
    content = Content(0, size)
    for sector, tags in known.items():
        content.tags[sector] = tags
    for sector in range(0, size, 512):
        n = min(512, size - sector)
        content.check(sector, dev.read(sector, n))
    dev.close()


def fill(device):
    dev = Device(device)
    size = os.lseek(dev.fd, 0, os.SEEK_END) // 512
    for sector in range(0, size, 512):
        dev.write(sector, Content.data(sector, min(512, size - sector), 0))
    dev.close()


# ---- pokes ------------------------------------------------------------------

def dev_number(device):
    return os.stat(device).st_rdev


def encode_dev(dev):
    major, minor = os.major(dev), os.minor(dev)
    return minor & 0xff | major << 8 | (minor & ~0xff) << 12


class Poker(Worker):
    def __init__(self, board, name, seed, directory, md, members, careful):
        super().__init__(board, name, seed, directory)
        self.md, self.members, self.careful = md, members, careful
        self.base = "/sys/block/%s/md" % md
        self.directory = directory
        self.found = []

    def step(self):
        if self.random.random() < 0.25:
            self.send_ioctl()
        else:
            self.poke()

    def attributes(self):
        """Looked up now and then only: that takes longer than all the rest"""
        if self.found and self.random.random() < 0.9:
            return self.found
        found = []
        for where, dirs, files in os.walk(self.base):
            dirs.sort()
            found += [os.path.join(where, f) for f in sorted(files)]
        left_out = LEFT_OUT if self.careful else LEFT_OUT_THERE
        found = [f for f in found if os.path.basename(f) not in left_out]
        self.found = found
        return found

    def value(self, name):
        kind = self.random.random()
        words = WORDS.get(name)
        if name == "new_dev":
            dev = dev_number(self.random.choice(self.members))
            text = "%d:%d" % (os.major(dev), os.minor(dev))
            # Never one that is not ours; nor one that no driver has, for which md core
            # has one loaded under a lock under which that might end in a deadlock.
            return text if kind < 0.7 else self.random.choice((text + "x", ":", "0:", "1", ""))
        if words and kind < 0.85:
            return self.random.choice(words)
        if name == "level":
            return "nonsense"
        if kind < 0.95:
            return self.random.choice(NUMBERS)
        return str(self.random.getrandbits(self.random.randrange(1, 66)))

    def allowed(self, name, value):
        if not self.careful:
            return not (name == "state" and value in STATES_LEFT_OUT_THERE)
        return not (name == "array_state" and value in STOPPING) and \
            not (name == "state" and value in STATES_LEFT_OUT)

    def poke(self):
        files = self.attributes()
        if not files:
            time.sleep(0.05)
            return
        path = self.random.choice(files)
        name = os.path.basename(path)
        value = self.value(name)
        if not self.allowed(name, value):
            return
        if self.random.random() < 0.9:
            value += "\n"
        if self.random.random() < 0.7:
            self.doing("%s < %s" % (path[len(self.base) + 1:], value[:40].encode("unicode_escape").decode()))
            self.done(self.access(path, value.encode("latin-1")))
        if self.random.random() < 0.4:
            self.doing("%s" % path[len(self.base) + 1:])
            self.access(path, None)

    @staticmethod
    def access(path, data):
        try:
            fd = os.open(path, os.O_RDONLY if data is None else os.O_WRONLY)
        except OSError as e:
            return errno.errorcode[e.errno]
        try:
            return os.read(fd, 8192) if data is None else os.write(fd, data)
        except OSError as e:
            return errno.errorcode[e.errno]
        finally:
            os.close(fd)

    # -- ioctls

    def number(self):
        return self.random.choice((0, 1, 2, 3, 7, 64, 512, 4096, 0x7fffffff, -1, -2 ** 31,
                                   self.random.randrange(-2 ** 31, 2 ** 31)))

    def disk_info(self):
        dev = dev_number(self.random.choice(self.members))
        state = 0
        for bit in (0, 1, 2, 3, 4, 9, 10, DISK_JOURNAL):
            if self.random.random() < 0.2 and not (self.careful and bit == DISK_JOURNAL):
                state |= 1 << bit
        number = self.random.choice((0, 1, 2, 3, -1, self.number()))
        slot = self.random.choice((0, 1, 2, -1, self.number()))
        return struct.pack("<iiiiI", number, os.major(dev), os.minor(dev), slot, state)

    def array_info(self, fd):
        """As the array is, or nearly; or noise"""
        buf = bytearray(72)
        try:
            fcntl.ioctl(fd, GET_ARRAY_INFO, buf)
        except OSError:
            # no array there: one that could be, not persistent
            buf[:] = struct.pack("<18i", 0, 90, 0, 0, 1, 10240, 2, 2, 0, 1, 0, 1, 2, 2, 0, 0, 0, 0)
        fields = list(struct.unpack("<18i", buf))
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 18))):
            fields[self.random.randrange(18)] = self.number()
        # levels that are not this module's are not its business
        fields[4] = self.random.choice((1, 1, 1, -5, 77)) if fields[4] != 1 else 1
        if self.random.random() < 0.3:
            fields[11] ^= 1 << 8    # MD_SB_BITMAP_PRESENT
        return struct.pack("<18i", *fields)

    def argument(self, fd, name):
        if name in ("HOT_REMOVE_DISK", "HOT_ADD_DISK", "SET_DISK_FAULTY"):
            if self.random.random() < 0.8:
                return encode_dev(dev_number(self.random.choice(self.members)))
            return 0
        if name == "ADD_NEW_DISK":
            return self.disk_info()
        if name == "SET_ARRAY_INFO":
            return self.array_info(fd) if self.random.random() < 0.9 else 0
        if name == "GET_DISK_INFO":
            return bytearray(struct.pack("<5i", self.number(), 0, 0, 0, 0))
        if name == "RUN_ARRAY":
            return struct.pack("<3i", self.number(), 0, 0) if self.random.random() < 0.5 else 0
        if name == "BLKROSET":
            return struct.pack("<i", self.random.randrange(2))
        if name == "SET_BITMAP_FILE":
            return self.random.choice((-1, fd, self.file.fileno(), 0x7fffffff))
        size = IOCTLS[name] >> 16 & 0x3fff
        return bytearray(size) if size else self.random.choice((0, 1, 0x7fffffff))

    def send_ioctl(self):
        name = self.random.choice(sorted(IOCTLS))
        flags = self.random.choice((os.O_RDONLY, os.O_RDWR))
        try:
            fd = os.open("/dev/" + self.md, flags)
        except OSError as e:
            self.doing("open")
            self.done(errno.errorcode[e.errno])
            return
        self.file = open(os.path.join(self.directory, "bitmap-file"), "w+b")
        try:
            arg = self.argument(fd, name)
            self.doing("%s %s" % (name, arg.hex() if isinstance(arg, (bytes, bytearray)) else arg))
            fcntl.ioctl(fd, IOCTLS[name], arg)
            self.done("ok")
        except OSError as e:
            self.done(errno.errorcode[e.errno])
        finally:
            self.file.close()
            os.close(fd)


# ---- those who keep it going ------------------------------------------------

def echo(path, text):
    return Poker.access(path, text.encode() + b"\n")


def read(path):
    try:
        with open(path, encoding="latin-1") as f:
            return f.read().strip()
    except OSError:
        return ""


def state_of(md):
    return read("/sys/block/%s/md/array_state" % md) or "clear"


class Calmer(Worker):
    """Undoes what keeps I/O or recovery from going on. It opens no device, as
    that may have to wait for just this."""

    def run(self):
        while not self.board.over():
            for md in ("md0", "md1"):
                self.doing("calm " + md)
                self.calm(md)
            time.sleep(1)
        self.board.say(self.name, "done")

    @staticmethod
    def calm(md):
        base = "/sys/block/%s/md/" % md
        try:
            names = os.listdir(base)
        except OSError:
            return      # there is no array
        for name, text in (("suspend_lo", "0"), ("suspend_hi", "0"), ("sync_min", "0"),
                           ("sync_max", "max"), ("sync_speed_min", "system"),
                           ("sync_speed_max", "1000000")):
            echo(base + name, text)
        if read(base + "sync_action") == "frozen":
            echo(base + "sync_action", "idle")
        for name in names:
            if name.startswith("dev-"):
                echo(base + name + "/state", "-blocked")
        if md == "md0":
            echo(base + "array_state", "active")


class Supervisor(Worker):
    """Stops and starts the arrays, and adds the members that were removed."""

    def __init__(self, board, name, seed, directory, args):
        super().__init__(board, name, seed, directory)
        self.members, self.scratch, self.seconds = args.members, args.scratch, args.t
        self.workers = [n for n in board.names if n not in ("supervisor", "calm")]
        self.stops = self.made = 0
        self.fd = None

    def quiet(self, *args):
        self.doing(" ".join(args))
        p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False)
        self.done("%d %s" % (p.returncode, p.stdout[-1000:].decode("utf-8", "replace").strip()))
        return p.returncode

    def echo(self, path, text):
        self.doing("%s < %s" % (path, text))
        self.done(echo(path, text))

    def ioctl(self, md, number):
        self.doing("ioctl %x %s" % (number, md))
        try:
            fd = os.open("/dev/" + md, os.O_RDONLY)
        except OSError:
            return
        try:
            fcntl.ioctl(fd, number, 0)
        except OSError:
            pass
        finally:
            os.close(fd)

    def open(self):
        # so that nobody else can stop it
        self.doing("open")
        self.fd = os.open("/dev/md0", os.O_RDONLY)

    def close(self):
        os.close(self.fd)

    def pause(self, seconds):
        self.board.say(self.name, "sleeps")
        time.sleep(seconds)

    def add_members(self):
        """Those that are not in md0, as an administrator would."""
        for m in self.members:
            state = read("/sys/block/md0/md/dev-%s/state" % os.path.basename(m))
            if not state:
                self.quiet("mdadm", "--quiet", "/dev/md0",
                           self.random.choice(("--add", "--re-add")), m)
            elif "faulty" in state and self.random.random() < 0.5:
                self.quiet("mdadm", "--quiet", "/dev/md0", "--remove", m)

    def wait_for(self, what, done):
        end = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > end:
                raise RuntimeError("waited in vain for %s" % what)
            self.pause(0.05)

    def stop_array(self, md):
        base = "/sys/block/%s/md/" % md
        ways = [
            lambda: self.quiet("mdadm", "--quiet", "--stop", "/dev/" + md),
            lambda: self.echo(base + "array_state", "clear"),
            lambda: self.echo(base + "array_state", "inactive"),
            lambda: self.ioctl(md, STOP_ARRAY),
            lambda: (self.ioctl(md, STOP_ARRAY_RO), self.ioctl(md, RESTART_ARRAY_RW)),
        ]

        def stopped():
            if state_of(md) != "clear":
                self.random.choice(ways[:2])()
            return state_of(md) == "clear"

        if state_of(md) != "clear":
            self.random.choice(ways)()
        self.wait_for("%s to be stopped" % md, stopped)

    def restart(self):
        """Stop md0, and start it with whom it has."""
        self.board.hold(True)
        self.wait_for("the others to let go of it",
                      lambda: all(self.board.idle(n) for n in self.workers))
        self.close()
        self.stop_array("md0")
        self.stops += 1
        members = list(self.members)
        self.random.shuffle(members)

        def started():
            if self.quiet("mdadm", "--assemble", "--run", "/dev/md0", *members) == 0:
                return True
            self.quiet("mdadm", "--quiet", "--stop", "/dev/md0")
            return False

        self.wait_for("md0 to be assembled", started)
        self.quiet("mdadm", "--quiet", "--readwrite", "/dev/md0")
        self.open()
        self.board.hold(False)

    def make_scratch(self):
        """A new md1, made in one of many ways, or none."""
        self.stop_array("md1")
        for m in self.scratch:
            self.quiet("mdadm", "--quiet", "--zero-superblock", m)
        self.made += 1
        how = self.random.choice(("1.2", "1.2", "1.0", "1.1", "0.90", "build", "none"))
        n = self.random.choice((1, 2, 2, 3))
        if how == "build":
            self.quiet("mdadm", "--quiet", "--build", "/dev/md1", "--force", "--level=1",
                       "-n", str(n), *self.scratch[:n])
        elif how != "none":
            bitmap = self.random.choice(("--bitmap=internal", "--bitmap=none"))
            more = ["--assume-clean"] if self.random.random() < 0.5 else []
            self.quiet("mdadm", "--quiet", "--create", "/dev/md1", "--run", "--force", "--level=1",
                       "--metadata=" + how, bitmap, *more, "-n", str(n), *self.scratch[:n])

    def run(self):
        try:
            self.go()
        except Exception as e:      # pylint: disable=broad-except
            self.board.say(self.name, "FAILED: %s" % e)
            raise

    def go(self):
        end = time.monotonic() + self.seconds
        scratch = "scratch" in self.workers
        next_restart = next_make = 0
        self.open()
        while time.monotonic() < end:
            self.pause(1)
            self.add_members()
            if scratch and time.monotonic() > next_make:
                self.make_scratch()
                next_make = time.monotonic() + self.random.uniform(2, 6)
            if time.monotonic() > next_restart:
                self.restart()
                next_restart = time.monotonic() + self.random.uniform(4, 12)
        self.board.stop()
        self.wait_for("the others to end", lambda: all(self.board.idle(n) for n in self.workers))
        if scratch:
            self.stop_array("md1")
        self.close()
        self.board.end()
        print("md0 was restarted %d times, md1 made %d times" % (self.stops, self.made), flush=True)
        self.board.say(self.name, "done")


def die(text):
    print("FAIL: " + text, flush=True)
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as f:
        f.write("w")
    os._exit(1)


def watch(board, processes):
    """Until all have ended. Nobody may fail, nor be at one thing for long."""
    while processes:
        for name, pid in list(processes.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del processes[name]
                if status:
                    die("%s: %s" % (name, board.said(name)[1]))
                continue
            since, what = board.said(name)
            if time.monotonic() - since > PATIENCE and what not in ("parked", "done"):
                die("%s has not got on for %d s: %s\n%s" %
                    (name, PATIENCE, what, read("/proc/%d/stack" % pid)))
        time.sleep(0.5)


def make(board, name, args):
    if name == "supervisor":
        return Supervisor(board, name, args.s, args.dir, args)
    if name == "calm":
        return Calmer(board, name, args.s, args.dir)
    if name.startswith("load"):
        return Loader(board, name, args.s, args.dir)
    if name.startswith("poke"):
        return Poker(board, name, args.s, args.dir, "md0", args.members, True)
    return Poker(board, name, args.s, args.dir, "md1", args.scratch, False)


def start(worker):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        worker.run()
        status = 0
    finally:
        os._exit(status)


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("-s", type=int, default=1)
    p.add_argument("-t", type=int, default=60)
    p.add_argument("-o", default="")
    p.add_argument("-c")
    p.add_argument("dir")
    p.add_argument("members", nargs="*")
    p.add_argument("--scratch", nargs="*", default=[])
    args = p.parse_args()
    if args.c:
        check_content(args.c, args.dir)
        return

    workers = [n for n in ("load0", "load1", "poke0", "poke1", "scratch") if n.startswith(args.o)]
    names = ["supervisor", "calm"] + workers
    board = Board(names)
    fill("/dev/md0")
    for n in names:
        board.say(n, "starts")
    watch(board, {n: start(make(board, n, args)) for n in names})

    with open(os.path.join(args.dir, "content"), "w", encoding="ascii") as out:
        for n in workers:
            if n.startswith("load"):
                out.write(read(os.path.join(args.dir, "content." + n)) + "\n")
    for n in workers:
        with open(os.path.join(args.dir, n + ".ops"), encoding="utf-8") as f:
            print("%s did %d things" % (n, sum(1 for line in f if not line.startswith("    "))))


main()
