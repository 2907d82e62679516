#!/usr/bin/python3
"""A server of one disk that misbehaves on demand, for tests.

usage: nbd-faulty.py FILE PORT CONTROL

The disk has a write cache: what is written gets into FILE with the next flush
or FUA, not before. CONTROL is a file of words that are looked at before each
request:

  fail=CMD[,CMD...]	read, write, flush, trim: end with an error
  fail-fua		so do writes with FUA
  bad=START,LEN		sectors that can not be read nor written
  bad-write=START,LEN	sectors that can not be written
  dust=START,LEN	sectors that can not be read until they are written
  delay=MS		take longer
  lie			say that flushes went well, without doing them
  die			exit, and lose what was not flushed

It counts in CONTROL.stat, "CMD COUNT" a line.
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


class Disk:
    def __init__(self, name, control):
        self.fd = os.open(name, os.O_RDWR)
        self.size = os.fstat(self.fd).st_size
        self.now = bytearray(os.pread(self.fd, self.size, 0))
        self.unflushed = []
        self.control = control
        self.seen = None
        self.set = {}
        self.dust = set()
        self.count = dict.fromkeys(CMDS.values(), 0)

    def look(self):
        stat = os.stat(self.control)
        if (stat.st_mtime_ns, stat.st_size) == self.seen:
            return
        self.seen = (stat.st_mtime_ns, stat.st_size)
        with open(self.control, encoding="ascii") as f:
            self.set = dict(w.partition("=")[::2] for w in f.read().split())
        self.dust = set()
        if "dust" in self.set:
            start, count = map(int, self.set["dust"].split(","))
            self.dust = set(range(start, start + count))

    def flush(self):
        if "lie" not in self.set:
            for at, length in self.unflushed:
                os.pwrite(self.fd, self.now[at:at + length], at)
            self.unflushed = []

    def within(self, key, at, length):
        if key not in self.set:
            return False
        start, count = (int(n) * 512 for n in self.set[key].split(","))
        return at < start + count and start < at + length

    def serve(self, cmd, flags, at, data, length):
        """Returns an error number and what was read."""
        name = CMDS.get(cmd, "?")
        self.look()
        if "die" in self.set:
            os._exit(0)
        if "delay" in self.set:
            time.sleep(int(self.set["delay"]) / 1000)
        self.count[name] = self.count.get(name, 0) + 1
        with open(self.control + ".stat", "w", encoding="ascii") as f:
            f.writelines("%s %d\n" % i for i in self.count.items())
        if name in self.set.get("fail", "").split(","):
            return EIO, b""
        if name in ("read", "write") and self.within("bad", at, length):
            return EIO, b""
        sectors = range(at // 512, (at + length) // 512)
        if name == "read":
            if not self.dust.isdisjoint(sectors):
                return EIO, b""
            return 0, self.now[at:at + length]
        if name == "write":
            if self.within("bad-write", at, length):
                return EIO, b""
            if flags & FUA and "fail-fua" in self.set:
                return EIO, b""
            self.dust.difference_update(sectors)
            self.now[at:at + length] = data
            if flags & FUA and "lie" not in self.set:
                os.pwrite(self.fd, data, at)
            else:
                self.unflushed.append((at, length))
        elif name == "flush":
            self.flush()
        return 0, b""


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


def client(sock, disk, lock):
    try:
        negotiate(sock, disk)
        while True:
            magic, flags, cmd, handle, at, length = struct.unpack(
                ">IHHQQI", get(sock, 28))
            assert magic == 0x25609513
            data = get(sock, length) if cmd == 1 else b""
            if cmd == 2:
                break
            with lock:
                err, data = disk.serve(cmd, flags, at, data, length)
            sock.sendall(struct.pack(">IIQ", 0x67446698, err, handle) + data)
    except (EOFError, OSError):
        pass
    sock.close()


def main(name, port, control):
    # The runner ends servers of disks after the arrays on them are stopped,
    # and tells them by this name.
    ctypes.CDLL(None).prctl(15, b"nbd-server-bad", 0, 0, 0)
    disk = Disk(name, control)
    lock = threading.Lock()
    server = socket.create_server(("127.0.0.1", int(port)))
    while True:
        sock, _ = server.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=client, args=(sock, disk, lock),
                         daemon=True).start()


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(*sys.argv[1:])
