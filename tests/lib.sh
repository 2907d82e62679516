# shellcheck shell=bash
# Helpers for the tests, which run as root inside the test machine.
# A test begins with:
#
#	#!/bin/bash
#	# about: one line on what is shown
#	# timeout: 120
#	. "${0%/*}/lib.sh"
#
# and fails by exit status. Header words the runner knows: see tests/run.
# Nothing has to be cleaned up: after each test the runner stops arrays,
# removes loop, nbd, dm and null_blk devices, unmounts, unloads the module.

set -euo pipefail
shopt -s inherit_errexit
export MDADM_NO_UDEV=1

# Scratch space in memory, emptied after each test.
T=/tmp/t
mkdir -p "$T"

# ---- saying and checking ---------------------------------------------------

# note TEXT: says where we are, and the seconds since the test began
note() { printf -- '-- %3d s  %s\n' "$SECONDS" "$*"; }
fail() {
	echo "FAIL: $*" >&2
	echo "    at: ${BASH_SOURCE[*]: -1}:${BASH_LINENO[*]: -2:1}" >&2
	exit 1
}
skip() { echo "SKIP: $*"; exit 77; }

# A command that fails unexpectedly ends the test; say which.
set -E
trap 'echo "FAIL: status $? from: $BASH_COMMAND (${BASH_SOURCE[0]##*/}:$LINENO; called at line ${BASH_LINENO[*]})" >&2' ERR

# assert_eq GOT WANT [WHAT]
assert_eq() { [ "$1" = "$2" ] || fail "${3:-value}: got '$1', want '$2'"; }
# assert_ne GOT NOTWANT [WHAT]
assert_ne() { [ "$1" != "$2" ] || fail "${3:-value}: got '$1', want anything else"; }
# assert_lt|le|gt|ge A B [WHAT]
assert_lt() { [ "$1" -lt "$2" ] || fail "${3:-value}: $1 is not < $2"; }
assert_le() { [ "$1" -le "$2" ] || fail "${3:-value}: $1 is not <= $2"; }
assert_gt() { [ "$1" -gt "$2" ] || fail "${3:-value}: $1 is not > $2"; }
assert_ge() { [ "$1" -ge "$2" ] || fail "${3:-value}: $1 is not >= $2"; }
# assert_match TEXT REGEX [WHAT]
assert_match() { [[ $1 =~ $2 ]] || fail "${3:-text}: '$1' does not match '$2'"; }
# assert_fails CMD...: the command must end with an error
assert_fails() { if "$@"; then fail "succeeded, but should not: $*"; fi; }

# wait_for SECONDS CMD...: until CMD succeeds; fails the test if it never does
wait_for() {
	local end=$((SECONDS + $1 * ${SLOW:-1}))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "waited in vain for: $*"
		sleep 0.1
	done
}

# ---- the module ------------------------------------------------------------

# The module under test, or Debian's.
load_ours() {
	modprobe md-mod
	lsmod | grep -q '^raid1 ' && fail "the stock module is loaded"
	lsmod | grep -q '^md_raid1 ' || insmod /job/md-raid1.ko "$@"
}
load_stock() { modprobe raid1; }
# load: by $IMPL, "ours" (default) or "stock": for tests that run on both
load() { load_"${IMPL:-ours}"; }
unload() {
	local m
	for m in md_raid1 raid1; do
		if grep -q "^$m " /proc/modules; then rmmod "$m"; fi
	done
}

# dmesg_since MARK: kernel messages after "dmesg_mark"; start of test without
dmesg_mark() {
	local m="mark $RANDOM$RANDOM"
	echo "$m" >/dev/kmsg
	echo "$m"
}
dmesg_since() {
	dmesg | sed "1,/$(printf '%s' "${1:-test ${0##*/} starts}" | sed 's/[.[\*^$/]/\\&/g')\$/d"
}

# ---- members ---------------------------------------------------------------
# Each function makes a block device and prints its path; call as
# "a=$(member_loop a 64M)", which ends the test when it does not work.
# Sizes are as truncate takes them: 64M, 1G.

# member_loop NAME SIZE [LOSETUP OPTIONS]: loop device on a file in memory
member_loop() {
	local name=$1 size=$2
	shift 2
	truncate -s "$size" "$T/$name.img"
	losetup --show -f "$@" "$T/$name.img"
}
# loops N SIZE: N loop members at once, in the array m: "${m[0]}" "${m[1]}"...
loops() {
	local i dev
	m=()
	for ((i = 0; i < $1; i++)); do
		dev=$(member_loop "m$i" "$2")
		m+=("$dev")
	done
}

# member_nbd N SIZE: /dev/nbdN, served by its own nbd-server on localhost
member_nbd() {
	local n=$1 port=$((10900 + $1))
	modprobe nbd
	[ -e "$T/nbd$n.img" ] || truncate -s "$2" "$T/nbd$n.img"
	cat >"$T/nbd$n.conf" <<CONF
[generic]
	listenaddr = 127.0.0.1
	port = $port
	user = root
	group = root
[m]
	exportname = $T/nbd$n.img
	flush = true
	fua = true
	trim = true
CONF
	nbd-server -C "$T/nbd$n.conf" -p "$T/nbd$n.pid" >/dev/null 2>&1
	wait_for 10 bash -c ": 2>/dev/null </dev/tcp/127.0.0.1/$port"
	# A lost server must fail requests soon, not hang them.
	nbd-client 127.0.0.1 "$port" "/dev/nbd$n" -N m -b 512 -timeout "${NBD_TIMEOUT:-5}" >/dev/null 2>&1
	echo "/dev/nbd$n"
}
# nbd_kill N: the server of /dev/nbdN dies: the leg fails its requests
nbd_kill() { pkill -KILL -f -- "-C $T/nbd$1.conf" || fail "no nbd-server $1"; }
# nbd_stop N / nbd_cont N: the server stops answering, and answers again
nbd_stop() { pkill -STOP -f -- "-C $T/nbd$1.conf"; }
nbd_cont() { pkill -CONT -f -- "-C $T/nbd$1.conf"; }
# nbd_disconnect N: give up /dev/nbdN, so that member_nbd N can make it again
nbd_disconnect() {
	nbd-client -d "/dev/nbd$1" >/dev/null 2>&1 || true
	pkill -KILL -f -- "-C $T/nbd$1.conf" || true
}

# member_null NAME SIZE_MIB [ATTR=VALUE...]: null_blk that keeps its data
# (memory_backed=1), e.g. member_null nb0 64 blocksize=4096 cache_size=0
member_null() {
	local dir=/sys/kernel/config/nullb/$1 kv
	modprobe null_blk
	mkdir "$dir"
	echo 1 >"$dir/memory_backed"
	echo "$2" >"$dir/size"
	for kv in "${@:3}"; do echo "${kv#*=}" >"$dir/${kv%%=*}"; done
	echo 1 >"$dir/power"
	echo "/dev/$1"
}

# kname DEV: the kernel's name of a device, e.g. dm-0
kname() {
	local sys
	sys=$(realpath "/sys/dev/block/$(stat -Lc '%Hr:%Lr' "$1")")
	echo "${sys##*/}"
}
# sectors DEV
sectors() { blockdev --getsz "$1"; }

# dm_linear NAME DEV: /dev/mapper/NAME on DEV, to be given faults later
dm_linear() {
	modprobe dm-mod
	dmsetup create --noudevsync --noudevrules "$1" --table "0 $(sectors "$2") linear $2 0"
	[ -e "/dev/mapper/$1" ] || dmsetup mknodes "$1"
	echo "/dev/mapper/$1"
}
# dm_table NAME: set NAME's table from standard input, at once
dm_table() {
	dmsetup suspend --nolockfs --noflush --noudevsync "$1"
	dmsetup load "$1"
	dmsetup resume --noudevsync "$1"
}
# dm_heal NAME DEV: back to linear
dm_heal() { echo "0 $(sectors "$2") linear $2 0" | dm_table "$1"; }
# dm_dead NAME DEV: all requests fail
dm_dead() { echo "0 $(sectors "$2") error" | dm_table "$1"; }
# dm_flaky NAME DEV FEATURE...: dm-flakey that is always "down", with features
# as in "error_reads", "error_writes", "drop_writes"; none: all fail
dm_flaky() {
	local name=$1 dev=$2
	shift 2
	modprobe dm-flakey
	echo "0 $(sectors "$dev") flakey $dev 0 0 3600 $# $*" | dm_table "$name"
}
# dm_bad NAME DEV START LEN: only sectors START..START+LEN-1 fail, for reading
# and writing
dm_bad() {
	local size=$(($(sectors "$2"))) s=$3 l=$4
	{
		[ "$s" -eq 0 ] || echo "0 $s linear $2 0"
		echo "$s $l error"
		[ $((s + l)) -ge "$size" ] || echo "$((s + l)) $((size - s - l)) linear $2 $((s + l))"
	} | dm_table "$1"
}
# dm_bad_reads NAME DEV START LEN: only these sectors fail, only for reading
dm_bad_reads() {
	local size=$(($(sectors "$2"))) s=$3 l=$4
	modprobe dm-flakey
	{
		[ "$s" -eq 0 ] || echo "0 $s linear $2 0"
		echo "$s $l flakey $2 $s 0 3600 1 error_reads"
		[ $((s + l)) -ge "$size" ] || echo "$((s + l)) $((size - s - l)) linear $2 $((s + l))"
	} | dm_table "$1"
}
# dm_delay NAME DEV READ_MS WRITE_MS: a slow leg
dm_delay() {
	modprobe dm-delay
	echo "0 $(sectors "$2") delay $2 0 $3 $2 0 $4" | dm_table "$1"
}

# ---- arrays ----------------------------------------------------------------

# mdcreate /dev/mdN OPTIONS... MEMBERS...: mdadm --create, RAID-1, without
# questions, metadata 1.2 unless told otherwise; say --bitmap=none|internal, -n N. --assume-clean if wanted.
mdcreate() {
	local md=$1
	shift
	[[ " $*" = *" --metadata="* ]] || set -- --metadata=1.2 "$@"
	mdadm --quiet --create "$md" --run --level=1 "$@" </dev/null &&
		[ "$(md_attr "$md" array_state)" != clear ]
}
md_stop() { mdadm --quiet --stop "$1"; }
md_assemble() { mdadm --quiet --assemble "$@" </dev/null; }
# md_writable MD: end the read-only state in which Debian has arrays wait for
# their first write, if it is in it
md_writable() {
	[ "$(md_attr "$1" array_state)" != read-auto ] || mdadm --quiet --readwrite "$1"
}

# md_attr MD ATTR [VALUE]: read or write /sys/block/MD/md/ATTR
md_attr() {
	local f=/sys/block/${1##*/}/md/$2
	if [ $# -gt 2 ]; then echo "$3" >"$f"; else cat "$f"; fi
}
# rdev_state MD DEV: e.g. "in_sync", "faulty", "spare", "write_mostly,in_sync"
rdev_state() { rdev_attr "$1" "$2" state; }
# rdev_attr MD DEV ATTR [VALUE]: read or write what md knows of a member
rdev_attr() { md_attr "$1" "dev-$(kname "$2")/$3" "${@:4}"; }
# md_letters MD: the [UU_] of /proc/mdstat
md_letters() { sed -n "/^${1##*/} :/,/^\$/s/.*\[\([U_]*\)\]\$/\1/p" /proc/mdstat; }
degraded() { md_attr "$1" degraded; }

md_idle() {
	[ "$(md_attr "$1" sync_action)" = idle ] && [ ! -e "/sys/block/${1##*/}/md/sync_busy" ] &&
		! sed -n "/^${1##*/} :/,/^\$/p" /proc/mdstat | grep -qE 'recovery|resync|reshape|check'
}
# wait_idle MD [SECONDS]: until no recovery, resync or check is going on or
# about to start
wait_idle() {
	local n=0 end=$((SECONDS + ${2:-60} * ${SLOW:-1}))
	while [ $n -lt 3 ]; do
		if md_idle "$1"; then n=$((n + 1)); else n=0; fi
		[ "$SECONDS" -lt "$end" ] || fail "$1 is not idle: $(cat /proc/mdstat)"
		sleep 0.1
	done
}
# wait_letters MD UU [SECONDS]
wait_letters() {
	local end=$((SECONDS + ${3:-60} * ${SLOW:-1}))
	until [ "$(md_letters "$1")" = "$2" ]; do
		[ "$SECONDS" -lt "$end" ] || fail "$1 is [$(md_letters "$1")], want [$2]"
		sleep 0.1
	done
}
# sync_speed MIN_KIB MAX_KIB: for all arrays
sync_speed() {
	echo "$1" >/proc/sys/dev/raid/speed_limit_min
	echo "$2" >/proc/sys/dev/raid/speed_limit_max
}
# md_check MD [ACTION]: check (or repair), then print mismatch_cnt
md_check() {
	md_attr "$1" sync_action "${2:-check}"
	wait_idle "$1" "${3:-120}"
	md_attr "$1" mismatch_cnt
}

# ---- measuring and comparing -----------------------------------------------

stat_field() { awk -v f="$2" '{print $f}' "/sys/block/$(kname "$1")/stat"; }
# bytes_written DEV, bytes_read DEV: since the device was made
bytes_written() { echo $(($(stat_field "$1" 7) * 512)); }
bytes_read() { echo $(($(stat_field "$1" 3) * 512)); }
reads() { stat_field "$1" 1; }
writes() { stat_field "$1" 5; }
discards() { stat_field "$1" 12; }
flushes() { stat_field "$1" 16; }

# data_area MEMBER: where its data begin and how much they are, in sectors
data_area() {
	# metadata 0.90 has no offset, and counts in KiB
	mdadm -E "$1" | awk '
		/^ *Data Offset : / {off = $4}
		/^ *Used Dev Size : / {used = $6 == "sectors" ? $5 : $5 * 2}
		/^ *Avail Dev Size : / {avail = $5}
		END {print off + 0, used ? used : avail}'
}
# data_offset MEMBER: where its data begin, in sectors
data_offset() {
	local off
	off=$(data_area "$1") && echo "${off% *}"
}
# data_of MEMBER [SECTORS]: copy of the data area to standard output
data_of() {
	local off size
	off=$(data_area "$1") || return
	size=${2:-${off#* }}
	# Direct: the page cache of a member knows nothing of the array's writes.
	dd if="$1" bs=256k skip=$((${off% *} * 512)) count=$((size * 512)) \
		iflag=direct,skip_bytes,count_bytes status=none
}
# same A B...: data areas of all members are equal; says where they are not
same() {
	local m args=()
	for m; do
		args+=("$m:$(data_area "$m")") || return
	done
	python3 -c '
import mmap, os, sys
members = []
for arg in sys.argv[1:]:
    name, _, area = arg.rpartition(":")
    off, size = (int(n) * 512 for n in area.split())
    members.append((name, os.open(name, os.O_RDONLY | os.O_DIRECT), off, size))
sizes = [m[3] for m in members]
if len(set(sizes)) != 1 or not sizes[0]:
    sys.exit("sizes of data areas: %s" % sizes)
a, b = (mmap.mmap(-1, 1 << 20) for _ in "ab")
def read(buf, fd, off, n):
    if os.preadv(fd, [memoryview(buf)[:n]], off) != n:
        sys.exit("short read")
for pos in range(0, sizes[0], 1 << 20):
    n = min(1 << 20, sizes[0] - pos)
    read(a, members[0][1], members[0][2] + pos, n)
    first = a[:n]
    for name, fd, off, _ in members[1:]:
        read(b, fd, off + pos, n)
        if b[:n] != first:
            at = next(i for i in range(0, n, 512) if b[i:i + 512] != first[i:i + 512])
            sys.exit("%s and %s differ from sector %d on" % (members[0][0], name, (pos + at) // 512))
' "${args[@]}"
}
assert_same() { same "$@" || fail "data differ between: $*"; }

# fill DEV [SEED] [OFFSET_KIB COUNT_KIB]: direct writes of data that look
# random, but are the same for the same seed
fill() {
	local n=$(($(sectors "$1") / 2))
	keystream "${2:-1}" "$((${4:-$n} * 1024))" |
		dd of="$1" bs=256k seek="$((${3:-0} * 1024))" oflag=direct,seek_bytes \
			iflag=fullblock conv=notrunc,fsync status=none
}
# keystream SEED BYTES: such data, to standard output; no two blocks are equal
keystream() {
	python3 -c '
import random, sys
seed, left = int(sys.argv[1]), int(sys.argv[2])
block = bytearray(random.Random(seed).randbytes(1 << 18))
i = 0
while left > 0:
    for j in range(0, len(block), 512):
        block[j:j + 8] = i.to_bytes(8, "little")
        i += 1
    sys.stdout.buffer.write(block[:left])
    left -= len(block)
' "$1" "$2"
}
# sum DEV [OFFSET_KIB COUNT_KIB]: MD5, by direct reads
sum() {
	local n=$(($(sectors "$1") / 2))
	dd if="$1" bs=256k skip="$((${2:-0} * 1024))" count="$((${3:-$n} * 1024))" \
		iflag=direct,skip_bytes,count_bytes status=none | md5sum | cut -d' ' -f1
}

# bitmap_dirty MEMBER: number of dirty bits in its on-disk bitmap
bitmap_dirty() {
	mdadm -X "$1" | sed -n 's/.*Bitmap : [0-9]* bits (chunks), \([0-9]*\) dirty.*/\1/p'
}
# bitmap_chunk MEMBER: bytes per bit, as mdadm prints it (e.g. "64 MB")
bitmap_chunk() { mdadm -X "$1" | sed -n 's/^ *Chunksize : //p'; }
# events MEMBER
events() { mdadm -E "$1" | sed -n 's/^ *Events : //p'; }
# drop_caches: so that reads reach the array
drop_caches() { sync; echo 3 >/proc/sys/vm/drop_caches; }

# cut_save N...: copies of the loop members N, as they are at this moment
cut_save() {
	local i
	for i; do cp --sparse=always "$T/m$i.img" "$T/cut$i"; done
}
# cut_restore N...: the members are as they were at cut_save
cut_restore() {
	local i
	for i; do
		dd if="$T/cut$i" of="${m[i]}" bs=1M oflag=direct status=none
		rm "$T/cut$i"
	done
}

# crash: the machine dies at once, as if power failed; only disks given with
# --disk are there after the next boot
crash() {
	note "crash"
	echo b >/proc/sysrq-trigger
	sleep 60
}
