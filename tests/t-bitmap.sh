#!/bin/bash
# about: bits on disk before data, cleared later; attributes; bitmaps come and go
# timeout: 400
. "${0%/*}/lib.sh"

load
loops 2 160M
a=${m[0]} b=${m[1]}
bm=/sys/block/md0/md/bitmap
dirty() { echo "$(bitmap_dirty "$a") $(bitmap_dirty "$b")"; }
clean() { [ "$(dirty)" = "0 0" ]; }
clean_on() { [ "$(bitmap_dirty "$1")" = 0 ]; }
put() { dd if=/dev/zero of=/dev/md0 bs=4k count=1 seek=$(($1 / 4)) oflag=direct conv=notrunc status=none; }

for chunk in 4K 64K 1M 64M; do
	note "chunks of $chunk: set when the write is done, clear a while later"
	# there is not room for that many small chunks
	size=$([ $chunk = 4K ] && echo 24M || echo 144M)
	mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=$chunk --size="$size" --assume-clean -n 2 "$a" "$b"
	bytes=$(numfmt --from=iec $chunk)
	assert_eq "$(cat $bm/chunksize)" "$bytes" chunksize
	grep -q "bitmap: .* pages .*, $((bytes / 1024))KB chunk" /proc/mdstat || fail "/proc/mdstat: $(cat /proc/mdstat)"
	# mdadm has all bits set at first
	echo 0.1 >$bm/time_base
	wait_for 10 clean
	echo 100 >$bm/time_base
	put 0
	assert_eq "$(dirty)" "1 1" "dirty bits after a write"
	put 8
	assert_eq "$(dirty)" "$([ $chunk = 4K ] && echo 2 2 || echo 1 1)" "dirty bits after another write"
	put $(($(sectors /dev/md0) / 2 - 4))
	assert_eq "$(dirty)" "$([ $chunk = 4K ] && echo 3 3 || echo 2 2)" "dirty bits after a third write"
	# a write across the border of two chunks
	[ "$bytes" -gt 1048576 ] || {
		dd if=/dev/zero of=/dev/md0 bs=1024 count=2 seek=$((bytes * 20 / 1024 - 1)) oflag=direct conv=notrunc status=none
		dd if=/dev/zero of=/dev/md0 bs=2048 count=1 seek=$((bytes * 30 - 1024))B oflag=direct conv=notrunc status=none
		assert_eq "$(dirty)" "$([ $chunk = 4K ] && echo 7 7 || echo 6 6)" "dirty bits after writes over borders"
	}
	echo 0.2 >$bm/time_base
	wait_for 10 clean
	put 0
	[ "$(bitmap_dirty "$a")" -le 1 ] || fail "more bits than chunks were set"
	wait_for 10 clean
	md_stop /dev/md0
	clean || fail "dirty after a stop: $(dirty)"
	mdadm --quiet --zero-superblock "$a" "$b"
done

note "a bit stays as long as a write to its chunk is under way"
modprobe dm-delay
x=$(dm_linear x "$b")
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --size=24M --assume-clean -n 2 "$a" "$x"
md_attr /dev/md0 safe_mode_delay 0
echo 0.1 >$bm/time_base
# once, so that the next write meets an active array, and updates no superblock
put 0
wait_for 10 clean
echo 100 >$bm/time_base
put 0
# writes take long, flushes do not
echo "0 $(sectors "$b") delay $b 0 0 $b 0 $((6000 * ${SLOW:-1})) $b 0 0" | dm_table x
put 0 &
sleep 0.5
echo 0.1 >$bm/time_base
for ((i = 0; i < 10; i++)); do
	sleep 0.3
	left=$(bitmap_dirty "$a")
	kill -0 $! 2>/dev/null || break
	assert_eq "$left" 1 "dirty bits during a write"
done
assert_ge "$i" 3 "looks at the bits"
# what is delayed ends then
dm_heal x "$b"
wait $!
wait_for 10 clean
md_stop /dev/md0
dmsetup remove --noudevsync x
mdadm --quiet --zero-superblock "$a" "$b"

note "no bit is safe before all members have it: one that sysfs gives a slot gets them late"
x=$(dm_linear x "$b")
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --size=24M --assume-clean -n 2 "$a" "$x"
md_attr /dev/md0 safe_mode_delay 0
echo 100 >$bm/time_base
mdadm --quiet /dev/md0 --fail "$x" --remove "$x"
fill /dev/md0 1 0 4
md_attr /dev/md0 sync_action frozen
at=$(($(python3 "${0%/*}/edit-sb.py" "$T/m1.img" bitmap-at) / 512))
{
	echo "0 $at linear $b 0"
	echo "$at 8 delay $b $at 0 $b $at $((6000 * ${SLOW:-1}))"
	echo "$((at + 8)) $(($(sectors "$b") - at - 8)) linear $b $((at + 8))"
} | dm_table x
cat "/sys/class/block/$(kname "$x")/dev" >/sys/block/md0/md/new_dev
rdev_attr /dev/md0 "$x" slot 1
# that wakes up md's thread, which updates superblocks
md_attr /dev/md0 sync_action frozen
as_new() { [ "$(events "$a")" = "$(events "$b")" ]; }
wait_for 5 as_new
before=$(data_of "$a" 8 | md5sum)
fill /dev/md0 2 0 4 &
sleep 2
assert_eq "$(data_of "$a" 8 | md5sum)" "$before" "data while a member has no bit for them"
wait $!
assert_ne "$(data_of "$a" 8 | md5sum)" "$before" "data afterwards"
dm_heal x "$b"
md_attr /dev/md0 sync_action idle
wait_letters /dev/md0 UU
assert_same "$a" "$b"
md_stop /dev/md0
dmsetup remove --noudevsync x
mdadm --quiet --zero-superblock "$a" "$b"

note "bits go though a member is away: what it lacks is in its map"
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --delay=1 --size=24M --assume-clean -n 2 "$a" "$b"
assert_eq "$(cat $bm/time_base)" 1 "delay, from --delay"
echo 0.1 >$bm/time_base
assert_eq "$(cat $bm/can_clear)" true
wait_for 10 clean
mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
fill /dev/md0 1 0 640
wait_for 10 clean_on "$a"
assert_match "$(cat $bm/members)" " absent [0-9-]+ $((640 * 1024))\$" "what the member lacks"
md_attr /dev/md0 sync_max 640
mdadm --quiet /dev/md0 --re-add "$b"
wait_for 20 grep -q '^640 ' /sys/block/md0/md/sync_completed
md_attr /dev/md0 sync_action frozen
assert_match "$(cat $bm/members)" " recovering [0-9-]+ $((320 * 1024)) $((640 * 1024))\$" "progress of the recovery"
assert_eq "$(rdev_attr /dev/md0 "$b" recovery_start)" 0 "recovery_start of a member that has a map"
md_attr /dev/md0 sync_max max
md_attr /dev/md0 sync_action idle
wait_letters /dev/md0 UU
wait_for 10 clean
assert_same "$a" "$b"
md_stop /dev/md0
mdadm --quiet --zero-superblock "$a" "$b"

note "metadata 0.90 has no room for maps: bits stay until it is back"
mdcreate /dev/md0 --metadata=0.90 --bitmap=internal --bitmap-chunk=64K --delay=1 --size=24M --assume-clean -n 2 "$a" "$b"
echo 0.1 >$bm/time_base
wait_for 10 clean
mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
assert_eq "$(cat $bm/can_clear)" false
fill /dev/md0 1 0 640
sleep 2
assert_eq "$(bitmap_dirty "$a")" 10 "dirty bits while degraded"
mdadm --quiet /dev/md0 --re-add "$b"
wait_letters /dev/md0 UU
wait_for 10 clean
assert_same "$a" "$b"
md_stop /dev/md0
mdadm --quiet --zero-superblock "$a" "$b"

mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --delay=1 --size=24M --assume-clean -n 2 "$a" "$b"
echo 0.1 >$bm/time_base
wait_for 10 clean
note "bitmap_set_bits"
echo 100 >$bm/time_base
md_attr /dev/md0 bitmap_set_bits "10-19 30"
assert_eq "$(dirty)" "11 11" "bits that were set by hand"
md_attr /dev/md0 bitmap_set_bits 1000000 2>/dev/null || true
assert_eq "$(dirty)" "11 11" "bits beyond the end"
# What it is for: the chunks are made equal by the next resync.
off=$(data_offset "$b")
keystream 9 65536 | dd of="$b" bs=64k seek=$((off * 512 + 12 * 65536)) oflag=direct,seek_bytes iflag=fullblock conv=notrunc status=none
assert_fails same "$a" "$b"
md_stop /dev/md0
md_assemble --readonly /dev/md0 "$a" "$b" --update=resync 2>/dev/null || true
md_attr /dev/md0 array_state active 2>/dev/null || mdadm --quiet --readwrite /dev/md0
wait_idle /dev/md0
assert_same "$a" "$b"

note "bitmap_set_bits behind a resync that is under way"
md_attr /dev/md0 sync_max 32768
md_attr /dev/md0 bitmap_set_bits "0-255"
md_attr /dev/md0 sync_action resync
reached() { [ "$(md_attr /dev/md0 sync_completed | cut -d' ' -f1)" = "$1" ]; }
wait_for 20 reached 32768
keystream 10 65536 | dd of="$b" bs=64k seek=$((off * 512 + 12 * 65536)) oflag=direct,seek_bytes iflag=fullblock conv=notrunc status=none
assert_fails same "$a" "$b"
md_attr /dev/md0 bitmap_set_bits 12
md_attr /dev/md0 sync_max max
wait_idle /dev/md0
assert_same "$a" "$b"
assert_eq "$(md_attr /dev/md0 resync_start)" none resync_start

note "attributes"
refused() { # ATTR VALUE
	if md_attr /dev/md0 "$@" 2>/dev/null; then fail "took '$2' as $1"; fi
}
assert_eq "$(cd $bm && echo *)" "backlog can_clear chunksize discard_changes_of location max_backlog_used members metadata space time_base" attributes
assert_eq "$(cat $bm/location)" +8 location
assert_eq "$(cat $bm/metadata)" internal metadata
assert_eq "$(cat $bm/backlog)" 0 backlog
refused bitmap/backlog 256
assert_eq "$(cat $bm/backlog)" 0 backlog
refused bitmap/chunksize 131072
assert_eq "$(cat $bm/chunksize)" 65536 chunksize
refused bitmap/location +16
refused bitmap/metadata external
space=$(cat $bm/space)
refused bitmap/space 0
assert_eq "$(cat $bm/space)" "$space" space
echo 16 >$bm/space
assert_eq "$(cat $bm/space)" 16 space
for delay in 1 0.5 2.5 7; do
	echo $delay >$bm/time_base
	assert_eq "$(sed 's/\.\([0-9]*[1-9]\)0*$/.\1/' $bm/time_base)" "$delay" time_base
done
for delay in "" x -1 1x 99999999999; do
	refused bitmap/time_base "$delay"
done
assert_eq "$(cat $bm/time_base)" 7 time_base

note "the bitmap is taken away, and one is made, under load"
echo 1 >$bm/time_base
fio --name=v --filename=/dev/md0 --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \
	--iodepth=8 --size=8M --io_size=1G --time_based --runtime=8 --end_fsync=1 >"$T/fio" 2>&1 &
load=$!
# What mdadm does; it has been told that it may not while a copy is going on.
sleep 1
mdadm --quiet --grow --bitmap=none /dev/md0
assert_eq "$(cat $bm/location)" none location
assert_fails grep -q bitmap: /proc/mdstat
sleep 0.5
mdadm --quiet --grow --bitmap=internal --bitmap-chunk=128K /dev/md0
assert_eq "$(cat $bm/chunksize)" 131072 chunksize
grep -q "128KB chunk" /proc/mdstat
sleep 0.5
mdadm --quiet --grow --bitmap=none /dev/md0
# md core refuses as long as its thread has not looked for something to copy
no_bitmap() { echo none 2>/dev/null >$bm/location; }
wait_for 10 no_bitmap
assert_eq "$(cat $bm/location)" none location
echo 262144 >$bm/chunksize
mdadm --quiet --grow --bitmap=internal /dev/md0
wait $load || { cat "$T/fio"; fail "I/O errors"; }
assert_ne "$(cat $bm/location)" none
assert_same "$a" "$b"
put 4096
assert_gt "$(bitmap_dirty "$a")" 0 "dirty bits in the new bitmap"
md_stop /dev/md0
md_assemble /dev/md0 "$a" "$b"
assert_ne "$(cat $bm/location)" none
mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
fill /dev/md0 2 0 1024
mdadm --quiet /dev/md0 --re-add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$b"

note "all is as it was for stock afterwards: its own attributes are back"
md_stop /dev/md0
unload
load_stock
md_assemble /dev/md0 "$a" "$b"
assert_eq "$(md_letters /dev/md0)" UU
assert_ne "$(cat $bm/location)" none
rdev_attr /dev/md0 "$b" state writemostly # or else it cannot be set
echo 256 >$bm/backlog
assert_eq "$(cat $bm/backlog)" 256 "stock's write-behind"
