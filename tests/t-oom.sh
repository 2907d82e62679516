#!/bin/bash
# about: memory runs out: the 1st, 2nd, ... allocation fails, of what is done to members and the bitmap
# timeout: 900
# kernel: debug
# expect-dmesg: Call Trace
. "${0%/*}/lib.sh"
. "${0%/*}/lib-oom.sh"

# (The kernel shows where an allocation failed, which is no failure here. What
# is one has a line of its own besides "Call Trace".)

note "attributes"
before_attr() { :; }
after_attr() { :; }
for attr in "time_base 1" "backlog 0" "space 64" "chunksize 65536" "metadata internal"; do
	file=$sys/bitmap/${attr% *}
	oom nth 1 mine store "$file" "${attr#* }"
done
each attr mine load "$sys/bitmap/members"
each attr mine store "$sys/bitmap_set_bits" 3-5
works

note "a member leaves: removed from its slot"
before_leave() {
	wait_for 20 third_in_sync
	md_attr /dev/md0 bitmap/time_base 600 # nobody is to notice it by himself
	rdev_attr /dev/md0 "${m[2]}" state faulty
	wait_for 20 sb_written
}
sb_written() { [[ $(rdev_attr /dev/md0 "${m[2]}" state) != *blocked* ]]; }
after_leave() {
	md_attr /dev/md0 bitmap/time_base 1
	[ "$1" = ok ] || [ -e "$sys/dev-$(kname "${m[2]}")" ] || fail "gone, with an error: $1"
	if [ -e "$sys/dev-$(kname "${m[2]}")" ]; then
		wait_for 20 mdadm --quiet /dev/md0 --remove "${m[2]}" 2>/dev/null
	fi
	oom write 5
	third_returns
}
each leave all store "$sys/dev-$(kname "${m[2]}")/state" remove

note "a member returns"
before_return() { third_leaves; }
after_return() { third_returns; }
each return all mdadm --quiet /dev/md0 --re-add "${m[2]}"

note "a new member is put into a slot by hand"
before_slot() {
	third_leaves
	md_attr /dev/md0 sync_action frozen
	mdadm --zero-superblock "${m[2]}"
	mdadm --quiet /dev/md0 --add "${m[2]}"
}
after_slot() {
	md_attr /dev/md0 sync_action idle
	third_returns
}
each slot all store "$sys/dev-$(kname "${m[2]}")/slot" 2

note "the bitmap goes and comes"
before_none() { settle; }
after_none() {
	works
	[ "$(md_attr /dev/md0 bitmap/location)" != none ] ||
		md_attr /dev/md0 bitmap/location +8
}
each none mine store "$sys/bitmap/location" none
before_internal() {
	settle
	md_attr /dev/md0 bitmap/location none
}
after_internal() {
	[ "$1" = ok ] || assert_eq "$(md_attr /dev/md0 bitmap/location)" none
	works
	[ "$(md_attr /dev/md0 bitmap/location)" != none ] ||
		md_attr /dev/md0 bitmap/location +8
	works
}
each internal mine store "$sys/bitmap/location" +8
settle
oom check "${m[@]}"
