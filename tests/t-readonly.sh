#!/bin/bash
# about: read-only arrays leave their members alone; auto-read-only until written
# timeout: 300
. "${0%/*}/lib.sh"

load
start_ro=/sys/module/md_mod/parameters/start_ro
was=$(cat $start_ro)
trap 'echo "$was" >$start_ro' EXIT
echo 0 >$start_ro
loops 2 16M
a=${m[0]} b=${m[1]}
written() { echo "$(writes "$a") $(writes "$b")"; }
try_write() { dd if=/dev/zero of=/dev/md0 bs=4k count=1 seek="${1:-0}" oflag=direct conv=notrunc status=none 2>/dev/null; }
image() { md5sum "$T/m0.img" "$T/m1.img"; }

for bitmap in internal none; do
	note "read-only, bitmap $bitmap: no write, not to members either"
	mdcreate /dev/md0 --bitmap=$bitmap --bitmap-chunk=64K --assume-clean -n 2 "$a" "$b"
	fill /dev/md0 1
	want=$(sum /dev/md0)
	md_stop /dev/md0
	before=$(written)
	images=$(image)
	md_assemble --readonly /dev/md0 "$a" "$b"
	assert_eq "$(md_attr /dev/md0 array_state)" readonly
	assert_eq "$(sum /dev/md0)" "$want" content
	assert_fails try_write
	assert_fails blkdiscard /dev/md0 2>/dev/null
	sync
	sleep 1
	assert_eq "$(written)" "$before" "writes to members of a read-only array"
	assert_eq "$(image)" "$images" "members of a read-only array"

	note "to and fro"
	mdadm --quiet --readwrite /dev/md0
	try_write 3
	mdadm --quiet --readonly /dev/md0
	assert_fails try_write
	assert_eq "$(bitmap_dirty "$a" 2>/dev/null)" "$([ $bitmap = none ] || echo 0)" "dirty bits of a read-only array"
	md_stop /dev/md0
	assert_same "$a" "$b"

	note "auto-read-only: the first write switches it"
	echo 1 >$start_ro
	before=$(written)
	images=$(image)
	md_assemble /dev/md0 "$a" "$b"
	assert_eq "$(md_attr /dev/md0 array_state)" read-auto
	sum /dev/md0 >/dev/null
	sleep 1
	assert_eq "$(written)" "$before" "writes to members of an auto-read-only array"
	assert_eq "$(image)" "$images" "members of an auto-read-only array"
	fill /dev/md0 2 4096 256
	assert_match "$(md_attr /dev/md0 array_state)" '^(active|clean)'
	assert_eq "$(sum /dev/md0 4096 256)" "$(keystream 2 262144 | md5sum | cut -d' ' -f1)" content
	assert_same "$a" "$b"
	md_stop /dev/md0
	echo 0 >$start_ro
	blkdiscard -f "$a"
	blkdiscard -f "$b"
done

note "a resync that is due waits while the array is read-only"
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$b"
# As after a crash: copies of members whose bits are set.
echo 100 >/sys/block/md0/md/bitmap/time_base
md_attr /dev/md0 safe_mode_delay 0
fill /dev/md0 3 1024 128
cp "$T/m0.img" "$T/c0.img"
cp "$T/m1.img" "$T/c1.img"
md_stop /dev/md0
# ... and one of which missed a write
keystream 4 131072 | dd of="$T/c1.img" bs=64k seek=$((($(data_offset "$a") / 2 + 1024) * 1024)) \
	oflag=seek_bytes iflag=fullblock conv=notrunc status=none
ca=$(losetup --show -f "$T/c0.img")
cb=$(losetup --show -f "$T/c1.img")
assert_gt "$(bitmap_dirty "$ca")" 0 "dirty bits"
images=$(md5sum "$T/c0.img" "$T/c1.img")
md_assemble --readonly /dev/md1 "$ca" "$cb"
one=$(sum /dev/md1 1024 128)
for i in 1 2 3 4; do
	drop_caches
	assert_eq "$(sum /dev/md1 1024 128)" "$one" "what is read where the members differ"
done
sleep 1
assert_eq "$(md5sum "$T/c0.img" "$T/c1.img")" "$images" "members of a read-only array"
md_stop /dev/md1
echo 1 >$start_ro
md_assemble /dev/md1 "$ca" "$cb"
assert_eq "$(md_attr /dev/md1 array_state)" read-auto
sleep 1
assert_eq "$(md5sum "$T/c0.img" "$T/c1.img")" "$images" "members of an auto-read-only array"
fill /dev/md1 5 0 4
wait_idle /dev/md1
assert_same "$ca" "$cb"
assert_eq "$(sum /dev/md1 1024 128)" "$one" "content after the resync"
md_stop /dev/md1

# Flushes come to such an array, too. Who fails one is Faulty, and superblocks are not
# written: the flush is not to wait for that.
note "a member fails a flush while the array is auto-read-only"
. "${0%/*}/lib-faults.sh"
n=$(member_bad 0 16M)
mdadm --quiet --zero-superblock "$a" "$b"
for bitmap in internal none; do
	mdcreate /dev/md0 --bitmap=$bitmap --assume-clean -n 2 "$n" "$a"
	fill /dev/md0 6
	md_stop /dev/md0
	md_assemble /dev/md0 "$n" "$a"
	assert_eq "$(md_attr /dev/md0 array_state)" read-auto
	bad 0 fail=flush
	assert_fails in_time 60 sync /dev/md0 2>/dev/null
	assert_match "$(rdev_state /dev/md0 "$n")" faulty
	bad 0
	assert_eq "$(sum /dev/md0 0 256)" "$(keystream 6 262144 | md5sum | cut -d' ' -f1)" content
	in_time 60 mdadm --quiet --stop /dev/md0
	md_assemble /dev/md0 "$n" "$a"
	fill /dev/md0 7 0 256
	wait_idle /dev/md0
	assert_eq "$(md_letters /dev/md0)" UU
	assert_same "$n" "$a"
	md_stop /dev/md0
	mdadm --quiet --zero-superblock "$n" "$a"
done
