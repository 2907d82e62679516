#!/bin/bash
# about: a member that was away gets the chunks that it missed, and no more
# timeout: 600
. "${0%/*}/lib.sh"

load
loops 3 32M
a=${m[0]} b=${m[1]} c=${m[2]}
bm=/sys/block/md0/md/bitmap
# mdadm has a word to say on what it did well, too
quiet() { mdadm --quiet "$@" 2>"$T/said" || fail "mdadm $*: $(cat "$T/said")"; }

# create METADATA CHUNK: with content
create() {
	blkdiscard -fq "$a"
	blkdiscard -fq "$b"
	mdcreate /dev/md0 --metadata="$1" --bitmap=internal --bitmap-chunk="$2" --assume-clean -n 2 "$a" "$b"
	echo 0.1 >$bm/time_base
	fill /dev/md0 1 0 1024
	wait_for 15 clean
	echo 100 >$bm/time_base
}
clean() { [ "$(bitmap_dirty "$a")" = 0 ]; }
kib() { echo $(($(numfmt --from=iec "$1") / 1024)); }

# came_back LEAST MOST: the array is whole again and so many KiB were written to
# the member: what it missed at least, all of the chunks at most, and a bit more
# for superblocks and bitmaps
came_back() {
	local n
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	n=$((($(bytes_written "$b") - before) / 1024))
	assert_ge $n "$1" "KiB copied"
	assert_le $n $(($2 + 256)) "KiB copied"
	assert_same "$a" "$b"
	assert_eq "$(sum /dev/md0)" "$want" content
}

for how in "1.0 64K" "1.1 4M" "1.2 64K" "0.90 4M"; do
	read -r metadata chunk <<<"$how"
	k=$(kib "$chunk")
	note "metadata $metadata, chunks of $chunk: --re-add"
	create "$metadata" "$chunk"
	quiet /dev/md0 --fail "$b"
	# three chunks, of which two are neighbours
	fill /dev/md0 2 0 4
	fill /dev/md0 3 $((k * 2 - 4)) 8
	want=$(sum /dev/md0)
	assert_eq "$(bitmap_dirty "$a")" 3 "dirty bits"
	assert_fails same "$a" "$b" 2>/dev/null
	quiet /dev/md0 --remove "$b"
	before=$(bytes_written "$b")
	quiet /dev/md0 --re-add "$b"
	came_back 12 $((k * 3))

	[ "$metadata" != 0.90 ] || { md_stop /dev/md0; continue; }
	note "the same by --add"
	echo 0.1 >$bm/time_base
	wait_for 15 clean
	echo 100 >$bm/time_base
	quiet /dev/md0 --fail "$b" --remove "$b"
	fill /dev/md0 4 $((k * 2)) 4
	want=$(sum /dev/md0)
	before=$(bytes_written "$b")
	quiet /dev/md0 --add "$b"
	came_back 4 "$k"

	note "the same by --incremental, after a stop"
	echo 0.1 >$bm/time_base
	wait_for 15 clean
	echo 100 >$bm/time_base
	quiet /dev/md0 --fail "$b" --remove "$b"
	fill /dev/md0 5 "$k" 4
	want=$(sum /dev/md0)
	mdadm --detail --brief /dev/md0 | sed 's,^ARRAY [^ ]*,ARRAY /dev/md0,' >"$T/mdadm.conf"
	echo POLICY action=re-add >>"$T/mdadm.conf"
	md_stop /dev/md0
	quiet --incremental --run --config="$T/mdadm.conf" "$a"
	assert_eq "$(md_letters /dev/md0)" U_
	md_writable /dev/md0
	before=$(bytes_written "$b")
	quiet --incremental --config="$T/mdadm.conf" "$b"
	came_back 4 "$k"
	md_stop /dev/md0
done

note "what was written just before the failure is copied as well"
create 1.2 64K
fill /dev/md0 2 640 64
quiet /dev/md0 --fail "$b" --remove "$b"
# The member's cache was lost.
off=$(data_offset "$b")
dd if=/dev/zero of="$b" bs=64k count=1 seek=$((off * 512 + 640 * 1024)) oflag=direct,seek_bytes conv=notrunc status=none
fill /dev/md0 3 0 64
want=$(sum /dev/md0)
before=$(bytes_written "$b")
quiet /dev/md0 --re-add "$b"
came_back 128 128

note "a member that is faulty and was not removed can come back all the same"
echo 0.1 >$bm/time_base
wait_for 15 clean
echo 100 >$bm/time_base
quiet /dev/md0 --fail "$b"
fill /dev/md0 4 0 64
want=$(sum /dev/md0)
refused() { ! mdadm --quiet "$@" >/dev/null 2>&1 || fail "succeeded: mdadm $*"; }
refused /dev/md0 --add "$b"
assert_eq "$(md_letters /dev/md0)" U_
before=$(bytes_written "$b")
quiet /dev/md0 --re-add "$b"
came_back 64 64

note "... unless another one has its place, which gets everything"
quiet /dev/md0 --fail "$b"
before=$(bytes_written "$c")
quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_ge $(($(bytes_written "$c") - before)) $(($(sectors /dev/md0) * 512)) "bytes copied to a new member"
assert_same "$a" "$c"
quiet /dev/md0 --remove "$b"

note "a member that missed clearings gets everything, if the bitmap is all there is"
md_stop /dev/md0
create 0.90 64K # has no room for more than a bitmap
quiet /dev/md0 --fail "$b" --remove "$b"
blkdiscard -fq "$c"
quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UU
wait_idle /dev/md0
# With c in b's place, bits are cleared that b would need.
fill /dev/md0 5 2048 64
echo 0.1 >$bm/time_base
wait_for 15 clean
echo 100 >$bm/time_base
quiet /dev/md0 --fail "$c" --remove "$c"
want=$(sum /dev/md0)
before=$(bytes_written "$b")
quiet /dev/md0 --add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_ge $(($(bytes_written "$b") - before)) $(($(sectors /dev/md0) * 512)) "bytes copied to a stale member"
assert_same "$a" "$b"
assert_eq "$(sum /dev/md0)" "$want" content
md_stop /dev/md0
create 1.2 64K

note "writes while it comes back"
quiet /dev/md0 --fail "$b" --remove "$b"
fill /dev/md0 6 0 8192
sync_speed 2000 2000
quiet /dev/md0 --re-add "$b"
fio --name=v --filename=/dev/md0 --rw=randwrite --bsrange=512-64k --blockalign=512 --direct=1 \
	--ioengine=libaio --iodepth=16 --size=24M --io_size=6M --verify=crc32c --verify_fatal=1 \
	--randseed=9 --end_fsync=1 >"$T/fio" 2>&1 || { cat "$T/fio"; fail "what was read is not what was written"; }
sync_speed 100000 1000000
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$b"

note "away again while it comes back: what it still missed is not forgotten"
echo 0.1 >$bm/time_base
wait_for 15 clean
echo 100 >$bm/time_base
quiet /dev/md0 --fail "$b" --remove "$b"
fill /dev/md0 7 0 16384
want=$(sum /dev/md0)
sync_speed 2000 2000
md_attr /dev/md0 sync_max 16384
quiet /dev/md0 --re-add "$b"
moving() {
	local at
	at=$(md_attr /dev/md0 sync_completed | cut -d' ' -f1)
	[ "$at" != none ] && [ "$at" -gt 4096 ]
}
wait_for 20 moving
echo 0.1 >$bm/time_base
quiet /dev/md0 --fail "$b" --remove "$b"
sleep 1
sync_speed 100000 1000000
md_attr /dev/md0 sync_max max
before=$(bytes_written "$b")
quiet /dev/md0 --re-add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$b"
assert_eq "$(sum /dev/md0)" "$want" content

note "flags may be given on the way"
for flag in --write-mostly --readwrite --failfast --nofailfast; do
	quiet /dev/md0 --fail "$b" --remove "$b"
	fill /dev/md0 8 1024 64
	before=$(bytes_written "$b")
	quiet /dev/md0 --re-add $flag "$b"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_lt $(($(bytes_written "$b") - before)) 2000000 "bytes written to a member with $flag"
	assert_same "$a" "$b"
done

note "fields of its superblock may be changed on the way"
# room for more data than the member says, for devicesize
for update in devicesize bbl no-bbl; do
	quiet /dev/md0 --fail "$b" --remove "$b"
	fill /dev/md0 9 2048 64
	if [ $update = devicesize ]; then
		losetup -d "$b"
		truncate -s +4M "$T/m1.img"
		b=$(losetup --show -f "$T/m1.img")
	fi
	was=$(mdadm -E "$b" | grep -E 'Avail Dev Size|Bad Block Log')
	mark=$(dmesg_mark)
	before=$(bytes_written "$b")
	quiet /dev/md0 --re-add --update=$update "$b"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_ne "$(mdadm -E "$b" | grep -E 'Avail Dev Size|Bad Block Log')" "$was" "superblock after $update"
	assert_match "$(dmesg_since "$mark")" "${b##*/} returns as of event" "kernel log"
	assert_lt $(($(bytes_written "$b") - before)) 2000000 "bytes written to a member with $update"
	assert_same "$a" "$b"
done
