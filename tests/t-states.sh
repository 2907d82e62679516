#!/bin/bash
# about: no write passes before the metadata say what they must: external metadata, and "active" by hand
# timeout: 300
# shellcheck disable=SC2119,SC2317 # load_ours needs no parameters; functions for wait_for
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load_ours
sync_speed 100000 1000000
a=$(member_loop a 12M)
b=$(member_loop b 12M)
x=$(dm_linear x "$b")

# write_p DEV SEED OFFSET_KIB: 64 KiB; no program that takes long to start
for i in 1 2 3 4 5 6 7; do keystream $i 65536 >"$T/p$i"; done
write_p() {
	in_time 90 dd if="$T/p$2" of="$1" bs=64k seek="$(($3 * 1024))" oflag=direct,seek_bytes \
		conv=notrunc count=1 status=none
}
# on DEV SEED OFFSET_KIB: is it there?
on() {
	dd if="$1" bs=64k skip="$(($3 * 1024))" count=1 iflag=direct,skip_bytes status=none |
		cmp -s "$T/p$2"
}
flush() { in_time 90 sync "$1"; }

# ext NAME...: an array with external metadata, /dev/md7, of two members; whoever
# looks after its metadata is played by this test
ext() {
	local dev slot=0 sys=/sys/block/md7/md
	echo md7 >/sys/module/md_mod/parameters/new_array
	md_attr md7 metadata_version external:test
	md_attr md7 level raid1
	md_attr md7 raid_disks 2
	md_attr md7 component_size 8192
	for dev; do
		stat -Lc '%Hr:%Lr' "$dev" >$sys/new_dev
		rdev_attr md7 "$dev" slot $slot
		slot=$((slot + 1))
	done
	md_attr md7 resync_start none
	md_attr md7 array_state active
	wait_for 10 test -b /dev/md7
	md_attr md7 safe_mode_delay 0
	begin write_p /dev/md7 1 0
	activate
	done_soon
}
state_is() { [ "$(md_attr "$1" array_state)" = "$2" ]; }
# activate: the handler has recorded that the array is active
activate() {
	wait_for 20 state_is md7 write-pending
	md_attr md7 array_state active
}
# begin CMD...: in the background; the status is in $T/status when it has ended
begin() {
	rm -f "$T/status"
	{
		status=0
		"$@" || status=$?
		echo $status >"$T/status"
	} &
}
ended() { [ -e "$T/status" ]; }
done_soon() {
	wait_for 20 ended
	wait
	assert_eq "$(cat "$T/status")" 0 "status of the request"
}
# held WHAT: it has not ended, though nothing but the block is left to wait for
held() {
	sleep 0.5
	! ended || fail "$1 was acknowledged while a member is blocked"
}

note "external metadata: a write and a flush wait until the fault of a member is recorded"
ext "$a" "$x"
rdev_attr md7 "$x" state faulty
assert_match "$(rdev_state md7 "$x")" faulty.*blocked
begin write_p /dev/md7 2 1000
activate
wait_for 20 on "$a" 2 1000
{
	flush /dev/md7
	: >"$T/flushed"
} &
held "a write"
[ ! -e "$T/flushed" ] || fail "a flush was acknowledged while a member is blocked"
on /dev/md7 2 1000
rdev_attr md7 "$x" state -blocked
done_soon
write_p /dev/md7 3 1100
on /dev/md7 3 1100

note "... and one that fails on the member; it does not keep that from being removed"
for how in "state remove" "slot none"; do
	md_attr md7 array_state clear
	dm_heal x "$b"
	ext "$a" "$x"
	dm_dead x "$b"
	begin write_p /dev/md7 4 1000
	activate
	assert_match "$(rdev_state md7 "$x")" faulty.*blocked
	held "a write"
	# shellcheck disable=SC2086 # two words
	in_time 30 bash -c "echo ${how#* } >/sys/block/md7/md/dev-$(kname "$x")/${how% *}"
	done_soon
	on /dev/md7 4 1000
done

note "a member that works may be blocked, too; reads go on"
md_attr md7 array_state clear
dm_heal x "$b"
ext "$a" "$x"
rdev_attr md7 "$x" state blocked
begin write_p /dev/md7 5 1000
wait_for 20 on "$x" 5 1000
held "a write"
on /dev/md7 5 1000
rdev_attr md7 "$x" state -blocked
done_soon

note "a member that is blocked keeps the array neither from being read-only nor from being stopped"
rdev_attr md7 "$x" state faulty
activate
assert_match "$(rdev_state md7 "$x")" faulty.*blocked
in_time 30 bash -c "echo readonly >/sys/block/md7/md/array_state"
in_time 30 bash -c "echo clear >/sys/block/md7/md/array_state"

# An update of the superblock that takes long shows who does not wait for it.
z=$(dm_linear z "$a")
modprobe dm-delay
seed=5
for bitmap in none internal; do
	seed=$((seed + 1))
	note "\"active\" is written to array_state as the array turns active, bitmap: $bitmap"
	dm_heal z "$a"
	dm_heal x "$b"
	mdcreate /dev/md0 --bitmap=$bitmap --assume-clean --size=8M -n 2 "$z" "$x"
	md_attr /dev/md0 safe_mode_delay 0.01
	write_p /dev/md0 1 0
	wait_for 20 state_is md0 clean
	! mdadm -E "$z" | grep -q "State : active" || fail "the array is not clean"
	first=$(($(data_offset "$z") / 2))
	{
		echo "0 16 delay $a 0 0 $a 0 3000"
		echo "16 $(($(sectors "$a") - 16)) linear $a 16"
	} | dm_table z
	begin write_p /dev/md0 $seed 1000
	wait_for 20 state_is md0 write-pending
	md_attr /dev/md0 array_state active
	wait_for 20 on "$x" $seed $((first + 1000))
	mdadm -E "$z" | grep -q "State : active" || fail "a write was sent before superblocks said that the array is active"
	done_soon
	on /dev/md0 $seed 1000
	dm_heal z "$a"
	md_stop /dev/md0
done
