#!/bin/bash
# about: any request to any member may fail, at once: data, bits, maps, superblocks, copies
# timeout: 600
# kernel: debug
# shellcheck disable=SC2317 # functions are called by wait_for
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

# The kernel's own fault injection ends requests before a disk gets them, so in the
# context of whoever submits them. To repeat a run, as far as chance allows: SEED=N

: "${SEED:=$RANDOM}" "${ROUNDS:=10}"
note "seed $SEED, $ROUNDS rounds"
RANDOM=$SEED
inject=/sys/kernel/debug/fail_make_request
md=/dev/md0

# Writers, each with blocks of its own, that keep what a block may contain: what
# was acknowledged last, and all that was tried since. Commands: "load SECONDS",
# "look FILE OFFSET" (is everything there? in bytes; of the array, or of a member).
cat >"$T/writers.py" <<'PY'
import mmap, os, random, sys, threading, time

MD, BLOCK, COUNT = sys.argv[1], 4096, int(sys.argv[2])
WRITERS = 4
rand = random.Random(int(sys.argv[3]))
may = [{0} for _ in range(COUNT)]
serial = 0
lock = threading.Lock()
wrong = []
good = bad = 0

def content(n, at):
    return (b"%016d%016d" % (n, at)) * (BLOCK // 32) if n else bytes(BLOCK)

def number(data, at):
    n = 0 if data[:32] == bytes(32) else int(data[:16])
    return n if data == content(n, at) else None

def compare(what, data, first):
    for i in range(len(data) // BLOCK):
        n = number(data[i * BLOCK:(i + 1) * BLOCK], first + i)
        if n not in may[first + i]:
            wrong.append(f"block {first + i} of {what} has {n}, not {sorted(may[first + i])}")

def one(fd, buf, r, who):
    global serial, good, bad
    length = r.choice((1, 1, 2, 5, 16))
    share = COUNT // WRITERS
    at = who * share + r.randrange(share - length)
    view = memoryview(buf)[:length * BLOCK]
    kind = r.choice("wwwwwrrf")
    try:
        if kind == "f":
            os.fsync(fd)
        elif kind == "r":
            if os.preadv(fd, [view], at * BLOCK) == len(view):
                compare(MD, bytes(view), at)
        else:
            with lock:
                serial += 1
                n = serial
            for i in range(length):
                may[at + i].add(n)
                view[i * BLOCK:(i + 1) * BLOCK] = content(n, at + i)
            if os.pwritev(fd, [view], at * BLOCK) == len(view):
                for i in range(length):
                    may[at + i] = {n}
        with lock:
            good += 1
    except OSError:
        with lock:
            bad += 1

def writer(who, seed, until):
    r = random.Random(seed)
    buf = mmap.mmap(-1, 16 * BLOCK)
    fd = os.open(MD, os.O_RDWR | os.O_DIRECT)
    while time.monotonic() < until:
        one(fd, buf, r, who)
    os.close(fd)

def load(seconds):
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=writer, args=(w, rand.random(), until)) for w in range(WRITERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

def look(file, offset):
    fd = os.open(file, os.O_RDONLY | os.O_DIRECT)
    buf = mmap.mmap(-1, COUNT * BLOCK)
    if os.preadv(fd, [buf], offset) != len(buf):
        wrong.append(f"short read of {file}")
    else:
        compare(file, buf[:], 0)
    os.close(fd)

for line in sys.stdin:
    cmd, *args = line.split()
    if cmd == "load":
        good = bad = 0
        load(float(args[0]))
        print(f"{good} requests were good, {bad} failed", flush=True)
    else:
        look(args[0], int(args[1]))
        print("looked", flush=True)
    if wrong:
        sys.exit("\n".join(wrong[:10]))
PY

loops 3 8M
load
sync_speed 100000 1000000
mdcreate $md --bitmap=internal --bitmap-chunk=64K --data-offset=1M --assume-clean \
	-n 3 "${m[@]}"
coproc W { python3 "$T/writers.py" $md $(($(sectors $md) / 8)) "$SEED"; }
exec 8>&"${W[1]}" 9<&"${W[0]}"
writers() {
	echo "$*" >&8
	read -r answer <&9 || fail "a writer or reader ended: $*"
}

echo 0 >$inject/verbose
echo 1 >$inject/interval
faults() { echo "$2" >$inject/times; echo "$1" >$inject/probability; }
# flaky MEMBER NUMBER...: it is these of whose requests some fail
flaky() {
	local i
	for i in 0 1 2; do echo 0 >"/sys/block/$(kname "${m[i]}")/make-it-fail"; done
	for i; do echo 1 >"/sys/block/$(kname "${m[i]}")/make-it-fail"; done
}
quick_bits() { wait_for 10 test -e /sys/block/md0/md/bitmap/time_base; md_attr $md bitmap/time_base 1; }
absent() { [ ! -e "/sys/block/md0/md/dev-$(kname "$1")" ]; }
comes_back() {
	absent "$1" || mdadm --quiet $md --remove "$1" 2>/dev/null || return
	mdadm --quiet $md --re-add "$1" 2>/dev/null || mdadm --quiet $md --add "$1" 2>/dev/null
}
# A recovery that met an error is not tried again by itself.
all_in_sync() {
	[ "$(md_letters $md)" != UUU ] || return 0
	[ "$(md_attr $md sync_action)" != idle ] || md_attr $md sync_action idle
	return 1
}
heal() {
	local d
	faults 0 0
	for d in "${m[@]}"; do
		if absent "$d" || is_faulty $md "$d"; then wait_for 60 comes_back "$d"; fi
	done
	wait_for 120 all_in_sync
	wait_idle $md 120
}
all_there() {
	local d
	writers look $md 0
	for d in "${m[@]}"; do writers look "$d" $(($(data_offset "$d") * 512)); done
	assert_same "${m[@]}"
}

failed=0 bad=0
for ((round = 1; round <= ROUNDS; round++)); do
	quick_bits
	case $((RANDOM % 4)) in
	0) who=$((RANDOM % 3)) ;;
	1) who="0 1" ;;
	2) who="1 2" ;;
	3) who="0 1 2" ;;
	esac
	percent=$((1 + RANDOM % 20))
	[ $round != 1 ] || who="0 1 2" percent=20
	# shellcheck disable=SC2086 # a list
	flaky $who
	how=$((round % 4))
	case $how in
	0 | 1)
		what="under load"
		faults $percent -1
		writers load 3
		;;
	2)
		what="while a member returns"
		d=${m[${who##* }]}
		mdadm --quiet $md --fail "$d" 2>/dev/null
		writers load 1
		wait_for 60 comes_back "$d"
		faults $percent -1
		writers load 3
		;;
	3)
		what="as it stops and starts"
		writers load 1
		faults $percent -1
		mdadm --quiet --stop $md 2>/dev/null || true
		for _ in 1 2 3; do
			! mdadm --quiet --assemble --run $md "${m[@]}" 2>/dev/null </dev/null || break
			mdadm --quiet --stop $md 2>/dev/null || true
		done
		faults 0 0
		# Whoever is there knows the newest of it, by event counts.
		if [ ! -e /sys/block/md0/md/array_state ] || [ "$(md_attr $md array_state)" = clear ] ||
		   [ "$(md_attr $md array_state)" = inactive ]; then
			mdadm --quiet --stop $md 2>/dev/null || true
			md_assemble --run $md "${m[@]}"
		fi
		md_writable $md
		answer=
		;;
	esac
	letters=$(md_letters $md)
	note "$round: $percent % of the requests to $who failed $what: [$letters] $answer"
	[[ $letters = *U* ]] || fail "no member is left"
	[[ $letters = UUU ]] || failed=$((failed + 1))
	[[ ! $answer || $answer = *" 0 failed" ]] || bad=$((bad + 1))
	heal
	all_there
done
assert_gt $failed 0 "rounds in which a member failed"
assert_gt $bad 0 "rounds in which the last member's errors were passed on"

# Now the array answers for the requests that nobody makes fail.
writers load 1
assert_match "$answer" "good, 0 failed"
all_there
md_stop $md
md_assemble $md "${m[@]}"
assert_eq "$(md_letters $md)" UUU
all_there
