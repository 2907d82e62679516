#!/bin/bash
# about: event counts tell old members from new ones, whatever was cut short
# timeout: 600
. "${0%/*}/lib.sh"

[ "${IMPL:-ours}" = ours ] || skip "stock shares event counts with old members"
load
loops 3 24M
a=${m[0]} b=${m[1]} c=${m[2]}
edit() { python3 "${0%/*}/edit-sb.py" "$@"; }
quiet() { mdadm --quiet "$@" 2>"$T/said" || fail "mdadm $*: $(cat "$T/said")"; }
# md may leave an array active for long after the last write
is_clean() {
	md_attr /dev/md0 array_state clean 2>"$T/said" || return
	[ "$(md_attr /dev/md0 array_state)" = clean ]
}
two_more() { [ "$(events "$a")" -ge $(($1 + 2)) ]; }
no_bits() { [ "$(bitmap_dirty "$1")" = 0 ]; }

for bitmap in internal none; do
	note "an event is never taken back: bitmap $bitmap"
	mdcreate /dev/md0 --bitmap=$bitmap --assume-clean -n 2 "$a" "$b"
	wait_for 20 is_clean
	last=$(events "$a")
	for i in 1 2 3 4 5; do
		fill /dev/md0 "$i" 0 4
		wait_for 20 is_clean
		# one when it is written to, one when it is clean again
		wait_for 20 two_more "$last"
		last=$(events "$a")
	done
	md_stop /dev/md0
	blkdiscard -fq "$a"
	blkdiscard -fq "$b"
done

# What a crash leaves when the update for the first write had reached one member;
# it is not there when the array is started again, written to, and crashes.
for bitmap in internal none; do
	note "a member that had got one update more does not look as new: bitmap $bitmap"
	mdcreate /dev/md0 --bitmap=$bitmap --assume-clean -n 2 "$a" "$b"
	fill /dev/md0 1 0 4096
	wait_for 20 is_clean
	md_stop /dev/md0
	edit "$T/m0.img" super events=$(($(events "$a") + 1)) resync_offset=0
	if [ $bitmap = internal ]; then
		edit "$T/m0.img,$T/m1.img" bitmap events="$(events "$a")"
	fi

	quiet --assemble --run /dev/md0 "$b"
	assert_eq "$(md_letters /dev/md0)" _U
	md_writable /dev/md0
	md_attr /dev/md0 safe_mode_delay 0
	fill /dev/md0 2 1024 64
	want=$(sum /dev/md0)
	assert_gt "$(events "$b")" "$(events "$a")" "events of who was written to"
	cp "$T/m1.img" "$T/crash.img"
	md_stop /dev/md0
	dd if="$T/crash.img" of="$b" bs=1M oflag=direct conv=notrunc status=none

	quiet --assemble --run /dev/md0 "$a" "$b"
	assert_eq "$(md_letters /dev/md0)" _U
	assert_eq "$(sum /dev/md0)" "$want" content
	md_writable /dev/md0
	quiet /dev/md0 --add "$a"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_same "$a" "$b"
	assert_eq "$(sum /dev/md0)" "$want" content
	md_stop /dev/md0
	blkdiscard -fq "$a"
	blkdiscard -fq "$b"
done

# Its superblock arrives late on b: meanwhile, a must not be two events ahead, or b
# alone could come to the same count in one step. The last such picture is what a
# crash leaves before the first write.
late() { # SECONDS
	printf '0 8 linear %s 0\n8 8 delay %s 8 0 %s 8 %s\n16 %s linear %s 16\n' \
		"$b" "$b" "$b" "$(($1 * 1000))" "$(($(sectors "$b") - 16))" "$b" | dm_table late
}
modprobe dm-delay
dm_linear late "$b" >"$T/late"
for bitmap in internal none; do
	note "superblocks are one event apart at most when one of three is missing: bitmap $bitmap"
	mdcreate /dev/md0 --bitmap=$bitmap --assume-clean -n 3 "$a" /dev/mapper/late missing
	fill /dev/md0 1 0 4096
	wait_for 20 is_clean
	md_stop /dev/md0
	late 3
	{
		quiet --assemble --run /dev/md0 "$a" /dev/mapper/late
		md_writable /dev/md0
		fill /dev/md0 2 1024 64
		touch "$T/written"
	} &
	ahead=0 last=$(events "$a")
	until [ -e "$T/written" ]; do
		now=$(events "$a") behind=$(events "$b")
		if [ "$now" != "$last" ] && [ "$behind" -lt "$now" ]; then
			cp "$T/m0.img" "$T/a.img"
			cp "$T/m1.img" "$T/b.img"
			last=$now
			if [ $((now - behind)) -gt $ahead ]; then ahead=$((now - behind)); fi
		fi
		sleep 0.1
	done
	wait
	rm "$T/written"
	assert_eq $ahead 1 "events that one was ahead of the other"
	dm_heal late "$b"
	wait_for 20 is_clean
	md_stop /dev/md0
	dd if="$T/a.img" of="$a" bs=1M oflag=direct conv=notrunc status=none
	dd if="$T/b.img" of="$b" bs=1M oflag=direct conv=notrunc status=none

	quiet --assemble --run /dev/md0 /dev/mapper/late
	md_writable /dev/md0
	md_attr /dev/md0 safe_mode_delay 0
	fill /dev/md0 3 1024 64
	want=$(sum /dev/md0)
	cp "$T/m1.img" "$T/crash.img"
	md_stop /dev/md0
	dd if="$T/crash.img" of="$b" bs=1M oflag=direct conv=notrunc status=none
	assert_gt "$(events "$b")" "$(events "$a")" "events of who was written to"

	quiet --assemble --run /dev/md0 /dev/mapper/late "$a"
	assert_eq "$(md_letters /dev/md0)" _U_
	assert_eq "$(sum /dev/md0)" "$want" content
	md_stop /dev/md0
	blkdiscard -fq "$a"
	blkdiscard -fq "$b"
done
dmsetup remove late

for bitmap in internal none; do
	note "who is gone by the word of another with the same count is not in sync: bitmap $bitmap"
	mdcreate /dev/md0 --bitmap=$bitmap --assume-clean -n 3 "$a" "$b" missing
	fill /dev/md0 1 0 4096
	wait_for 20 is_clean
	md_stop /dev/md0
	quiet --assemble --run /dev/md0 "$a"
	md_writable /dev/md0
	fill /dev/md0 2 1024 64
	wait_for 20 is_clean
	want=$(sum /dev/md0)
	md_stop /dev/md0
	edit "$T/m1.img" super events="$(events "$a")"
	[ $bitmap = none ] || edit "$T/m1.img" bitmap events="$(events "$a")"

	quiet --assemble --run /dev/md0 "$a" "$b"
	assert_eq "$(sum /dev/md0)" "$want" content
	assert_eq "$(rdev_state /dev/md0 "$a")" in_sync
	md_writable /dev/md0
	wait_letters /dev/md0 UU_
	wait_idle /dev/md0
	dmesg | tail -n 60 | grep -q "is not in sync, as another member was used without it" ||
		fail "the disowned member counted as good"
	assert_same "$a" "$b"
	assert_eq "$(sum /dev/md0)" "$want" content
	md_stop /dev/md0
	blkdiscard -fq "$a"
	blkdiscard -fq "$b"
done

note "without maps, who waited for a slot while bits were cleared gets everything"
mdcreate /dev/md0 --metadata=0.90 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$b"
echo 0.1 >/sys/block/md0/md/bitmap/time_base
fill /dev/md0 1 0 4096
wait_for 20 no_bits "$a"
echo 100 >/sys/block/md0/md/bitmap/time_base
quiet /dev/md0 --fail "$b" --remove "$b"
fill /dev/md0 2 1024 64
want=$(sum /dev/md0)
quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UU
wait_idle /dev/md0
quiet /dev/md0 --add "$b"
echo 0.1 >/sys/block/md0/md/bitmap/time_base
wait_for 20 no_bits "$c"
quiet /dev/md0 --fail "$a"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$b" "$c"
assert_eq "$(sum /dev/md0)" "$want" content
md_stop /dev/md0

note "without maps, who was replaced when bits were cleared gets everything"
for dev in "${m[@]}"; do blkdiscard -fq "$dev"; done
mdcreate /dev/md0 --metadata=0.90 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$b"
echo 0.1 >/sys/block/md0/md/bitmap/time_base
fill /dev/md0 1 0 4096
wait_for 20 no_bits "$a"
quiet /dev/md0 --fail "$b" --remove "$b"
fill /dev/md0 2 1024 64
want=$(sum /dev/md0)
quiet /dev/md0 --add "$c"
wait_letters /dev/md0 UU
wait_for 20 no_bits "$a"
quiet /dev/md0 --fail "$c" --remove "$c"
mdadm --quiet /dev/md0 --re-add "$b" 2>/dev/null || quiet /dev/md0 --add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$b"
assert_eq "$(sum /dev/md0)" "$want" content
md_stop /dev/md0

# The update that says "clean" has not reached the member that is being recovered, or
# not the other one, nor has what its cache held of what was recovered so far; or there
# was none, and a resync has to put that right, which 7.3 has come first.
for who in m1 m0 both; do
	note "a recovery after a crash, $who without the last update"
	blkdiscard -fq "$a"
	blkdiscard -fq "$b"
	mdcreate /dev/md0 --bitmap=none --assume-clean -n 2 "$a" missing
	fill /dev/md0 3
	md_attr /dev/md0 sync_max 8192
	quiet /dev/md0 --add "$b"
	wait_for 30 grep -q '^8192 ' /sys/block/md0/md/sync_completed
	md_attr /dev/md0 sync_action idle
	wait_for 20 is_clean
	md_stop /dev/md0
	assert_eq "$(edit "$T/m1.img" super recovery_offset)" 8192 "recovered so far"
	case $who in
	both) edit "$T/m0.img,$T/m1.img" super resync_offset=0 ;;
	*) edit "$T/$who.img" super events=$(($(events "$b") - 1)) ;;
	esac
	dd if=/dev/zero of="$T/m1.img" bs=512 seek=$(($(data_offset "$b") + 800)) count=8 conv=notrunc status=none
	quiet --assemble --run /dev/md0 "$a" "$b"
	md_writable /dev/md0
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_same "$a" "$b"
	md_stop /dev/md0
done

# Who is in the first slot would be read first, by whoever comes after the next crash.
note "after a crash, a recovery begins anew"
blkdiscard -fq "$a"
blkdiscard -fq "$b"
mdcreate /dev/md0 --bitmap=none --assume-clean -n 2 missing "$a"
fill /dev/md0 3
md_attr /dev/md0 sync_max 8192
quiet /dev/md0 --add "$b"
wait_for 30 grep -q '^8192 ' /sys/block/md0/md/sync_completed
md_attr /dev/md0 sync_action idle
md_stop /dev/md0
edit "$T/m0.img,$T/m1.img" super resync_offset=0
quiet --assemble --run /dev/md0 "$a" "$b"
md_attr /dev/md0 sync_max 4096
md_writable /dev/md0
wait_for 30 grep -q '^4096 ' /sys/block/md0/md/sync_completed
assert_eq "$(md_letters /dev/md0)" _U
md_attr /dev/md0 sync_max max
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$a" "$b"
md_stop /dev/md0

note "a repair of a part is not the resync that is due"
blkdiscard -fq "$a"
blkdiscard -fq "$b"
mdcreate /dev/md0 --bitmap=none --assume-clean -n 2 "$a" "$b"
fill /dev/md0 4
wait_for 20 is_clean
md_stop /dev/md0
edit "$T/m0.img,$T/m1.img" super resync_offset=0
dd if=/dev/zero of="$T/m1.img" bs=512 seek=$(($(data_offset "$b") + 800)) count=8 conv=notrunc status=none
quiet --assemble --run /dev/md0 "$a" "$b"
md_attr /dev/md0 sync_action frozen
md_writable /dev/md0
md_attr /dev/md0 sync_min 8192
md_attr /dev/md0 sync_action repair
wait_idle /dev/md0
md_attr /dev/md0 sync_min 0
md_attr /dev/md0 sync_action idle
wait_idle /dev/md0
assert_same "$a" "$b"
md_stop /dev/md0
