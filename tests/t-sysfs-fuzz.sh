#!/bin/bash
# about: whatever is written to md's files in sysfs, and whatever ioctl: no hang, no warning, no harm
# timeout: 600
# long: yes
# FUZZ_SEED does the same again, as far as the order of several processes allows
# (see sysfs-fuzz.py), FUZZ_SECONDS goes on for longer.
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

: "${FUZZ_SECONDS:=60}" "${FUZZ_SEED:=$RANDOM}"
note "seed $FUZZ_SEED"
load

m=() scratch=()
for i in 0 1 2 3; do m+=("$(member_loop "m$i" 12M)"); done
for i in 0 1 2; do scratch+=("$(member_loop "s$i" 12M)"); done
a=${m[0]} b=${m[1]}
md=/sys/block/md0/md
tool=${0%/*}/sysfs-fuzz.py

note "random writes and ioctls during I/O"
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$b"
mdadm --quiet /dev/md0 --add "${m[2]}" "${m[3]}"
if ! in_time $((FUZZ_SECONDS + 240 * SLOW)) python3 "$tool" -s "$FUZZ_SEED" -t "$FUZZ_SECONDS" "$T" "${m[@]}" \
	--scratch "${scratch[@]}"; then
	cat /proc/mdstat
	for f in "$T"/*.ops; do
		echo "== the last of ${f##*/}"
		tail -n 100 "$f"
	done
	fail "see above; FUZZ_SEED=$FUZZ_SEED"
fi

note "the data are right: in the array, on each member, and when it is started again"
python3 "$tool" -c "$T/content" /dev/md0
assert_gt "$(grep -o U <<<"$(md_letters /dev/md0)" | wc -l)" 0 "members in sync"
in_sync() { grep -lw in_sync "$md"/dev-*/state | sed 's|.*/dev-\(.*\)/state|/dev/\1|'; }
wait_idle /dev/md0 120
mapfile -t now < <(in_sync)
md_stop /dev/md0
assert_same "${now[@]}"
assemble /dev/md0 "${m[@]}"
python3 "$tool" -c "$T/content" /dev/md0
put /dev/md0 2 100 64
assert_has /dev/md0 2 100 64
md_stop /dev/md0

note "starting and stopping while files are read and written"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
md_stop /dev/md0
touch "$T/go"
while [ -e "$T/go" ]; do
	for f in location time_base space can_clear chunksize; do
		cat $md/bitmap/$f
		echo 3 >$md/bitmap/$f
	done
	cat $md/sync_action $md/array_state
done >/dev/null 2>&1 &
pids=($!)
while [ -e "$T/go" ]; do
	cat /proc/mdstat
	for f in backlog location metadata; do echo none >$md/bitmap/$f; done
	dd if=/dev/md0 of=/dev/null bs=4k count=1
done >/dev/null 2>&1 &
pids+=($!)
for i in 1 2 3 4 5 6 7 8; do
	wait_for 30 mdadm --quiet --assemble --run /dev/md0 "$a" "$b" 2>/dev/null
	[ $((i % 2)) = 0 ] || sleep 0.3
	wait_for 30 mdadm --quiet --stop /dev/md0 2>/dev/null
done
rm "$T/go"
wait "${pids[@]}" || true

note "attributes of the bitmap are there again, whatever comes first"
md_assemble --run /dev/md0 "$a" "$b"
if [ "$(cat $md/bitmap/location)" = none ]; then mdadm --quiet --grow /dev/md0 --bitmap=internal; fi
wait_for 10 test -e $md/bitmap/time_base
assert_match "$(cat $md/bitmap/location)" "^[+][0-9]+$"
echo 7 >$md/bitmap/time_base
assert_eq "$(cat $md/bitmap/time_base)" 7 "time_base"
put /dev/md0 3 100 64
assert_has /dev/md0 3 100 64

note "other levels do not take over"
for level in raid0 raid10 linear raid1 0 -1 nonsense; do
	timeout 30 bash -c "echo $level >$md/level" 2>/dev/null || true
	assert_eq "$(cat $md/level)" raid1 "level, after $level was written"
	assert_has /dev/md0 3 100 64
done

note "raid5 does, as from the kernel's own raid1: the data stay"
md_stop /dev/md0
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
fill /dev/md0 4
want=$(sum /dev/md0)
echo raid5 >$md/level
assert_eq "$(cat $md/level)" raid5
assert_eq "$(sum /dev/md0)" "$want" "content"
put /dev/md0 5 100 64
assert_has /dev/md0 5 100 64
in_time 60 mdadm --quiet --stop /dev/md0
unload
