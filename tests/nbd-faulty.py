#!/usr/bin/python3
"""A server of one disk that misbehaves on demand, for tests.

usage: nbd-faulty.py FILE PORT CONTROL

The disk has a write cache: what is written gets into FILE with the next flush
or FUA, not before. CONTROL is a file of words that are looked at before each
request:

  fail=CMD[,CMD...]	read, write, flush, trim: end with an error
  fail-fua		so do writes with FUA
  bad=START,LEN		sectors that can not be read nor written
  bad-read=START,LEN	sectors that can not be read
  bad-write=START,LEN	sectors that can not be written
  dust=START,LEN	sectors that can not be read until they are written
  nospc			errors are of the kind "no space left"
  delay=MS		take longer, one request after the other
  slow-flush=MS		flushes take that long; what else comes is served
  slow-at=START,LEN,MS	so do reads and writes of these sectors
  hold=CMD[,CMD...]	do not answer these until the word is gone
  hold-at=START,LEN	... nor reads and writes of these sectors
  lie			say that flushes went well, without doing them
  die			exit, and lose what was not flushed
  tear=START,LEN,N	of the next write of these sectors, N sectors arrive at
			once in FILE, and then the same as die
  watch=DATA,CHUNK,BITS	DATA: the first sector that is data, CHUNK: sectors a
			bit of the bitmap stands for, BITS: where these begin,
			in bytes; count writes of data whose bits are not in
			FILE as "early"

It counts in CONTROL.stat, "WHAT COUNT" a line: requests by command, "early", and
as "overtake" writes with FUA that came while a flush had not made sure yet of
what had been written before.
"""
import ctypes
import os
import socket
import struct
import sys
import threading
import time

CMDS = {0: "read", 1: "write", 2: "disconnect", 3: "flush", 4: "trim"}
FUA = 1
EIO = 5
ENOSPC = 28


class Disk:
    def __init__(self, name, control):
        self.fd = os.open(name, os.O_RDWR)
        self.size = os.fstat(self.fd).st_size
        self.now = bytearray(os.pread(self.fd, self.size, 0))
        self.unflushed = []
        self.flushing = 0
        self.control = control
        self.seen = None
        self.set = {}
        self.dust = set()
        self.count = dict.fromkeys([*CMDS.values(), "early", "overtake"], 0)
        self.lock = threading.Lock()

    def look(self):
        stat = os.stat(self.control)
        if (stat.st_mtime_ns, stat.st_size) == self.seen:
            return
        self.seen = (stat.st_mtime_ns, stat.st_size)
        with open(self.control, encoding="ascii") as f:
            self.set = dict(w.partition("=")[::2] for w in f.read().split())
        self.dust = set()
        if "dust" in self.set:
            start, count = self.numbers("dust")
            self.dust = set(range(start, start + count))

    def numbers(self, key):
        return [int(n) for n in self.set[key].split(",")]

    def listed(self, key, name):
        return name in self.set.get(key, "").split(",")

    def within(self, key, at, length):
        if key not in self.set:
            return False
        start, count = (n * 512 for n in self.numbers(key)[:2])
        return at < start + count and start < at + length

    def arrive(self, name, flags, at, data):
        """What has to be done about a request at once."""
        self.count[name] = self.count.get(name, 0) + 1
        if name == "write" and "watch" in self.set:
            self.count["early"] += self.early(at, len(data))
        if name == "write" and flags & FUA and self.flushing:
            self.count["overtake"] += 1
        with open(self.control + ".stat", "w", encoding="ascii") as f:
            f.writelines("%s %d\n" % i for i in self.count.items())

    def early(self, at, length):
        first, chunk, bits = self.numbers("watch")
        if at < first * 512:
            return 0
        for bit in range((at // 512 - first) // chunk,
                         ((at + length - 1) // 512 - first) // chunk + 1):
            byte = os.pread(self.fd, 1, bits + bit // 8)[0]
            if not byte & 1 << bit % 8:
                return 1
        return 0

    def held(self, name, at, length):
        return self.listed("hold", name) or (
            name in ("read", "write") and self.within("hold-at", at, length))

    def pause(self, name, at, length):
        """Seconds for which a request waits, while others do not."""
        if name == "flush" and "slow-flush" in self.set:
            return int(self.set["slow-flush"]) / 1000
        if name in ("read", "write") and self.within("slow-at", at, length):
            return self.numbers("slow-at")[2] / 1000
        return 0

    def error(self, name, flags, at, length):
        sectors = range(at // 512, (at + length) // 512)
        return (self.listed("fail", name) or
                (name in ("read", "write") and
                 (self.within("bad", at, length) or
                  self.within("bad-" + name, at, length))) or
                (name == "read" and not self.dust.isdisjoint(sectors)) or
                (name == "write" and flags & FUA and "fail-fua" in self.set))

    def serve(self, name, flags, at, data, length, flush):
        """Returns an error number and what was read."""
        if "die" in self.set:
            os._exit(0)
        if "delay" in self.set:
            time.sleep(int(self.set["delay"]) / 1000)
        if self.error(name, flags, at, length):
            return ENOSPC if "nospc" in self.set else EIO, b""
        if name == "read":
            return 0, self.now[at:at + length]
        if name == "write":
            if self.within("tear", at, length):
                os.pwrite(self.fd, data[:self.numbers("tear")[2] * 512], at)
                os._exit(0)
            self.dust.difference_update(range(at // 512, (at + length) // 512))
            self.now[at:at + length] = data
            if flags & FUA and "lie" not in self.set:
                os.pwrite(self.fd, data, at)
            else:
                self.unflushed.append((at, length))
        elif name == "flush":
            for start, count in flush:
                os.pwrite(self.fd, self.now[start:start + count], start)
        return 0, b""

    def handle(self, cmd, flags, at, data, length, reply):
        name = CMDS.get(cmd, "?")
        flush = []
        with self.lock:
            self.look()
            self.arrive(name, flags, at, data)
            if (name == "flush" and "lie" not in self.set and
                    not self.error(name, flags, at, length)):
                flush, self.unflushed = self.unflushed, []
            held = self.held(name, at, length)
            pause = self.pause(name, at, length)
            if not held and not pause:
                reply(*self.serve(name, flags, at, data, length, flush))
                return
            if flush:
                self.flushing += 1

        def later():
            time.sleep(pause)
            while True:
                with self.lock:
                    self.look()
                    if not self.held(name, at, length):
                        break
                time.sleep(0.02)
            with self.lock:
                if flush:
                    self.flushing -= 1
                reply(*self.serve(name, flags, at, data, length, flush))
        threading.Thread(target=later, daemon=True).start()


def get(sock, n):
    data = bytearray()
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def negotiate(sock, disk):
    # fixed newstyle, no zeroes; flags: flush, FUA, trim
    flags = 1 | 4 | 8 | 32
    sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    no_zeroes = struct.unpack(">I", get(sock, 4))[0] & 2
    while True:
        _, option, length = struct.unpack(">QII", get(sock, 16))
        data = get(sock, length)
        if option == 1:		# export name
            sock.sendall(struct.pack(">QH", disk.size, flags) +
                         (b"" if no_zeroes else bytes(124)))
            return
        reply = struct.pack(">QI", 0x3e889045565a9, option)
        if option in (6, 7):	# info, go
            info = struct.pack(">HQH", 0, disk.size, flags)
            sock.sendall(reply + struct.pack(">II", 3, len(info)) + info)
            sock.sendall(reply + struct.pack(">II", 1, 0))
            if option == 7:
                return
        else:
            del data
            sock.sendall(reply + struct.pack(">II", 0x80000001, 0))


def client(sock, disk):
    # Replies are sent under the disk's lock, one at a time.
    def replier(handle):
        def reply(err, data):
            try:
                sock.sendall(struct.pack(">IIQ", 0x67446698, err, handle) +
                             data)
            except OSError:
                pass
        return reply

    try:
        negotiate(sock, disk)
        while True:
            magic, flags, cmd, handle, at, length = struct.unpack(
                ">IHHQQI", get(sock, 28))
            assert magic == 0x25609513
            data = get(sock, length) if cmd == 1 else b""
            if cmd == 2:
                break
            disk.handle(cmd, flags, at, data, length, replier(handle))
    except (EOFError, OSError):
        pass
    sock.close()


def main(name, port, control):
    # The runner ends servers of disks after the arrays on them are stopped,
    # and tells them by this name.
    ctypes.CDLL(None).prctl(15, b"nbd-server-bad", 0, 0, 0)
    disk = Disk(name, control)
    server = socket.create_server(("127.0.0.1", int(port)))
    while True:
        sock, _ = server.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=client, args=(sock, disk), daemon=True).start()


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(*sys.argv[1:])
