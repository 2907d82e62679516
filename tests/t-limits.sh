#!/bin/bash
# about: limits of members and of the module: what is refused, and is no member's fault
# timeout: 300
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"

load_ours
edit=${0%/*}/edit-sb.py
odd=/sys/module/odd_disk/parameters

# odd PARAMETER=VALUE...: disks in memory with odd limits (odd-disk.c)
odd() {
	! grep -q '^odd_disk ' /proc/modules || rmmod odd_disk
	insmod /job/odd-disk.ko "$@"
}
queue() { cat "/sys/block/${1##*/}/queue/$2"; }
limits() { grep -rs . /sys/block/md0/queue | grep -v '/io_poll' | sort; }
maj_min() { lsblk -dno MAJ:MIN "$1" | tr -d ' '; }
logged() { dmesg_since "$mark" | grep -qE "$1"; }
# io OPERATION OFFSET BYTES [FLAGS]: one direct request to md0; prints the error's name
io() {
	python3 - "$@" <<'PY'
import errno, mmap, os, sys
op, offset, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
flags = int(sys.argv[4], 0) if len(sys.argv) > 4 else 0
fd = os.open("/dev/md0", os.O_RDWR | os.O_DIRECT)
buf = mmap.mmap(-1, size)
buf[:] = b"x" * size
try:
    n = os.pwritev(fd, [buf], offset, flags) if op == "write" else os.preadv(fd, [buf], offset, flags)
    print("good" if n == size else "short")
except OSError as e:
    print(errno.errorcode[e.errno])
PY
}

# ---- what members may ask for --------------------------------------------------

note "secure erase stays off, also when members join that can do it"
odd nr=3 secure=5
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 /dev/odd0 /dev/odd1 missing
fill /dev/md0 1
want=$(sum /dev/md0)
assert_fails blkdiscard --secure -l 1M /dev/md0 2>/dev/null
mdadm --quiet /dev/md0 --add /dev/odd2
wait_letters /dev/md0 UUU
wait_idle /dev/md0
assert_fails blkdiscard --secure -l 1M /dev/md0 2>/dev/null
assert_eq "$(sum /dev/md0)" "$want" "content"
md_stop /dev/md0
assert_same /dev/odd0 /dev/odd1 /dev/odd2

note "a member that is refused does not change the limits of the array"
odd nr=3 small=4
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 /dev/odd0 /dev/odd1 missing
before=$(limits)
# a former spare whose data begin where its bitmap would be
dd if=/dev/odd1 of="$T/spare" bs=4096 count=2 status=none iflag=direct
"$edit" "$T/spare" super role1=65535 data_offset=16 data_size=32000
dd if="$T/spare" of=/dev/odd2 bs=4096 count=2 status=none oflag=direct
mdadm --quiet /dev/md0 --fail /dev/odd1 --remove /dev/odd1
mark=$(dmesg_mark)
md_attr /dev/md0 new_dev "$(maj_min /dev/odd2)"
wait_for 10 logged "odd2 has no room for the bitmap"
wait_idle /dev/md0
assert_eq "$(limits)" "$before" "limits"
assert_eq "$(md_letters /dev/md0)" U__
note "... and one that is taken does"
mdadm --quiet /dev/md0 --remove /dev/odd2
dd if=/dev/zero of=/dev/odd2 bs=4096 count=2 status=none oflag=direct
mdadm --quiet /dev/md0 --add /dev/odd2
wait_letters /dev/md0 UU_
assert_eq "$(queue md0 max_hw_sectors_kb)" 32
md_stop /dev/md0

note "logical blocks that are larger than those of the running array"
loops 2 16M
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "${m[@]}"
# a new bitmap has all bits set, which a stop clears
md_stop /dev/md0
md_assemble /dev/md0 "${m[@]}"
md_writable /dev/md0
mdadm --quiet /dev/md0 --fail "${m[1]}" --remove "${m[1]}"
fill /dev/md0 2 0 64
losetup -d "${m[1]}"
large=$(losetup --show -f --sector-size 4096 "$T/m1.img")
before=$(limits)
cp "$T/m1.img" "$T/m1.was"
mark=$(dmesg_mark)
mdadm --quiet /dev/md0 --re-add "$large" 2>/dev/null || true
wait_for 10 logged "${large##*/} refused: its logical blocks have 4096 bytes, those of the running array 512"
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0)" U_
assert_eq "$(limits)" "$before" "limits"
cmp "$T/m1.img" "$T/m1.was" || fail "the member was written to"
mdadm --quiet /dev/md0 --remove "$large"
new=$(member_loop new 16M --sector-size 4096)
mark=$(dmesg_mark)
mdadm --quiet /dev/md0 --add "$new" 2>/dev/null || true
wait_for 10 logged "${new##*/} refused: its logical blocks"
wait_idle /dev/md0
assert_eq "$(queue md0 logical_block_size)" 512
assert_eq "$(io write 512 512)" good
mdadm --quiet /dev/md0 --remove "$new"
losetup -d "$large"
m[1]=$(losetup --show -f "$T/m1.img")
mark=$(dmesg_mark)
mdadm --quiet /dev/md0 --re-add "${m[1]}"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_match "$(dmesg_since "$mark")" "returns as of event [0-9]+, [0-9]{4,6} bytes to copy" "log"
md_stop /dev/md0
assert_same "${m[@]}"

# ---- whose fault is it? --------------------------------------------------------

note "requests that all members call invalid: no member is the worse for it"
odd nr=3
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 /dev/odd0 /dev/odd1 missing
fill /dev/md0 3
from=$(data_offset /dev/odd0)
echo $((from + 2048)) >$odd/refuse_from
echo 7 >$odd/refuse_writes
assert_eq "$(io write 2097152 4096)" EINVAL "write"
echo 0 >$odd/refuse_writes
echo 7 >$odd/refuse_reads
assert_eq "$(io read 2097152 4096)" EINVAL "read"
echo 0 >$odd/refuse_reads
assert_eq "$(md_letters /dev/md0)" UU_
assert_eq "$(cat /sys/block/md0/md/dev-odd?/errors | tr '\n' ' ')" "0 0 "
assert_eq "$(io write 2097152 4096)" good "write"

note "a member that is being recovered must not have what those in sync have refused"
sync_speed 1 1
md_attr /dev/md0 sync_max 0
mdadm --quiet /dev/md0 --add /dev/odd2
wait_for 10 test -e /sys/block/md0/md/rd2
echo 3 >$odd/refuse_writes
mark=$(dmesg_mark)
assert_eq "$(io write 2097152 4096)" EINVAL "write"
echo 0 >$odd/refuse_writes
assert_match "$(rdev_state /dev/md0 /dev/odd2)" faulty "the new member"
assert_eq "$(md_letters /dev/md0)" UU_
sync_speed 1000 200000
md_attr /dev/md0 sync_max max
wait_for 10 mdadm --quiet /dev/md0 --remove /dev/odd2 2>/dev/null

note "a member that refuses what another one has written lacks it"
echo 2 >$odd/refuse_writes
mark=$(dmesg_mark)
assert_eq "$(io write 2097152 4096)" good "write"
echo 0 >$odd/refuse_writes
assert_eq "$(md_letters /dev/md0)" U__
logged "odd1 has refused a write that no other member has" || fail "no line about it"
wait_for 10 mdadm --quiet /dev/md0 --remove /dev/odd1 2>/dev/null
mdadm --quiet /dev/md0 --re-add /dev/odd1
wait_letters /dev/md0 UU_
wait_idle /dev/md0
md_stop /dev/md0
assert_same /dev/odd0 /dev/odd1

note "atomic writes, and DMA between devices, as long as all members can do that"
odd nr=3 atomic=3 p2p=3
if [ "$(queue odd0 atomic_write_unit_max_bytes 2>/dev/null || echo 0)" != 0 ]; then
	mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 /dev/odd0 /dev/odd1 missing
	assert_eq "$(queue md0 atomic_write_unit_max_bytes)" 65536
	echo /dev/md0 >$odd/look
	assert_eq "$(cat $odd/look)" 1 "P2PDMA"
	# RWF_ATOMIC
	assert_eq "$(io write 65536 65536 0x40)" good
	assert_eq "$(sum /dev/md0 64 64)" "$(head -c 65536 /dev/zero | tr '\0' x | md5sum | cut -d' ' -f1)" content
	mdadm --quiet /dev/md0 --add /dev/odd2
	wait_letters /dev/md0 UUU
	wait_idle /dev/md0
	assert_eq "$(queue md0 atomic_write_unit_max_bytes)" 0
	echo /dev/md0 >$odd/look
	assert_eq "$(cat $odd/look)" 0 "P2PDMA"
	assert_ne "$(io write 65536 65536 0x40)" good
	assert_eq "$(md_letters /dev/md0)" UUU
	md_stop /dev/md0
else
	note "... this kernel has none for stacked devices"
fi

# ---- integrity data ------------------------------------------------------------

# payloads SEND|FETCH DEVICE: requests with integrity data that reach disks, and payloads
# that the block layer allocates meanwhile
trace=/sys/kernel/debug/tracing
[ -e $trace/trace ] || mount -t tracefs tracefs $trace
payloads() {
	local was
	was=$(cat $odd/payloads)
	echo >$trace/trace
	echo 1 >$trace/events/kmem/kmalloc/enable
	echo "$2" >"$odd/$1"
	echo 0 >$trace/events/kmem/kmalloc/enable
	cat $trace/trace >"$T/trace"
	echo >$trace/trace
	echo "$(($(cat $odd/payloads) - was)) $(grep -c 'call_site=bio_integrity_' "$T/trace" || true)"
}
note "legs of requests with integrity data have payloads from a pool"
odd nr=2 integrity=3
# the sender's own, which is from a pool on some kernels
alone=$(payloads send /dev/odd0)
assert_match "$alone" '^1 [01]$' "a disk alone"
own=${alone#* }
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 /dev/odd0 /dev/odd1
md_writable /dev/md0
assert_eq "$(payloads send /dev/md0)" "2 $own" "writes with integrity data, payloads that were allocated"
assert_eq "$(payloads fetch /dev/md0)" "1 $own" "reads with integrity data, payloads that were allocated"
note "... pieces of a read as well, which each member has only in part"
rdev_attr /dev/md0 /dev/odd0 bad_blocks "$(data_offset /dev/odd0) 4"
rdev_attr /dev/md0 /dev/odd1 bad_blocks "$(($(data_offset /dev/odd1) + 4)) 4"
assert_eq "$(payloads fetch /dev/md0)" "2 $own" "reads with integrity data, payloads that were allocated"
assert_eq "$(md_letters /dev/md0)" UU
note "... and those of a write that a member refuses"
mdadm --quiet /dev/md0 --fail /dev/odd0
echo 2 >$odd/refuse_writes
assert_fails bash -c "echo /dev/md0 >$odd/send" 2>/dev/null
echo 0 >$odd/refuse_writes
assert_eq "$(payloads send /dev/md0)" "1 $own" "writes with integrity data, payloads that were allocated"
md_stop /dev/md0

# ---- what is not supported -----------------------------------------------------

note "the last member in sync is not set faulty, and the log says so"
loops 2 8M
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "${m[@]}"
mdadm --quiet /dev/md0 --fail "${m[0]}"
mark=$(dmesg_mark)
# by sysfs, as there are versions of mdadm that refuse it by themselves
rdev_attr /dev/md0 "${m[1]}" state faulty
logged "${m[1]##*/} is the last member in sync: it is not set faulty, .*fail_last_dev" || fail "no line about it"
assert_eq "$(md_letters /dev/md0)" _U
assert_eq "$(io write 0 4096)" good

note "serialize_policy has no effect, and the log says so, once"
mark=$(dmesg_mark)
md_attr /dev/md0 serialize_policy 1
wait_for 10 logged "serialize_policy is not supported"
assert_eq "$(io write 0 4096)" good
md_attr /dev/md0 serialize_policy 0
assert_eq "$(io write 0 4096)" good
assert_eq "$(dmesg_since "$mark" | grep -c serialize_policy)" 1 "lines"
md_stop /dev/md0

note "more slots than are supported"
mark=$(dmesg_mark)
# shellcheck disable=SC2046 # 31 words
assert_fails mdcreate /dev/md2 --bitmap=none --assume-clean -n 33 "${m[@]}" \
	$(printf 'missing %.0s' {1..31}) 2>/dev/null
logged "md2: it has 33 slots, and 32 are the most that are supported" || fail "no line about it"

# ---- memory --------------------------------------------------------------------

# crafted SIZE OFFSET CHUNKSIZE: members whose bitmaps have so many chunks
crafted() {
	rm -f "$T"/*.img
	loops 2 "$1"
	mdcreate /dev/md0 --bitmap=internal --data-offset="$2" --assume-clean -n 2 "${m[@]}"
	md_stop /dev/md0
	# without the bad-block log, the bits have all the room up to the data
	"$edit" "$T/m0.img,$T/m1.img" super feature_map=1 bblog_offset=0 bblog_size=0
	"$edit" "$T/m0.img,$T/m1.img" bitmap chunksize="$3" sectors_reserved=0
}
available() { awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo; }

note "a bitmap of more chunks than the memory should be used for"
losetup -D
crafted 4T 1T 512
free=$(available)
mark=$(dmesg_mark)
(
	least=$free
	while [ ! -e "$T/done" ]; do
		now=$(available)
		[ "$now" -ge "$least" ] || least=$now
		sleep 0.2
	done
	echo "$least" >"$T/least"
) &
if md_assemble --run /dev/md0 "${m[@]}" 2>/dev/null; then fail "started"; fi
touch "$T/done"
wait
assert_lt $((free - $(cat "$T/least"))) 64 "MiB that it took"
assert_eq "$(dmesg_since "$mark" | grep -cE "bitmap on .* not used: it has more chunks than")" 2 "lines about it"
assert_eq "$(dmesg_since "$mark" | grep -c "no member has a usable bitmap")" 1 "lines that sum it up"
if logged "Out of memory|oom-kill|page allocation failure"; then fail "memory ran out"; fi
mdadm --quiet --stop /dev/md0 2>/dev/null || true
note "... it can be started without"
md_assemble --update=no-bitmap /dev/md0 "${m[@]}"
assert_eq "$(md_letters /dev/md0)" UU
md_stop /dev/md0
losetup -D

note "the most chunks that there may be, and more"
crafted $(((8 << 10) + 9))M 8M 512
size=$("$edit" "$T/m0.img" bitmap sync_size)
assert_gt "$size" $((1 << 24)) "chunks"
if md_assemble --run /dev/md0 "${m[@]}" 2>/dev/null; then fail "started"; fi
mdadm --quiet --stop /dev/md0 2>/dev/null || true
losetup -D
crafted $(((8 << 10) + 8))M 8M 512
size=$("$edit" "$T/m0.img" bitmap sync_size)
assert_le "$size" $((1 << 24)) "chunks"
assert_gt "$size" $(((1 << 24) - 10000)) "chunks"
md_assemble /dev/md0 "${m[@]}"
assert_eq "$(md_letters /dev/md0)" UU
assert_eq "$(io write 0 4096)" good
md_stop /dev/md0
