#!/usr/bin/python3
"""Plays every fault in every phase of an array's life, for t-faults-phases*.sh.

usage: faults-phases.py ROLE BAD GOOD DIR [PHASE[/FAULT]...]

/dev/md0 is made of BAD, which can be made to fail, and GOOD, which is well.
ROLE is
  one    BAD is one of two, or the one that is copied to: the array goes on, and
	 nobody hears of the fault
  last   BAD is the last member in sync: what it fails is passed on, it is never
	 given up, and all is well as soon as it is
  power  as one, but BAD is a null_blk that vanishes
BAD is served by nbd-faulty.py from DIR/bad0.img. After each fault the array is
repaired; then it has what was acknowledged, and its members are equal.
"""
import errno
import fcntl
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import threading
import time

MD = "/sys/block/md0/md/"
BLOCK = 4096
HOLD = 2		# seconds for which a member does not answer
SLOW = int(os.environ.get("SLOW", "1"))
PATIENCE = 40 * SLOW
BLKDISCARD = 0x1277
ANY = None		# as what a block may have: whatever
HERE = os.path.dirname(os.path.abspath(__file__))

FAULTS = {
    "read": "fail=read",
    # data alone: for what is kept about them there is nospc
    "write": "bad-write={data},{size}",
    "flush": "fail=flush",
    "fua": "fail-fua",
    "discard": "fail=trim",
    "nospc": "bad-write=0,{data} nospc",
    "torn": "tear=0,{data},1",
    "hang": "hold=read,write,flush,trim",
    "hang-flush": "hold=flush",
    "gone": None,
    "power": None,
}
HANGS = ("hang", "hang-flush")
HARMLESS = HANGS + ("discard",)
# That a member fails when it is written to is no matter of luck.
FATAL = ("write", "flush", "fua", "nospc", "torn", "gone", "power")
PHASES = ("idle", "start", "writes", "add", "recovery", "resync", "check",
          "return", "clearing", "stop")


class Failure(Exception):
    pass


def get(path):
    try:
        with open(path, encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return ""


def put(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def put_idle(path, text):
    """md sets RUNNING for a moment whenever it looks for work: then busy."""
    def done():
        try:
            put(path, text)
            return True
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
            return False
    wait("%s to %s" % (text, path), done)


def wait(what, cond, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        result = cond()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure("waited in vain for: " + what)
        time.sleep(0.02)


def run(*cmd):
    """Run a command; its status, and what it said on errors."""
    try:
        done = subprocess.run(cmd, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=2 * PATIENCE)
    except subprocess.TimeoutExpired:
        raise Failure("hangs: " + " ".join(cmd)) from None
    return done.returncode, done.stderr.strip()


def mdadm(*args):
    return run("mdadm", "--quiet", *args)


def buffer(size):
    return mmap.mmap(-1, size)


class Job(threading.Thread):
    """Something that happens beside the fault, and has to come to an end."""

    def __init__(self, what, func, *args):
        super().__init__(daemon=True)
        self.what, self.func, self.args = what, func, args
        self.result = self.failure = None
        self.start()

    def run(self):
        try:
            self.result = self.func(*self.args)
        except (Failure, OSError) as e:
            self.failure = e

    def end(self):
        self.join(2 * PATIENCE)
        if self.is_alive():
            raise Failure("hangs: " + self.what)
        if self.failure:
            raise self.failure
        return self.result


def either(a, b):
    return ANY if a is ANY or b is ANY else a | b


class Model:
    """What each block may have, going by what was acknowledged."""

    def __init__(self):
        self.fd = -1
        self.count = int(get("/sys/block/md0/size")) * 512 // BLOCK
        self.may = [{0}] * self.count
        # what it had since the last flush, and may have again without a cache
        self.had = {}
        self.tag = 0
        self.lock = threading.Lock()

    def open(self):
        self.fd = os.open("/dev/md0", os.O_RDWR | os.O_DIRECT)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def next_tag(self):
        with self.lock:
            self.tag += 1
            return self.tag

    def write(self, block, blocks):
        tag = self.next_tag()
        buf = buffer(blocks * BLOCK)
        buf[:] = struct.pack("<Q", tag) * (len(buf) // 8)
        for b in range(block, block + blocks):
            self.had[b] = either(self.had.get(b, set()), self.may[b])
            self.may[b] = either(self.may[b], {tag})
        if os.pwritev(self.fd, [buf], block * BLOCK) != len(buf):
            raise OSError(errno.EIO, "short write")
        for b in range(block, block + blocks):
            self.may[b] = {tag}

    def read(self, block, blocks, buf=None):
        buf = buf or buffer(blocks * BLOCK)
        view = memoryview(buf)[:blocks * BLOCK]
        if os.preadv(self.fd, [view], block * BLOCK) != len(view):
            raise OSError(errno.EIO, "short read")
        for i in range(blocks):
            self.check(block + i, buf[i * BLOCK:(i + 1) * BLOCK])

    def check(self, block, data):
        may = self.may[block]
        if may is ANY:
            return
        tag = struct.unpack_from("<Q", data)[0]
        if tag not in may or data != data[:8] * (BLOCK // 8):
            raise Failure("block %d has %d, not one of %s" %
                          (block, tag, sorted(may)))
        # whichever it is, it must not change any more
        self.may[block] = {tag}

    def discard(self, block, blocks):
        for b in range(block, block + blocks):
            self.may[b] = ANY
        fcntl.ioctl(self.fd, BLKDISCARD,
                    struct.pack("<QQ", block * BLOCK, blocks * BLOCK))
        self.write(block, blocks)

    def flush(self, begin, end):
        """Nobody writes between these blocks."""
        os.fsync(self.fd)
        for b in range(begin, end):
            self.had.pop(b, None)

    def cache_lost(self):
        for b, had in self.had.items():
            self.may[b] = either(self.may[b], had)
        self.had = {}

    def fill(self):
        for b in range(0, self.count, 64):
            self.write(b, min(64, self.count - b))
        self.settle()

    def settle(self):
        """Nothing else is under way."""
        for b in range(self.count):
            if self.may[b] is ANY:
                self.write(b, 1)
        self.flush(0, self.count)

    def verify(self):
        buf = buffer(64 * BLOCK)
        for b in range(0, self.count, 64):
            self.read(b, min(64, self.count - b), buf)


class Play:
    def __init__(self, role, bad, good, tmp):
        self.role, self.bad, self.good, self.tmp = role, bad, good, tmp
        self.last = role == "last"
        self.rand = random.Random(1)
        with open(tmp + "/a.img", "rb") as f:
            f.seek(4096)
            sb = f.read(256)
        self.data, = struct.unpack_from("<Q", sb, 128)
        self.size, = struct.unpack_from("<Q", sb, 80)
        self.broken = False	# the disk has to be connected anew
        self.fault = ""
        self.model = Model()
        self.model.open()
        self.set_up()
        self.model.fill()
        self.seen = {}

    # ---- the array

    def set_up(self):
        # Clean soon, so that there are many updates of the superblocks.
        put(MD + "safe_mode_delay", "0.1")
        wait("the bitmap", lambda: os.path.exists(MD + "bitmap/time_base"))
        put(MD + "bitmap/time_base", "1")
        put(MD + "sync_max", "max")

    @staticmethod
    def running():
        return get(MD + "array_state") not in ("", "clear", "inactive")

    @staticmethod
    def letters():
        found = re.search(r"\[([U_]+)\]$", get("/proc/mdstat"), re.M)
        return found.group(1) if found else ""

    @staticmethod
    def at(member):
        return MD + "dev-" + os.path.basename(member) + "/state"

    def state(self, member):
        return get(self.at(member))

    def faulty(self, member):
        return "faulty" in self.state(member)

    @staticmethod
    def idle():
        return get(MD + "sync_action") == "idle" and "%" not in get("/proc/mdstat")

    def whole(self):
        return self.letters() == "UU" and self.idle()

    def leave(self, member):
        """Out of the array, whatever it was."""
        def gone():
            if not self.state(member):
                return True
            for word in "faulty", "remove":
                try:
                    put(self.at(member), word)
                except OSError:
                    pass
            return not self.state(member)
        wait("%s to be removed" % member, gone)

    def wipe(self, member):
        fd = os.open(member, os.O_RDWR | os.O_DIRECT)
        os.pwritev(fd, [buffer(8192)], 0)
        os.fsync(fd)
        os.close(fd)

    def rejoin(self, member):
        """A member that was out gets what it lacks; if need be everything."""
        status, said = mdadm("/dev/md0", "--re-add", member)
        if not status:
            try:
                wait("the return of " + member,
                     lambda: self.whole() or self.faulty(member))
            except Failure:
                pass
            if self.whole():
                return
        if self.fault not in ("torn", "power", "nospc") + self.fresh:
            raise Failure("%s cannot return: %s, %s" %
                          (member, said, self.state(member)))
        self.leave(member)
        self.wipe(member)
        status, said = mdadm("/dev/md0", "--add", member)
        if status:
            raise Failure("cannot be added: " + said)
        wait("the recovery of " + member, self.whole)

    def stop(self):
        self.model.close()
        wait("the array to stop",
             lambda: not mdadm("--stop", "/dev/md0")[0] or not self.running())

    def assemble(self, *members):
        status, said = mdadm("--assemble", "--run", "/dev/md0", *members)
        if not self.running():
            return said or str(status)
        if get(MD + "array_state") == "read-auto":
            mdadm("--readwrite", "/dev/md0")
        return ""

    def opened(self):
        self.set_up()
        self.model.open()

    # ---- the disk

    def on(self, where=""):
        """The fault begins."""
        words = FAULTS[self.fault]
        if self.fault == "gone":
            run("nbd-client", "-d", self.bad)
            self.broken = True
            return
        if self.fault == "power":
            put("/sys/kernel/config/nullb/nb0/power", "0")
            self.broken = True
            return
        if self.fault == "read" and where in ("start", "add"):
            # mdadm would not hear of a disk whose superblock it cannot read
            words = "bad-read=16,{data}"
        self.control(words.format(data=self.data, size=self.size))

    def control(self, words):
        put(self.tmp + "/bad0.new", words)
        os.rename(self.tmp + "/bad0.new", self.tmp + "/bad0.ctl")

    def off(self):
        """The fault is over; but who is dead does not come to life by that."""
        self.mark = "F" if self.faulty(self.bad) else "."
        if self.role == "power":
            return
        self.control("")
        if not self.served():
            self.broken = True
            if self.last:
                self.model.cache_lost()

    def served(self):
        pid = get(self.tmp + "/bad0.pid")
        return get("/proc/%s/comm" % pid) == "nbd-server-bad" and \
            get("/proc/%s/stat" % pid).split()[2] not in "ZX"

    def connect(self):
        """The disk is there again; no array has it."""
        self.broken = False
        if self.role == "power":
            put("/sys/kernel/config/nullb/nb0/power", "1")
            wait(self.bad, lambda: os.path.exists(self.bad))
            return
        run("nbd-client", "-d", self.bad)
        wait("the disk to be free",
             lambda: not os.path.exists("/sys/block/nbd0/pid"))
        if self.served():
            cmd = ["nbd-client", "127.0.0.1", "10800", self.bad, "-b", "512",
                   "-timeout", os.environ["NBD_TIMEOUT"]]
        else:
            cmd = ["bash", "-c",
                   ". %s/lib.sh; . %s/lib-faults.sh; member_bad 0 0" % (HERE, HERE)]
        status, said = run(*cmd)
        if status or get("/sys/block/nbd0/size") in ("", "0"):
            raise Failure("no disk: " + said)

    # ---- what goes on

    def io(self, count, part=0, parts=1):
        """Reads and writes, one after the other; returns what failed."""
        m, rand, errors = self.model, random.Random(self.rand.random()), []
        per = m.count // parts
        for i in range(count):
            what = rand.random()
            blocks = rand.randint(1, 8)
            block = per * part + rand.randrange(per - blocks)
            try:
                if what < 0.6:
                    m.write(block, blocks)
                elif what < 0.8:
                    m.read(block, blocks)
                elif what < 0.9 or i == count - 1:
                    m.flush(per * part, per * (part + 1))
                else:
                    m.discard(block, blocks)
            except OSError as e:
                errors.append("%.2f: %s" % (what, e))
        return errors

    def jobs_io(self, count, parts=1):
        return [Job("I/O", self.io, count, part, parts) for part in range(parts)]

    def over(self, jobs, seconds=0.0):
        """Wait for the end of I/O, and of the fault."""
        if self.fault in HANGS:
            time.sleep(HOLD)
            self.off()
        errors = [e for job in jobs for e in job.end()]
        if self.fault not in HANGS:
            time.sleep(seconds)
            self.off()
        if errors and (not self.last or self.fault in HARMLESS):
            raise Failure("errors: " + "; ".join(errors))
        self.errors += len(errors)

    def ph_idle(self):
        wait("a clean array", lambda: get(MD + "array_state") == "clean")
        self.on()
        self.over(self.jobs_io(12))

    def ph_start(self):
        members = [self.bad] if self.last else [self.bad, self.good]
        self.stop()
        job = Job("the start", self.assemble, *members)
        if self.fault == "gone":
            time.sleep(0.05)
        self.on("start")
        if self.fault in HANGS:
            time.sleep(HOLD)
            self.off()
        said = job.end()
        if said and (self.fault in HARMLESS + ("flush", "fua", "write", "nospc") and
                     not self.last):
            raise Failure("cannot be started: " + said)
        if self.running():
            self.opened()
            self.over(self.jobs_io(10))
        else:
            self.off()

    def ph_writes(self):
        # bits are clear, and have to be set
        put(MD + "bitmap/time_base", "0.1")
        time.sleep(0.6)
        put(MD + "bitmap/time_base", "1")
        jobs = self.jobs_io(25, 3)
        time.sleep(0.1)
        self.on()
        self.over(jobs)
        # it may have been over when the fault came
        noticed = self.errors if self.last else self.mark == "F"
        if self.fault in FATAL and not noticed:
            self.on()
            self.over(self.jobs_io(40))

    def copied_to(self):
        return self.good if self.last else self.bad

    @staticmethod
    def pause():
        """Copying, which is to begin, waits when it has done a third."""
        # a check goes on where another one was interrupted
        put_idle(MD + "sync_min", "0")
        put_idle(MD + "sync_max", "2048")

    @staticmethod
    def begun(what):
        wait(what, lambda: get(MD + "sync_action") == what and
             get(MD + "sync_completed").startswith("2048 "))

    def beside(self, count):
        """The fault comes while this is copied, and written to."""
        self.on()
        put(MD + "sync_max", "max")
        self.over(self.jobs_io(count), 0.2)

    def ph_add(self):
        who = self.copied_to()
        self.leave(who)
        self.wipe(who)
        self.on("add")
        job = Job("mdadm --add", mdadm, "/dev/md0", "--add", who)
        self.over(self.jobs_io(10), 0.2)
        job.end()
        # mdadm's write may have come just before the end of the fault
        if not self.served():
            self.broken = True

    def ph_recovery(self):
        who = self.copied_to()
        self.leave(who)
        self.wipe(who)
        self.pause()
        mdadm("/dev/md0", "--add", who)
        self.begun("recover")
        self.beside(16)

    def ph_resync(self):
        self.pause()
        put(MD + "bitmap_set_bits", "0-%d" % (self.size // 128 - 1))
        put_idle(MD + "sync_action", "resync")
        self.begun("resync")
        self.beside(16)

    def ph_check(self):
        self.pause()
        put_idle(MD + "sync_action", "check")
        self.begun("check")
        self.beside(16)

    def ph_return(self):
        who = self.copied_to()
        self.leave(who)
        for b in range(0, self.model.count - 64, 64):
            self.model.write(b, 32)
        self.pause()
        mdadm("/dev/md0", "--re-add", who)
        self.begun("recover")
        self.beside(12)

    def ph_clearing(self):
        put(MD + "bitmap/time_base", "100")
        errors = self.io(20)
        if errors:
            raise Failure("; ".join(errors))
        put(MD + "bitmap/time_base", "0.1")
        self.on()
        if self.fault not in HANGS:
            time.sleep(0.5)
        self.over(self.jobs_io(6))

    def ph_stop(self):
        errors = self.io(12)
        if errors:
            raise Failure("; ".join(errors))
        self.on()
        job = Job("stopping", self.stop)
        if self.fault in HANGS:
            time.sleep(HOLD)
            self.off()
            job.end()
        else:
            job.end()
            self.off()

    # ---- afterwards

    def repair(self):
        """All is well with the disk: it is taken back."""
        if self.last:
            self.repair_last()
        elif not self.running():
            mdadm("--stop", "/dev/md0")
            if self.broken:
                self.connect()
            members = [self.good] if self.role == "power" else [self.bad, self.good]
            said = self.assemble(*members)
            if said:
                said = self.assemble(self.good)
            if said:
                raise Failure("cannot be assembled: " + said)
            self.opened()
        elif self.broken:
            self.leave(self.bad)
            self.connect()
        self.set_up()
        if not self.last and "in_sync" not in self.state(self.good):
            raise Failure("the good member is " + (self.state(self.good) or "gone"))
        for member in self.bad, self.good:
            if not self.state(member) or self.faulty(member):
                self.leave(member)
                self.rejoin(member)
        wait("all to be whole", self.whole)

    def repair_last(self):
        if self.running() and self.faulty(self.bad):
            # unless the other has got everything, and it was not the last
            if "in_sync" not in self.state(self.good):
                raise Failure("the last member was given up")
            if self.broken:
                self.leave(self.bad)
                self.connect()
            return
        if self.running() and self.broken:
            self.stop()
        if self.broken:
            self.connect()
        if not self.running():
            mdadm("--stop", "/dev/md0")
            said = self.assemble(self.bad)
            if said:
                raise Failure("cannot be assembled: " + said)
            self.opened()
        # errors are over when the fault is over
        errors = self.io(6)
        if errors:
            raise Failure("errors without a fault: " + "; ".join(errors))
        if self.state(self.good) and not self.whole():
            # its recovery may have been given up
            self.set_up()
            self.leave(self.good)

    def equal(self):
        fds = [os.open(m, os.O_RDONLY | os.O_DIRECT) for m in (self.bad, self.good)]
        bufs = [buffer(1 << 19) for _ in fds]
        end = (self.data + self.size) * 512
        for pos in range(self.data * 512, end, 1 << 19):
            n = min(1 << 19, end - pos)
            for fd, buf in zip(fds, bufs):
                if os.preadv(fd, [memoryview(buf)[:n]], pos) != n:
                    raise Failure("short read")
            if bufs[0][:n] != bufs[1][:n]:
                raise Failure("members differ at data sector %d or behind" %
                              (pos // 512 - self.data))
        for fd in fds:
            os.close(fd)

    def cell(self, phase, fault):
        self.fault, self.mark, self.errors = fault, "", 0
        # who was wiped has no superblock to return by, and who could not be
        # recovered one that says it is a spare
        fresh = phase in ("add", "recovery") or (phase == "return" and self.last)
        self.fresh = (fault,) if fresh else ()
        if self.last:
            self.leave(self.good)
        getattr(self, "ph_" + phase)()
        self.repair()
        self.model.settle()
        self.model.verify()
        self.equal()
        if self.mark == "F" and fault in HARMLESS:
            raise Failure("a member failed for a fault of this kind")
        if self.mark != "F" and phase == "writes" and fault in FATAL and not self.last:
            raise Failure("a member failed writes and is still there")
        if not self.errors and phase == "writes" and fault in FATAL and self.last:
            raise Failure("nobody heard of the fault")
        self.seen[phase, fault] = "%s%s" % (self.mark, self.errors or "")


def main(role, bad, good, tmp, *only):
    phases = [p for p in PHASES
              if not (role == "last" and p in ("resync", "check")) and
              not (role == "power" and p in ("start", "add"))]
    faults = ["power"] if role == "power" else [
        f for f in FAULTS if f != "power" and
        not (role == "last" and f in ("discard", "hang-flush"))]
    play = Play(role, bad, good, tmp)
    for phase in phases:
        begin = time.monotonic()
        for fault in faults:
            if only and not {phase, phase + "/" + fault} & set(only):
                continue
            try:
                play.cell(phase, fault)
            except (Failure, OSError) as e:
                print("FAIL: %s, %s: %s" % (phase, fault, e))
                print(get("/proc/mdstat"), flush=True)
                # threads may hang for good
                os._exit(1)
        seen = ["%s %s" % (f, play.seen[phase, f]) for f in faults
                if (phase, f) in play.seen]
        if seen:
            print("%-9s %5.1f s  %s" % (phase, time.monotonic() - begin,
                                        "  ".join(seen)), flush=True)
    play.model.close()


if len(sys.argv) < 5:
    sys.exit(__doc__)
main(*sys.argv[1:])
