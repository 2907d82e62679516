#!/bin/bash
# about: resync, check, repair, recovery: complete, interrupted, beside writes
# timeout: 400
. "${0%/*}/lib.sh"

load
loops 3 32M
a=${m[0]} b=${m[1]} c=${m[2]}
# A copy's progress has to be seen, so it must take a while: at this many KiB/s.
slow=2000
fast() { sync_speed 100000 1000000; }

# plant MEMBER SECTOR: change a sector of the array underneath it
plant() {
	local off
	off=$(data_offset "$1")
	printf 'planted%505s' "$2" >"$T/planted"
	dd if="$T/planted" of="$1" bs=512 seek=$((off + $2)) oflag=direct conv=notrunc status=none
}

note "the first resync makes members equal"
fast
keystream 1 $((32 << 20)) | dd of="$a" bs=1M iflag=fullblock oflag=direct status=none
keystream 2 $((32 << 20)) | dd of="$b" bs=1M iflag=fullblock oflag=direct status=none
for bitmap in none internal; do
	mdcreate /dev/md0 --bitmap=$bitmap --bitmap-chunk=64K -n 2 "$a" "$b"
	wait_idle /dev/md0
	assert_eq "$(md_letters /dev/md0)" UU
	assert_eq "$(md_attr /dev/md0 resync_start)" none resync_start
	assert_same "$a" "$b"
	[ $bitmap = none ] || break
	md_stop /dev/md0
	keystream 3 $((8 << 20)) | dd of="$b" bs=1M seek=4 iflag=fullblock oflag=direct status=none
	mdadm --quiet --zero-superblock "$a" "$b"
done
# The source is the first member: what it held is there.
assert_eq "$(sum /dev/md0 8192 4096)" "$(sum "$a" $(($(data_offset "$a") / 2 + 8192)) 4096)" content

note "check finds what differs, repair mends it"
assert_eq "$(md_check /dev/md0)" 0 "mismatches of equal members"
for sector in 0 4000 4001 50000 $(($(sectors /dev/md0) - 1)); do plant "$b" "$sector"; done
assert_fails same "$a" "$b"
n=$(md_check /dev/md0)
assert_ge "$n" 4 "mismatches"
assert_eq "$(md_attr /dev/md0 last_sync_action)" check
assert_fails same "$a" "$b"
assert_eq "$(md_check /dev/md0)" "$n" "mismatches when checked again"
assert_eq "$(md_check /dev/md0 repair)" "$n" "mismatches that were repaired"
assert_same "$a" "$b"
assert_eq "$(md_check /dev/md0)" 0 "mismatches after the repair"
assert_eq "$(md_letters /dev/md0)" UU

note "check keeps to sync_min and sync_max"
plant "$b" 4000
plant "$b" 40960
md_attr /dev/md0 sync_min 8192
md_attr /dev/md0 sync_max 32768
md_attr /dev/md0 sync_action check
reached() { [ "$(md_attr /dev/md0 sync_completed | cut -d' ' -f1)" = "$1" ]; }
wait_for 20 reached 32768
assert_eq "$(md_attr /dev/md0 sync_action)" check
assert_eq "$(md_attr /dev/md0 mismatch_cnt)" 0 "mismatches within the limits"
md_attr /dev/md0 sync_max max
wait_idle /dev/md0
assert_gt "$(md_attr /dev/md0 mismatch_cnt)" 0 "mismatches above sync_min"
md_attr /dev/md0 sync_min 0
assert_gt "$(md_check /dev/md0 repair)" 8 "mismatches in all"
assert_same "$a" "$b"

note "a recovery is interrupted and goes on"
fill /dev/md0 4 0 8192
want=$(sum /dev/md0)
mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
sync_speed $slow $slow
md_attr /dev/md0 sync_max $(($(sectors /dev/md0) / 2))
mdadm --quiet /dev/md0 --add "$c"
moving() {
	local at
	at=$(md_attr /dev/md0 sync_completed | cut -d' ' -f1)
	[ "$at" != none ] && [ "$at" -gt 2048 ]
}
wait_for 20 moving
assert_eq "$(md_attr /dev/md0 sync_action)" recover
md_attr /dev/md0 sync_action frozen
assert_eq "$(md_attr /dev/md0 sync_action)" frozen
assert_eq "$(md_letters /dev/md0)" U_
# also when it would rather read from somebody else
rdev_attr /dev/md0 "$a" state writemostly
assert_eq "$(sum /dev/md0)" "$want" "content of a half-recovered array"
rdev_attr /dev/md0 "$a" state -writemostly
fast
md_attr /dev/md0 sync_max max
before=$(bytes_written "$c")
md_attr /dev/md0 sync_action idle
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_lt $(($(bytes_written "$c") - before)) $((($(sectors /dev/md0) - 1024) * 512)) "bytes copied from there on"
assert_same "$a" "$c"

note "a recovery is interrupted by a stop and goes on after it"
mdadm --quiet /dev/md0 --fail "$c" --remove "$c"
mdadm --quiet --zero-superblock "$c"
sync_speed $slow $slow
mdadm --quiet /dev/md0 --add "$c"
wait_for 20 moving
md_stop /dev/md0
fast
md_assemble --run /dev/md0 "$a" "$c"
md_writable /dev/md0
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$c"
assert_eq "$(sum /dev/md0)" "$want" content

note "writes while a spare is recovered"
mdadm --quiet /dev/md0 --fail "$c" --remove "$c"
mdadm --quiet --zero-superblock "$b"
sync_speed 8000 8000
mdadm --quiet /dev/md0 --add "$b"
fio --name=v --filename=/dev/md0 --rw=randwrite --bsrange=512-128k --blockalign=512 --direct=1 \
	--ioengine=libaio --iodepth=16 --size=24M --io_size=12M --verify=crc32c --verify_fatal=1 \
	--randseed=7 --end_fsync=1 >"$T/fio" 2>&1 || { cat "$T/fio"; fail "what was read is not what was written"; }
fast
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$b"
want=$(sum /dev/md0)

note "a resync is stopped in the middle and goes on, with and without bitmap"
md_stop /dev/md0
for bitmap in none internal; do
	mdadm --quiet --zero-superblock "$a" "$b"
	sync_speed $slow $slow
	keystream 5 $((8 << 20)) | dd of="$b" bs=1M seek=20 iflag=fullblock oflag=direct status=none
	mdcreate /dev/md0 --bitmap=$bitmap --bitmap-chunk=64K -n 2 "$a" "$b"
	wait_for 20 moving
	assert_eq "$(md_attr /dev/md0 sync_action)" resync
	fill /dev/md0 6 1024 4096
	md_stop /dev/md0
	assert_fails same "$a" "$b" 2>/dev/null
	fast
	before=$(bytes_written "$b")
	md_assemble /dev/md0 "$a" "$b"
	md_writable /dev/md0
	wait_idle /dev/md0
	assert_lt $(($(bytes_written "$b") - before)) $((($(sectors /dev/md0) - 1024) * 512)) "bytes copied from there on"
	assert_same "$a" "$b"
	assert_eq "$(md_attr /dev/md0 resync_start)" none resync_start
	assert_eq "$(sum /dev/md0 1024 4096)" "$(keystream 6 $((4 << 20)) | md5sum | cut -d' ' -f1)" content
	md_stop /dev/md0
done

note "a check is interrupted by a failure of its member"
md_assemble /dev/md0 "$a" "$b"
sync_speed $slow $slow
md_attr /dev/md0 sync_action check
wait_for 20 moving
mdadm --quiet /dev/md0 --fail "$b"
fast
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0)" U_
mdadm --quiet /dev/md0 --remove "$b"
mdadm --quiet /dev/md0 --add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$b"
md_stop /dev/md0

note "sync_max in the midst of a block of the members"
d=$(member_null nb0 16 blocksize=4096)
e=$(member_null nb1 16 blocksize=4096)
keystream 7 $((8 << 20)) | dd of="$e" bs=1M seek=4 iflag=fullblock oflag=direct status=none
mdcreate /dev/md0 --bitmap=none --assume-clean -n 2 "$d" "$e"
md_attr /dev/md0 sync_max 4099
md_attr /dev/md0 sync_action repair
wait_for 20 reached 4104
md_attr /dev/md0 sync_max max
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0)" UU
assert_same "$d" "$e"
