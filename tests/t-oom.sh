#!/bin/bash
# about: memory runs out: the 1st, 2nd, ... allocation fails, of every operation
# timeout: 600
# kernel: debug
# expect-dmesg: Call Trace
. "${0%/*}/lib.sh"

# (The kernel shows where an allocation failed, which is no failure here. What
# is one has a line of its own besides "Call Trace".)

sys=/sys/block/md0/md
tool=$T/oom.py

# A server, as starting Python is slow here. It keeps a model of what the array
# has to contain, and lets allocations fail for which this module is to blame:
# those with a function of the module on the stack. A line for each command:
#
#	nth N mine|all CMD...	run CMD with the Nth allocation failing, of
#				each task that has to do with it: of CMD alone,
#				or also of kernel threads; answer: "fired" or
#				"not", and how CMD ended
#	random P TIMES		P per cent of all allocations fail, TIMES of them
#				(-1: any number); "random 0 0": none
#	write COUNT		write some blocks to the array, and read them
#	check MEMBER...		is everything there, on the members, too?
#	learn			what is there now is right
#
# CMD is a program, or "store FILE TEXT", "load FILE": system calls for sysfs.
cat >"$tool" <<'PY'
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
PY

seed=$RANDOM
note "seed $seed"
coproc OOM { python3 "$tool" $seed; }
exec 8>&"${OOM[1]}" 9<&"${OOM[0]}"
oom() {
	echo "$*" >&8
	read -r answer <&9 || fail "the server ended: $*"
}
quiet() { oom random 0 0; }

# each NAME SCOPE CMD...: CMD with the 1st, 2nd, ... allocation failing, until
# there is none left to fail; before_NAME and after_NAME run before and after it.
each() {
	local name=$1 scope=$2 n good=0 result
	shift 2
	for ((n = 1; ; n++)); do
		"before_$name"
		oom nth $n "$scope" "$@"
		result=$answer
		[[ $result != *ok ]] || good=$((good + 1))
		"after_$name" "${result#* }"
		[[ $result = fired* ]] || break
		[ $n -lt 400 ] || fail "$name: no end of allocations"
	done
	[ "${result#* }" = ok ] || fail "$name failed without reason: $result"
	note "$name: $((n - 1)) allocations failed; $((good - 1)) times, it went well all the same"
}

# ---- the array: three members, of which the third comes and goes ---------------

loops 3 6M
sync_speed 100000 1000000
load
oom filter
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --data-offset=1M \
	--assume-clean -n 3 "${m[@]}"
md_attr /dev/md0 bitmap/time_base 1
oom write 20

idle() { [ "$(md_attr /dev/md0 sync_action)" = idle ]; }
settle() { wait_idle /dev/md0 60; }
third_leaves() {
	[[ $(rdev_state /dev/md0 "${m[2]}") = *faulty* ]] ||
		mdadm --quiet /dev/md0 --fail "${m[2]}" 2>/dev/null
	wait_for 20 mdadm --quiet /dev/md0 --remove "${m[2]}" 2>/dev/null
	oom write 5
}
third_returns() {
	# Should it be there as a spare: md offers it a slot when it looks again.
	if [ ! -e "$sys/dev-$(kname "${m[2]}")" ]; then
		wait_for 20 third_added
	fi
	wait_for 60 third_in_sync
	settle
	oom write 5
	oom check "${m[@]}"
}
third_added() {
	mdadm --quiet /dev/md0 --re-add "${m[2]}" 2>/dev/null ||
		mdadm --quiet /dev/md0 --add "${m[2]}" 2>/dev/null
}
third_in_sync() {
	[ "$(md_letters /dev/md0)" = UUU ] && return
	! idle || md_attr /dev/md0 sync_action idle
	false
}
works() {
	oom write 5
	oom check "${m[0]}" "${m[1]}"
}

# ---- one after the other -----------------------------------------------------

note "attributes"
before_attr() { :; }
after_attr() { :; }
for attr in "time_base 1" "backlog 0" "space 64" "chunksize 65536" "metadata internal"; do
	file=$sys/bitmap/${attr% *}
	oom nth 1 mine store "$file" "${attr#* }"
done
each attr mine load "$sys/bitmap/members"
each attr mine store "$sys/bitmap_set_bits" 3-5
works

note "a member leaves: removed from its slot"
before_leave() {
	wait_for 20 third_in_sync
	md_attr /dev/md0 bitmap/time_base 600 # nobody is to notice it by himself
	rdev_attr /dev/md0 "${m[2]}" state faulty
	wait_for 20 sb_written
}
sb_written() { [[ $(rdev_attr /dev/md0 "${m[2]}" state) != *blocked* ]]; }
after_leave() {
	md_attr /dev/md0 bitmap/time_base 1
	[ "$1" = ok ] || [ -e "$sys/dev-$(kname "${m[2]}")" ] || fail "gone, with an error: $1"
	if [ -e "$sys/dev-$(kname "${m[2]}")" ]; then
		wait_for 20 mdadm --quiet /dev/md0 --remove "${m[2]}" 2>/dev/null
	fi
	oom write 5
	third_returns
}
each leave all store "$sys/dev-$(kname "${m[2]}")/state" remove

note "a member returns"
before_return() { third_leaves; }
after_return() { third_returns; }
each return all mdadm --quiet /dev/md0 --re-add "${m[2]}"

note "a new member is put into a slot by hand"
before_slot() {
	third_leaves
	md_attr /dev/md0 sync_action frozen
	mdadm --zero-superblock "${m[2]}"
	mdadm --quiet /dev/md0 --add "${m[2]}"
}
after_slot() {
	md_attr /dev/md0 sync_action idle
	third_returns
}
each slot all store "$sys/dev-$(kname "${m[2]}")/slot" 2

note "the bitmap goes and comes"
before_none() { settle; }
after_none() {
	works
	[ "$(md_attr /dev/md0 bitmap/location)" != none ] ||
		md_attr /dev/md0 bitmap/location +8
}
each none mine store "$sys/bitmap/location" none
before_internal() {
	settle
	md_attr /dev/md0 bitmap/location none
}
after_internal() {
	[ "$1" = ok ] || assert_eq "$(md_attr /dev/md0 bitmap/location)" none
	works
	[ "$(md_attr /dev/md0 bitmap/location)" != none ] ||
		md_attr /dev/md0 bitmap/location +8
	works
}
each internal mine store "$sys/bitmap/location" +8
settle
oom check "${m[@]}"

note "stop and start, with a map"
third_leaves
before_stop() { settle; }
after_stop() {
	[ ! -e $sys/array_state ] || [ "$(md_attr /dev/md0 array_state)" = clear ] ||
		md_stop /dev/md0
	md_assemble /dev/md0 "${m[0]}" "${m[1]}" --run
	md_writable /dev/md0
	works
}
each stop mine mdadm --quiet --stop /dev/md0
before_start() { md_stop /dev/md0; }
after_start() {
	if [ "$1" != ok ]; then
		[ ! -e $sys/array_state ] || md_stop /dev/md0
		md_assemble /dev/md0 "${m[0]}" "${m[1]}" --run
	fi
	md_writable /dev/md0
	works
}
each start mine mdadm --quiet --assemble /dev/md0 "${m[0]}" "${m[1]}" --run
third_returns

# ---- all at the same time ------------------------------------------------------

failures() { echo $((1000000 - $(</sys/kernel/debug/failslab/times))); }
# most_fail CMD...: while it runs, nine of ten allocations fail, in whatever task
most_fail() {
	oom random 90 1000000
	"$@"
	failed=$(failures)
	quiet
	assert_gt "$failed" 0 "failures"
}

note "verified writes"
written() {
	timeout $((60 * SLOW)) fio --name=v --filename=/dev/md0 --rw=randwrite \
		--bsrange=4k-128k --blockalign=4k --direct=1 --ioengine=libaio \
		--iodepth=16 --io_size=12M --size=4M --verify=crc32c --verify_fatal=1 \
		--do_verify=1 >"$T/fio" 2>&1 || fail "fio: $(tail -n 20 "$T/fio")"
}
begin=$SECONDS
most_fail written
note "took $((SECONDS - begin)) s; $failed allocations failed"
# Who has no memory is not broken.
assert_eq "$(md_letters /dev/md0)" UUU
drop_caches
oom learn
oom check "${m[@]}"

note "a member leaves, and is missed, with no memory for its map"
away() {
	oom random 100 -1
	mdadm --quiet /dev/md0 --fail "${m[2]}" 2>/dev/null
	for _ in 1 2 3 4 5 6; do
		oom write 5
		sleep 1
	done
	# As long as nobody remembers what it lacks, it cannot be removed, and no
	# bit is cleared.
	assert_fails mdadm --quiet /dev/md0 --remove "${m[2]}" 2>/dev/null
	assert_gt "$(bitmap_dirty "${m[0]}")" 10 "bits that are kept"
	quiet
}
away
third_leaves
third_returns

note "recovery"
begun() {
	third_added || true
	for _ in 1 2 3 4 5 6; do
		oom write 5
		sleep 0.5
	done
}
third_leaves
oom write 50
most_fail begun
note "$failed allocations failed"
third_returns

note "a check"
checked() {
	md_attr /dev/md0 sync_action check
	sleep 2
}
most_fail checked
settle
assert_eq "$(md_check /dev/md0)" 0
oom check "${m[@]}"
