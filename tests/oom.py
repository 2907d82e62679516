#!/usr/bin/env python3
"""
A server, as starting Python is slow here. It keeps a model of what the array
has to contain, and lets allocations fail for which this module is to blame:
those with a function of the module on the stack. A line for each command:

nth N mine|all CMD...   run CMD with the Nth allocation failing, of
                        each task that has to do with it: of CMD alone,
                        or also of kernel threads; answer: "fired" or
                        "not", and how CMD ended
random P TIMES          P per cent of all allocations fail, TIMES of them
                        (-1: any number); "random 0 0": none
write COUNT             write some blocks to the array, and read them
check MEMBER...         is everything there, on the members, too?
learn                   what is there now is right

CMD is a program, or "store FILE TEXT", "load FILE": system calls for sysfs.
"""
import glob, mmap, os, random, subprocess, sys

MD, BLOCK = "/dev/md0", 4096
DEBUG = "/sys/kernel/debug/"
ATTRS = [DEBUG + "failslab/", DEBUG + "fail_page_alloc/"]
KTHREADS = ("kworker/", "md0_", "kthreadd")
rand = random.Random(int(sys.argv[1]))
model = {}

def put(file, text):
    with open(file, "w") as f:
        f.write(str(text))

def get(file):
    with open(file) as f:
        return f.read().strip()

def filter_ours():
    start = int(get("/sys/module/md_raid1/sections/.text"), 16)
    end = max(int(line.split()[0], 16) for line in open("/proc/kallsyms")
              if line.split()[1] in "tT" and "[md_raid1]" in line)
    for attr in ATTRS:
        put(attr + "verbose", 0)
        put(attr + "probability", 0)
        put(attr + "ignore-gfp-wait", "N")
        put(attr + "stacktrace-depth", 32)
        put(attr + "require-start", hex(start))
        put(attr + "require-end", hex(end + 4096))
    put(ATTRS[1] + "min-order", 0)
    put(ATTRS[1] + "ignore-gfp-highmem", "N")

def arm_kthreads(n):
    armed = []
    for comm in glob.glob("/proc/[0-9]*/comm"):
        pid = comm.split("/")[2]
        try:
            if get(comm).startswith(KTHREADS):
                put(f"/proc/{pid}/task/{pid}/fail-nth", n)
                armed.append(pid)
        except OSError:
            pass
    return armed

def disarm_kthreads(armed):
    fired = False
    for pid in armed:
        file = f"/proc/{pid}/task/{pid}/fail-nth"
        try:
            fired |= get(file) == "0"
            put(file, 0)
        except OSError:
            pass
    return fired

def syscall_nth(n, what, file, text=""):
    """One write() or read(); what else happens does not count."""
    fd = os.open(file, os.O_WRONLY if what == "store" else os.O_RDONLY)
    nth = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
    os.write(nth, str(n).encode())
    try:
        if what == "store":
            os.write(fd, text.encode())
        else:
            os.read(fd, 4096)
        error = "ok"
    except OSError as e:
        error = e.strerror
    fired = os.pread(nth, 16, 0).strip() == b"0"
    os.pwrite(nth, b"0", 0)
    os.close(nth)
    os.close(fd)
    return fired, error

def program_nth(n, args):
    def arm():
        put("/proc/thread-self/fail-nth", n)
    p = subprocess.Popen(args, preexec_fn=arm, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)
    fired = get(f"/proc/{p.pid}/task/{p.pid}/fail-nth") == "0"
    return fired, "ok" if p.wait() == 0 else "failed"

def nth(n, scope, *cmd):
    armed = arm_kthreads(n) if scope == "all" else []
    if cmd[0] in ("store", "load"):
        fired, error = syscall_nth(n, *cmd)
    else:
        fired, error = program_nth(n, cmd)
    if armed:
        subprocess.run(["sleep", "0.3"])    # for kernel threads to go on
    fired |= disarm_kthreads(armed)
    return f"{'fired' if fired else 'not'} {error}"

def random_failures(percent, times):
    for attr in ATTRS:
        put(attr + "times", times)
        put(attr + "probability", percent)

def blocks():
    return int(get("/sys/block/md0/size")) * 512 // BLOCK

def write(count):
    buf = mmap.mmap(-1, BLOCK)
    fd = os.open(MD, os.O_RDWR | os.O_DIRECT)
    for i in range(int(count)):
        at = rand.randrange(blocks())
        model[at] = rand.randbytes(BLOCK)
        buf[:] = model[at]
        if os.pwritev(fd, [buf], at * BLOCK) != BLOCK:
            sys.exit("short write")
        if os.preadv(fd, [buf], at * BLOCK) != BLOCK or buf[:] != model[at]:
            sys.exit(f"block {at} reads wrong")
    os.close(fd)

def check(*members):
    count = blocks()
    places = [(MD, 0)]
    for m in members:
        name = os.path.basename(m)
        places.append((m, int(get(f"/sys/block/md0/md/dev-{name}/offset")) * 512))
    buf = mmap.mmap(-1, count * BLOCK)
    for dev, offset in places:
        fd = os.open(dev, os.O_RDONLY | os.O_DIRECT)
        if os.preadv(fd, [buf], offset) != count * BLOCK:
            sys.exit(f"short read of {dev}")
        os.close(fd)
        for at in range(count):
            if buf[at * BLOCK:(at + 1) * BLOCK] != model.get(at, bytes(BLOCK)):
                sys.exit(f"block {at} of {dev} is wrong")

def learn():
    with open(MD, "rb") as f:
        for at in range(blocks()):
            model[at] = f.read(BLOCK)

for line in sys.stdin:
    cmd, *args = line.split()
    answer = "ok"
    if cmd == "filter":
        filter_ours()
    elif cmd == "nth":
        answer = nth(int(args[0]), *args[1:])
    elif cmd == "random":
        random_failures(*args)
    elif cmd == "write":
        write(*args)
    elif cmd == "check":
        check(*args)
    elif cmd == "learn":
        learn()
    else:
        sys.exit(f"unknown: {line}")
    print(answer, flush=True)
