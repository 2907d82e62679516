#!/bin/bash
# about: a new array whose members are equal: nothing is to be copied to a member that leaves soon
# timeout: 200
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
md=/dev/md0
loops 4 40M
a=${m[0]} b=${m[1]} c=${m[2]} d=${m[3]}
size=$((32 << 20))
bits=$((size / 65536))
sync_speed 100000 1000000
# bits are not cleared by time
options=(--bitmap=internal --bitmap-chunk=64K --delay=1000 --size=32M)

again() {
	local dev
	[ ! -e /sys/block/md0/md ] || md_stop $md
	for dev; do
		mdadm --quiet --zero-superblock "$dev" 2>/dev/null || true
		blkdiscard -f "$dev" 2>/dev/null
	done
}
# the array may turn writable a moment after its start
none_dirty() { [ "$(bitmap_dirty "$1") $(bitmap_dirty "$2")" = "0 0" ]; }
write_blocks() { fill $md 1 1024 64; }
# leave_and_return MEMBER: it misses 64 KiB
leave_and_return() {
	mdadm --quiet $md --fail "$1" --remove "$1"
	fill $md 2 4096 64
	count "$1"
	mdadm --quiet $md --re-add "$1"
	wait_idle $md
}

for metadata in 1.2 1.0 0.90; do
	note "metadata $metadata: no bit is set, and a member gets what was written"
	again "$a" "$b"
	mdcreate $md --metadata=$metadata "${options[@]}" --assume-clean -n 2 "$a" "$b"
	wait_for 10 none_dirty "$a" "$b"
	write_blocks
	assert_eq "$(bitmap_dirty "$a") $(bitmap_dirty "$b")" "1 1" "bits after a write"
	leave_and_return "$b"
	wait_letters $md UU
	came_back "$b" 128
	assert_same "$a" "$b"
done

note "an array that waits for its first write: bits go when it turns writable"
again "$a" "$b"
mdcreate $md "${options[@]}" --assume-clean --readonly -n 2 "$a" "$b"
assert_eq "$(bitmap_dirty "$a") $(bitmap_dirty "$b")" "$bits $bits" "bits on the members of a read-only array"
mdadm --quiet --readwrite $md
wait_for 10 none_dirty "$a" "$b"

note "... and a member that leaves before, which has no clock yet, gets what was written"
again "$a" "$b"
mdcreate $md "${options[@]}" --assume-clean --readonly -n 2 "$a" "$b"
mdadm --quiet $md --fail "$b"
mdadm --quiet --readwrite $md
wait_for 10 mdadm --quiet $md --remove "$b"
fill $md 2 4096 64
count "$b"
mdadm --quiet $md --re-add "$b"
wait_letters $md UU
came_back "$b" 64
assert_same "$a" "$b"

note "... or that fails the first thing that is written to it"
again "$a" "$b"
failing=$(dm_linear failing "$b")
mdcreate $md "${options[@]}" --assume-clean --readonly -n 2 "$a" "$failing"
dm_dead failing "$b"
mdadm --quiet --readwrite $md
fill $md 2 4096 64
wait_letters $md U_
dm_heal failing "$b"
wait_for 10 mdadm --quiet $md --remove "$failing"
count "$failing"
mdadm --quiet $md --re-add "$failing"
wait_letters $md UU
came_back "$failing" 64
assert_same "$a" "$failing"
md_stop $md
dmsetup remove --noudevsync failing

note "members that get it all: all bits are set until they have"
again "$a" "$b"
sync_speed 1 1
mdcreate $md "${options[@]}" -n 2 "$a" "$b"
assert_eq "$(bitmap_dirty "$a") $(bitmap_dirty "$b")" "$bits $bits" "bits while members may differ"
sync_speed 100000 1000000
wait_idle $md
assert_same "$a" "$b"

note "a crash right after the creation"
again "$a" "$b"
mdcreate $md "${options[@]}" --assume-clean -n 2 "$a" "$b"
for i in 0 1; do cp "$T/m$i.img" "$T/copy$i.img"; done
md_stop $md
x=$(losetup --show -f "$T/copy0.img")
y=$(losetup --show -f "$T/copy1.img")
md_assemble --run $md "$x" "$y"
mdadm --quiet --readwrite $md 2>/dev/null || true
assert_eq "$(md_letters $md) $(md_attr $md resync_start)" "UU none" "the array after a crash"
write_blocks
leave_and_return "$y"
wait_letters $md UU
came_back "$y" 128
assert_same "$x" "$y"
md_stop $md
losetup -d "$x"
losetup -d "$y"

note "a crash after the first write: what was written is compared"
again "$a" "$b"
mdcreate $md "${options[@]}" --assume-clean -n 2 "$a" "$b"
write_blocks
for i in 0 1; do cp "$T/m$i.img" "$T/copy$i.img"; done
md_stop $md
# one of them has not got it
printf 'older' | dd of="$T/copy1.img" bs=1 seek=$(($(data_offset "$b") * 512 + (1 << 20))) conv=notrunc status=none
x=$(losetup --show -f "$T/copy0.img")
y=$(losetup --show -f "$T/copy1.img")
md_assemble --run $md "$x" "$y"
mdadm --quiet --readwrite $md 2>/dev/null || true
wait_idle $md
assert_same "$x" "$y"
md_stop $md
losetup -d "$x"
losetup -d "$y"

note "a slot that is vacant from the start: its member gets everything, others do not"
again "$a" "$b"
mdcreate $md "${options[@]}" --assume-clean -n 3 "$a" "$b" missing
assert_eq "$(nameless $md)" $size "what a member in the vacant slot lacks"
write_blocks
leave_and_return "$b"
wait_letters $md UU_
came_back "$b" 128
fill "$c" 3
count "$c"
mdadm --quiet $md --add "$c"
wait_letters $md UUU
assert_ge "$(counted "$c")" $((size / 1024)) "KiB copied to the third member"
assert_same "$a" "$b" "$c"

note "a member that is missing at the next start, before anything was written"
again "$a" "$b" "$c"
mdcreate $md "${options[@]}" --assume-clean -n 3 "$a" "$b" "$c"
wait_for 10 none_dirty "$a" "$c"
md_stop $md
md_assemble --run $md "$a" "$c"
mdadm --quiet --readwrite $md 2>/dev/null || true
assert_eq "$(nameless $md)" 0 "what the missing member lacks"
fill $md 2 4096 64
count "$b"
mdadm --quiet $md --re-add "$b"
wait_letters $md UUU
came_back "$b" 64
assert_same "$a" "$b" "$c"

note "only one member, and another one later: it gets everything"
again "$a" "$b" "$c"
mdcreate $md "${options[@]}" --assume-clean -n 2 "$a" missing
assert_eq "$(nameless $md)" $size "what a member in the vacant slot lacks"
fill "$d" 3
mdadm --quiet $md --add "$d"
wait_letters $md UU
assert_same "$a" "$d"

note "a bitmap for a running array: what was written before may be in caches"
again "$a" "$d"
mdcreate $md --bitmap=none --size=32M --assume-clean -n 2 "$a" "$b"
write_blocks
mdadm --quiet --grow $md --bitmap=internal --bitmap-chunk=64K
md_attr $md bitmap/time_base 1000
mdadm --quiet $md --fail "$b" --remove "$b"
assert_eq "$(lacks $md "$b")" $size "what a member lacks that leaves soon after"
mdadm --quiet $md --re-add "$b"
wait_letters $md UU
assert_same "$a" "$b"
