#!/bin/bash
# about: the machine and its helpers, shown on Debian's own raid1
# timeout: 300
# What other tests rely on must hold with a RAID-1 known to be good.
. "${0%/*}/lib.sh"

loops 2 32M
a=${m[0]} b=${m[1]}

note "the stock module does not come unasked"
assert_fails mdcreate /dev/md0 --bitmap=none -n 2 "$a" "$b"
load_stock

note "create, resync, compare"
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K -n 2 "$a" "$b"
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0)" UU
fill /dev/md0 7
assert_same "$a" "$b"
want=$(sum /dev/md0)

note "a leg fails, misses writes, and comes back by the bitmap"
mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
assert_eq "$(md_letters /dev/md0)" U_
fill /dev/md0 8 1024 512
assert_gt "$(bitmap_dirty "$a")" 0 "dirty bits"
assert_fails same "$a" "$b"
before=$(bytes_written "$b")
mdadm --quiet /dev/md0 --re-add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_lt $(($(bytes_written "$b") - before)) $((4 << 20)) "bytes copied"
assert_same "$a" "$b"
assert_ne "$(sum /dev/md0)" "$want" "content"
assert_eq "$(md_check /dev/md0)" 0 mismatch_cnt

note "stop and assemble"
md_stop /dev/md0
md_assemble /dev/md0 "$a" "$b"
assert_eq "$(md_letters /dev/md0)" UU

note "a network leg dies, is thrown out; a bad sector is read elsewhere"
md_stop /dev/md0
n=$(member_nbd 0 32M)
f=$(dm_linear flaky "$a")
mdcreate /dev/md1 --bitmap=none --assume-clean -n 2 "$n" "$f"
nbd_kill 0
fill /dev/md1 9
assert_eq "$(md_letters /dev/md1)" _U
assert_match "$(rdev_state /dev/md1 "$n")" faulty
want=$(sum /dev/md1)
null=$(member_null nb0 32)
mdadm --quiet /dev/md1 --add "$null"
wait_letters /dev/md1 UU
dm_bad_reads flaky "$a" $(($(data_offset "$a") + 800)) 8
drop_caches
assert_eq "$(sum /dev/md1)" "$want" "content"
