#!/bin/bash
# about: members fail, are removed, replaced by spares; the last one stays
# timeout: 400
. "${0%/*}/lib.sh"

load
loops 4 24M
a=${m[0]} b=${m[1]} c=${m[2]} d=${m[3]}

note "fail, remove, add a fresh one: all is copied"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
fill /dev/md0 1
want=$(sum /dev/md0)
mdadm --quiet /dev/md0 --fail "$b"
assert_eq "$(md_letters /dev/md0)" U_
assert_match "$(rdev_state /dev/md0 "$b")" faulty
assert_eq "$(sum /dev/md0)" "$want" "content of the degraded array"
mdadm --quiet /dev/md0 --remove "$b"
assert_fails test -e "/sys/block/md0/md/dev-$(kname "$b")"
before=$(bytes_written "$c")
mdadm --quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_ge $(($(bytes_written "$c") - before)) $(($(sectors /dev/md0) * 512)) "bytes copied to a new member"
assert_same "$a" "$c"
assert_eq "$(degraded /dev/md0)" 0 degraded

note "a spare takes over at once"
mdadm --quiet /dev/md0 --add "$d"
assert_eq "$(rdev_state /dev/md0 "$d")" spare
before=$(bytes_written "$d")
fill /dev/md0 2 1024 256
assert_lt $(($(bytes_written "$d") - before)) 262144 "bytes written to an idle spare"
mdadm --quiet /dev/md0 --fail "$a"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_match "$(rdev_state /dev/md0 "$d")" in_sync
assert_eq "$(rdev_attr /dev/md0 "$d" slot)" 0 "slot of the spare"
mdadm --quiet /dev/md0 --remove "$a"
assert_same "$c" "$d"
want=$(sum /dev/md0)

note "the last member in sync stays, however it is asked to go"
mdadm --quiet /dev/md0 --fail "$d"
mdadm --quiet /dev/md0 --remove "$d"
assert_eq "$(md_letters /dev/md0)" _U
mdadm --quiet /dev/md0 --fail "$c" || true
rdev_attr /dev/md0 "$c" state faulty || true
mdadm --quiet /dev/md0 --remove "$c" && fail "the last member could be removed"
assert_eq "$(rdev_state /dev/md0 "$c")" in_sync
assert_eq "$(md_letters /dev/md0)" _U
assert_eq "$(sum /dev/md0)" "$want" content
fill /dev/md0 3 0 1024
want=$(sum /dev/md0)

note "the former members come back, the first to its slot, the second as spare"
mdadm --quiet --zero-superblock "$a"
mdadm --quiet /dev/md0 --add "$d"
wait_letters /dev/md0 UU
wait_idle /dev/md0
mdadm --quiet /dev/md0 --add "$a"
assert_eq "$(rdev_state /dev/md0 "$a")" spare
assert_same "$c" "$d"
assert_eq "$(sum /dev/md0)" "$want" content
md_stop /dev/md0
md_assemble /dev/md0 "$a" "$c" "$d"
assert_eq "$(md_letters /dev/md0)" UU
assert_eq "$(rdev_state /dev/md0 "$a")" spare
assert_eq "$(sum /dev/md0)" "$want" content
md_stop /dev/md0
mdadm --quiet --zero-superblock "$a" "$c" "$d"

note "errors of the last member are errors of the array, until it is healed"
f=$(dm_linear flaky "$a")
for bitmap in internal none; do
	mdcreate /dev/md0 --bitmap=$bitmap --bitmap-chunk=64K --assume-clean -n 2 "$f" "$b" ||
		fail "not created with bitmap $bitmap"
	fill /dev/md0 4
	mdadm --quiet /dev/md0 --fail "$b"
	dm_dead flaky "$a"
	assert_fails dd if=/dev/zero of=/dev/md0 bs=4k count=1 oflag=direct conv=notrunc status=none 2>/dev/null
	assert_fails dd if=/dev/zero of=/dev/md0 bs=4k seek=2000 count=1 oflag=direct conv=notrunc status=none 2>/dev/null
	assert_fails dd if=/dev/md0 of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null
	assert_eq "$(rdev_state /dev/md0 "$f")" in_sync
	assert_eq "$(md_letters /dev/md0)" U_
	dm_heal flaky "$a"
	fill /dev/md0 5 0 1024
	fill /dev/md0 6 8000 64
	assert_eq "$(sum /dev/md0 0 1024)" "$(keystream 5 $((1 << 20)) | md5sum | cut -d' ' -f1)" "content after healing"
	# The failed writes may have changed what they were for, or not. All
	# else is as it was.
	want=$(sum /dev/md0)
	mdadm --quiet /dev/md0 --remove "$b"
	mdadm --quiet /dev/md0 --add "$b"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_eq "$(sum /dev/md0)" "$want" content
	assert_same "$f" "$b"
	md_stop /dev/md0
	mdadm --quiet --zero-superblock "$f" "$b"
done

note "with fail_last_dev, the last one goes as well"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$f" "$b"
md_attr /dev/md0 fail_last_dev 1
mdadm --quiet /dev/md0 --fail "$b"
dm_dead flaky "$a"
dd if=/dev/zero of=/dev/md0 bs=4k count=1 oflag=direct conv=notrunc status=none 2>/dev/null &&
	fail "written to an array without members"
assert_match "$(rdev_state /dev/md0 "$f")" faulty
assert_eq "$(md_letters /dev/md0)" __
assert_fails dd if=/dev/md0 of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null
assert_fails dd if=/dev/zero of=/dev/md0 bs=4k count=1 oflag=direct conv=notrunc status=none 2>/dev/null
md_stop /dev/md0

note "a member that cannot be written is thrown out, and nothing is lost"
dm_heal flaky "$a"
mdadm --quiet --zero-superblock "$f" "$b"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 "$f" "$b" "$c"
dm_dead flaky "$a"
fill /dev/md0 7
assert_eq "$(md_letters /dev/md0)" _UU
assert_eq "$(sum /dev/md0)" "$(keystream 7 $(($(sectors /dev/md0) * 512)) | md5sum | cut -d' ' -f1)" content
assert_same "$b" "$c"
