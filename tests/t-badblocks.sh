#!/bin/bash
# about: bad-block logs: their entries are avoided, dropped when overwritten
# timeout: 600
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

sync_speed 100000 1000000

# log_of MD DEV: the entries, "START LENGTH" each, in sectors of the data area
# (sysfs counts from the start of the member)
log_of() { rdev_attr "$1" "$2" bad_blocks | awk -v off="$off" '{print $1 - off, $2}'; }
# log_add MD DEV START LENGTH
log_add() { rdev_attr "$1" "$2" bad_blocks "$(($3 + off)) $4"; }
# spoil NAME OFFSET SECTORS: other data on a backing file, behind md's back
spoil() {
	keystream 77 $(($3 * 512)) | dd of="$T/$1.img" bs=512 seek=$((off + $2)) conv=notrunc \
		iflag=fullblock status=none
}

note "entries made by the kernel's own raid1"
load_stock
a=$(member_loop a 12M)
b=$(member_loop b 12M)
x=$(dm_linear x "$b")
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$x"
fill /dev/md0 1
off=$(data_offset "$a")
dm_bad x "$b" $((off + 4096)) 16
put /dev/md0 2 2048 64
assert_eq "$(log_of /dev/md0 "$x" | head -n 1 | cut -d' ' -f1)" 4096 "start of the entry"
assert_eq "$(md_letters /dev/md0)" UU
entries=$(log_of /dev/md0 "$x")
want=$(sum /dev/md0)
md_stop /dev/md0
unload
# What is under the entries must never be seen.
dm_heal x "$b"
spoil b 4096 16

note "ours reads elsewhere what is bad"
load_ours
assemble /dev/md0 "$a" "$x"
assert_eq "$(log_of /dev/md0 "$x")" "$entries" "the log"
read_from /dev/md0 "$x"
assert_eq "$(sum /dev/md0)" "$want" "content"
for bs in 512 4096 65536 1048576; do
	assert_eq "$(dd if=/dev/md0 bs=$bs iflag=direct status=none | md5sum | cut -d' ' -f1)" "$want" "content by $bs"
done
assert_eq "$(log_of /dev/md0 "$x")" "$entries" "the log"

note "writing over a part drops that part"
put /dev/md0 3 2048 4
left=$(log_of /dev/md0 "$x")
[[ $left != *"4096 "* ]] || fail "still there: $left"
assert_has /dev/md0 3 2048 4
assert_has "$x" 3 $((off / 2 + 2048)) 4
want=$(sum /dev/md0)
assert_eq "$(dd if=/dev/md0 bs=1M iflag=direct status=none | md5sum | cut -d' ' -f1)" "$want" "content"

note "... and is remembered across a restart"
md_stop /dev/md0
assemble /dev/md0 "$a" "$x"
assert_eq "$(log_of /dev/md0 "$x")" "$left" "the log"
read_from /dev/md0 "$x"
assert_eq "$(sum /dev/md0)" "$want" "content"

note "a write that fails only where it is bad anyway does no harm"
log_add /dev/md0 "$x" 8000 16
dm_bad x "$b" $((off + 8000)) 16
put /dev/md0 4 4000 8
assert_eq "$(md_letters /dev/md0)" UU
assert_match "$(log_of /dev/md0 "$x")" "8000 16" "the log"
assert_has /dev/md0 4 4000 8
dm_heal x "$b"
put /dev/md0 5 4000 8
[[ $(log_of /dev/md0 "$x") != *"8000 16"* ]] || fail "still there"
assert_has "$x" 5 $((off / 2 + 4000)) 8

note "repair and check: what is bad is no difference"
put /dev/md0 6 2048 64
assert_eq "$(log_of /dev/md0 "$x")" "" "the log after all was overwritten"
assert_eq "$(md_check /dev/md0)" 0 mismatch_cnt
log_add /dev/md0 "$x" 12000 8
log_add /dev/md0 "$a" 13000 24
put /dev/md0 7 100 4	# with this, superblocks are updated
md_stop /dev/md0
spoil b 12000 8
spoil a 13000 24
assemble /dev/md0 "$a" "$x"
assert_eq "$(log_of /dev/md0 "$x")" "12000 8" "the log"
assert_eq "$(log_of /dev/md0 "$a")" "13000 24" "the log"
want=$(sum /dev/md0)
assert_eq "$(md_check /dev/md0)" 0 mismatch_cnt
for dev in "$a" "$x"; do
	read_from /dev/md0 "$dev"
	assert_eq "$(sum /dev/md0)" "$want" "content"
done
keystream 1 $((13024 * 512)) | tail -c $((24 * 512)) >"$T/right"
dd if=/dev/md0 bs=512 skip=13000 count=24 iflag=direct status=none | cmp - "$T/right" ||
	fail "read from a bad block"

note "recovery goes around the bad blocks of its source"
c=$(member_loop c 12M)
mdadm --quiet /dev/md0 --fail "$x" --remove "$x"
# mdadm takes over that there are entries, but leaves what is on a new member
# where they are read from, and zeroes are not valid: make the log empty.
log_size=$("${0%/*}/edit-sb.py" "$T/a.img" super bblog_size)
log_at=$((8 + $("${0%/*}/edit-sb.py" "$T/a.img" super bblog_offset)))
empty_log() {
	head -c $((log_size * 512)) /dev/zero | tr '\0' '\377' |
		dd of="$1" bs=512 seek=$log_at iflag=fullblock oflag=direct status=none
}
empty_log "$c"
mark=$(dmesg_mark)
mdadm --quiet /dev/md0 --add "$c"
sleep 2
wait_idle /dev/md0
# Nobody has sectors 13000 to 13023 any more: c must not pretend that it does.
[[ $(rdev_state /dev/md0 "$c") != *in_sync* ]] || fail "recovered from nothing: $(dmesg_since "$mark")"
if dd if=/dev/md0 of=/dev/null bs=512 skip=13000 count=24 iflag=direct status=none 2>/dev/null; then
	fail "read what nobody has"
fi
assert_le "$(dmesg_since "$mark" | grep -cE "recover(y)? of RAID array")" 2 "attempts"
put /dev/md0 8 6496 16
mdadm --quiet /dev/md0 --remove "$c" 2>/dev/null || { mdadm --quiet /dev/md0 --fail "$c"; wait_for 10 mdadm --quiet /dev/md0 --remove "$c"; }
mdadm --quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_has /dev/md0 8 6496 16
md_stop /dev/md0
assert_same "$a" "$c"

note "with three members the others fill in"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 "$a" "$x" missing
fill /dev/md0 9
log_add /dev/md0 "$a" 3000 100
log_add /dev/md0 "$x" 3050 10
log_add /dev/md0 "$x" 9000 512
dd if=/dev/zero of=/dev/md0 bs=4k seek=2000 count=1 oflag=direct conv=notrunc status=none
md_stop /dev/md0
off=$(data_offset "$a")
spoil a 3000 50
spoil a 3060 40
spoil b 9000 512
assemble /dev/md0 "$a" "$x"
# 3050 to 3059 is lost by the logs, though the data is there.
if dd if=/dev/md0 of=/dev/null bs=512 skip=3050 count=10 iflag=direct status=none 2>/dev/null; then
	fail "read what both have as bad"
fi
for part in "0 3050" "3060 8000"; do
	read -r from count <<<"$part"
	keystream 9 $(((from + count) * 512)) | tail -c $((count * 512)) >"$T/right"
	dd if=/dev/md0 bs=512 skip="$from" count="$count" iflag=direct status=none | cmp - "$T/right" ||
		fail "wrong data in $part"
done
dd if=/dev/zero of=/dev/md0 bs=512 seek=3050 count=10 oflag=direct conv=notrunc status=none
mdadm --quiet --zero-superblock "$c"
mdadm --quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UUU
wait_idle /dev/md0
want=$(sum /dev/md0)
read_from /dev/md0 "$c"
assert_eq "$(sum /dev/md0)" "$want" "content"
assert_eq "$(md_check /dev/md0)" 0 mismatch_cnt

note "a resync goes around them as well, and no further"
md_stop /dev/md0
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$x"
fill /dev/md0 10
off=$(data_offset "$a")
log_add /dev/md0 "$x" 5000 8
put /dev/md0 11 100 4	# with this, superblocks are updated
want=$(sum /dev/md0)
md_stop /dev/md0
spoil b 4096 2048
assemble /dev/md0 "$a" "$x"
assert_eq "$(log_of /dev/md0 "$x")" "5000 8" "the log"
md_attr /dev/md0 bitmap_set_bits 0-$(($(sectors /dev/md0) / 128 - 1))
md_attr /dev/md0 sync_action resync
wait_idle /dev/md0
assert_eq "$(sum /dev/md0)" "$want" "content"
# what is in the log is the one thing that nobody has put right
dd if=/dev/md0 of="$T/block" bs=512 skip=5000 count=8 iflag=direct status=none
dd if="$T/block" of=/dev/md0 bs=512 seek=5000 oflag=direct conv=notrunc status=none
assert_eq "$(log_of /dev/md0 "$x")" "" "the log"
md_stop /dev/md0
assert_same "$a" "$x"

# One that is read-only does not fail for it, so that this goes on and on.
note "a read that no member can serve as a whole, beside suspending"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 "$a" "$x" "$c"
fill /dev/md0 12
off=$(data_offset "$a")
log_add /dev/md0 "$a" 3000 8
log_add /dev/md0 "$c" 3100 8
dd if=/dev/zero of=/dev/md0 bs=4k seek=2000 count=1 oflag=direct conv=notrunc status=none
want=$(sum /dev/md0)
md_stop /dev/md0
spoil a 3000 8
spoil c 3100 8
assemble /dev/md0 "$a" "$x" "$c"
assert_eq "$(log_of /dev/md0 "$a") $(log_of /dev/md0 "$c")" "3000 8 3100 8" "the logs"
mdadm --quiet --readonly /dev/md0
read_from /dev/md0 "$x"
dm_flaky x "$b" error_reads
in_time $((120 * ${SLOW:-1})) bash -c '
	for i in {1..60}; do
		dd if=/dev/md0 bs=1M iflag=direct status=none | md5sum
	done' >"$T/sums" &
reader=$!
n=0
while kill -0 $reader 2>/dev/null; do
	in_time $((60 * ${SLOW:-1})) bash -c 'echo 0 >/sys/block/md0/md/suspend_lo'
	n=$((n + 1))
done
wait $reader
note "suspended $n times"
assert_eq "$(sort -u "$T/sums")" "$want  -" "content"
assert_eq "$(md_letters /dev/md0)" UUU
