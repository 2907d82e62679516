#!/bin/bash
# about: read errors: served by others, mended, counted; the last member stays
# timeout: 600
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load_ours
sync_speed 100000 1000000

note "sectors that cannot be read are read elsewhere and rewritten"
n=$(member_bad 0 12M)
b=$(member_loop b 12M)
c=$(member_loop c 12M)
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$n" "$b"
fill /dev/md0 1
want=$(sum /dev/md0)
off=$(data_offset "$n")
read_from /dev/md0 "$n"
bad 0 dust=$((off + 2050)),3
mark=$(dmesg_mark)
assert_eq "$(sum /dev/md0)" "$want" "content"
assert_eq "$(md_letters /dev/md0)" UU
# the read is answered before the member is mended
mended() { [ "$(corrected /dev/md0 "$n")" -gt 0 ]; }
wait_for 20 mended
assert_match "$(dmesg_since "$mark")" "were unreadable and are rewritten" "log"
got=$(corrected /dev/md0 "$n")
assert_ge "$got" 3 "corrected sectors"
assert_le "$got" 16 "corrected sectors"
assert_same "$n" "$b"
assert_eq "$(sum /dev/md0)" "$want" "content"
assert_eq "$(corrected /dev/md0 "$n")" "$got" "corrected sectors, after mending"

note "each member has lost other sectors"
md_stop /dev/md0
x=$(dm_linear x "$b")
md_assemble /dev/md0 "$n" "$x"
read_from /dev/md0 "$n"
bad 0 dust=$((off + 4000)),8
dm_bad_reads x "$b" $((off + 4096)) 8
assert_eq "$(sum /dev/md0)" "$want" "content"
assert_eq "$(md_letters /dev/md0)" UU

note "both have lost the same sectors: an error for these, nobody fails"
bad 0 dust=$((off + 4096)),8
if dd if=/dev/md0 of=/dev/null bs=4096 skip=512 count=1 iflag=direct status=none 2>/dev/null; then
	fail "read what nobody has"
fi
assert_eq "$(md_letters /dev/md0)" UU
assert_eq "$(sum /dev/md0 0 2048)" "$(keystream 1 $((2048 * 1024)) | md5sum | cut -d' ' -f1)" "what comes before"
# A check must get past them.
in_time 100 bash -c 'echo check >/sys/block/md0/md/sync_action'
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0)" UU

note "writing makes them readable"
dm_heal x "$b"
put /dev/md0 7 2048 4
assert_has /dev/md0 7 2048 4
assert_same "$n" "$b"
want=$(sum /dev/md0)

note "check mends what it cannot read"
bad 0 dust=$((off + 9000)),20
assert_eq "$(md_check /dev/md0)" 0 mismatch_cnt
assert_eq "$(md_letters /dev/md0)" UU
bad 0
assert_same "$n" "$b"

note "too many errors: the member fails, the array goes on"
echo 5 >/sys/block/md0/md/max_read_errors
read_from /dev/md0 "$n"
for i in 1 2 3 4 5 6 7 8; do
	if is_faulty /dev/md0 "$n"; then break; fi
	bad 0 dust=$((off + 6000 + 100 * i)),1
	dd if=/dev/md0 of=/dev/null bs=4096 skip=$(((6000 + 100 * i) / 8)) count=1 iflag=direct status=none
done
assert_match "$(rdev_state /dev/md0 "$n")" faulty "member with many errors"
assert_ge "$i" 5 "errors until then"
assert_eq "$(sum /dev/md0)" "$want" "content"
mdadm --quiet /dev/md0 --remove "$n"
bad 0

note "recovery from a member with a sector that it cannot read stops and stays away"
dm_bad_reads x "$b" $((off + 10000)) 8
mark=$(dmesg_mark)
mdadm --quiet /dev/md0 --add "$c"
sleep 1
wait_idle /dev/md0
sleep 3
log=$(dmesg_since "$mark")
assert_eq "$(md_letters /dev/md0 | tr -d _)" U "members in sync"
assert_match "$(rdev_state /dev/md0 "$x")" in_sync "the source"
[[ $(rdev_state /dev/md0 "$c") != *in_sync* ]] || fail "recovery was completed without the data"
assert_match "$log" "(nothing to copy from|cannot be read from any member)" "log"
assert_le "$(grep -cE "recover(y)? of RAID array" <<<"$log")" 2 "attempts"
put /dev/md0 8 1024 64
assert_has /dev/md0 8 1024 64
if dd if=/dev/md0 of=/dev/null bs=4096 skip=1250 count=1 iflag=direct status=none 2>/dev/null; then
	fail "read what nobody has"
fi
assert_eq "$(md_letters /dev/md0 | tr -d _)" U "members in sync"

note "with the sector written, the recovery completes"
dm_heal x "$b"
put /dev/md0 9 5000 4
mdadm --quiet /dev/md0 --remove "$c" 2>/dev/null || { mdadm --quiet /dev/md0 --fail "$c"; wait_for 10 mdadm --quiet /dev/md0 --remove "$c"; }
mdadm --quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$b" "$c"

note "a member that fails all reads"
read_from /dev/md0 "$x"
dm_flaky x "$b" error_reads
want=$(sum /dev/md0)
wait_for 30 is_faulty /dev/md0 "$x"
assert_eq "$(sum /dev/md0)" "$want" "content"
put /dev/md0 10 3000 64
assert_has /dev/md0 10 3000 64
dm_heal x "$b"
mdadm --quiet /dev/md0 --remove "$x"
mdadm --quiet /dev/md0 --re-add "$x"
wait_letters /dev/md0 UU
wait_idle /dev/md0
md_stop /dev/md0
assert_same "$b" "$c"

note "the last member is not made faulty by reading"
assemble /dev/md0 "$x"
dm_bad_reads x "$b" $((off + 2000)) 16
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
	if dd if=/dev/md0 of=/dev/null bs=4096 skip=250 count=1 iflag=direct status=none 2>/dev/null; then
		fail "read what nobody has"
	fi
done
assert_eq "$(md_letters /dev/md0 | tr -d _)" U
put /dev/md0 11 3000 64
assert_has /dev/md0 11 3000 64

note "reading ahead, which a suspended disk refuses, is no error of the disk"
md_stop /dev/md0
dm_heal x "$b"
mdcreate /dev/md0 --bitmap=none --assume-clean -n 2 "$x" "$c"
fill /dev/md0 12
want=$(sum /dev/md0)
read_from /dev/md0 "$x"
blockdev --setra 2048 /dev/md0
drop_caches
mark=$(dmesg_mark)
dmsetup suspend --nolockfs --noflush --noudevsync x
dd if=/dev/md0 bs=64k status=none | md5sum >"$T/sum" &
sleep 2
dmsetup resume --noudevsync x
wait $!
assert_eq "$(cut -d' ' -f1 "$T/sum")" "$want" "content"
assert_eq "$(md_letters /dev/md0)" UU
if dmesg_since "$mark" | grep "read error"; then fail "an error was counted"; fi

note "what no member could read is not forgotten when a bitmap is added"
md_stop /dev/md0
y=$(dm_linear y "$c")
keystream 5 4096 | dd of="$T/c.img" bs=512 seek=$((2048 + 5000)) conv=notrunc status=none
dm_bad_reads x "$b" $((2048 + 5000)) 8
dm_bad_reads y "$c" $((2048 + 5000)) 8
mdcreate /dev/md0 --bitmap=none --data-offset=1M -n 2 "$x" "$y"
wait_idle /dev/md0
dm_heal x "$b"
dm_heal y "$c"
mdadm --quiet --grow /dev/md0 --bitmap=internal
wait_idle /dev/md0
md_stop /dev/md0
assert_same "$x" "$y"

note "a read is answered, and others go on, while a member is being mended"
clear_away
n=$(member_bad 0 12M)
b=$(member_loop b 12M)
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$n" "$b"
fill /dev/md0 1
want=$(sum /dev/md0 4096 128)
off=$(data_offset "$n")
read_from /dev/md0 "$n"
# each read and write of these 32 blocks takes two seconds
bad 0 dust=$((off + 8192)),256 slow-at=$((off + 8192)),256,2000 bad-read=$((off + 4096)),8
assert_eq "$(in_time 30 dd if=/dev/md0 bs=128k skip=32 count=1 iflag=direct status=none | md5sum | cut -d' ' -f1)" "$want" content
in_time 20 dd if=/dev/md0 of=/dev/null bs=4k skip=512 count=1 iflag=direct status=none
put /dev/md0 13 4608 4
note "nor is an array held up that is suspended or stopped, nor a member that leaves"
in_time 30 mdadm --quiet --grow /dev/md0 --bitmap=none
assert_lt "$(corrected /dev/md0 "$n")" 256 "sectors that are mended by then"
in_time 30 mdadm --quiet --stop /dev/md0
assemble /dev/md0 "$n" "$b"
read_from /dev/md0 "$n"
in_time 30 dd if=/dev/md0 of=/dev/null bs=128k skip=32 count=1 iflag=direct status=none
mdadm --quiet /dev/md0 --fail "$n"
remove() { mdadm --quiet /dev/md0 --remove "$n" 2>/dev/null; }
wait_for 10 remove
bad 0
