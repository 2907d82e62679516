#!/bin/bash
# about: five minutes of verified load while members fail, leave and come back
# timeout: 600
# For longer, or to repeat a run (the order of events is the seed's, their time
# is not):
#	scripts/machine run --timeout 90000 -- \
#		env HAMMER_SECONDS=86400 HAMMER_SEED=1 bash /job/tests/t-hammer.sh
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

: "${HAMMER_SECONDS:=300}" "${HAMMER_SEED:=$RANDOM}"
note "$HAMMER_SECONDS seconds, seed $HAMMER_SEED"
RANDOM=$HAMMER_SEED

load
sync_speed 100000 1000000
md=/dev/md0
backing=()
dev=()
for i in 0 1 2; do
	backing[i]=$(member_loop "h$i" 36M)
	dev[i]=$(dm_linear "h$i" "${backing[i]}")
done
mdcreate $md --bitmap=internal --bitmap-chunk=64K -n 3 "${dev[@]}"
# hurry: a short delay, so that bits come and go all the time
hurry() {
	wait_for 10 test -e /sys/block/md0/md/bitmap/time_base
	echo 1 >/sys/block/md0/md/bitmap/time_base
}
hurry
wait_letters $md UUU
wait_idle $md
bitmap=internal

# Each job has a quarter of the array. Blocks that overlap are not under way
# at the same time; what was written over in part is not verified.
quarter=$(($(sectors $md) / 8 / 8 * 8 * 512))
load_begin=$SECONDS
jobs=()
for i in 0 1 2 3; do
	fio --name="job$i" --filename=$md --direct=1 --ioengine=libaio --iodepth=4 \
		--offset=$((i * quarter)) --size=$quarter --rw=randrw --rwmixread=40 \
		--bssplit=512/20:4k/30:512-16k/20:64k/15:256k/10:1m/5 --blockalign=512 \
		--norandommap=1 --serialize_overlap=1 --randseed=$((HAMMER_SEED + i)) --rate=1500k,2m \
		--fsync=64 --verify=crc32c --verify_backlog=64 --verify_fatal=1 \
		--time_based --runtime="$HAMMER_SECONDS" >"$T/job$i" 2>&1 &
	jobs+=($!)
done

loaded() {
	local p
	for p in "${jobs[@]}"; do if kill -0 "$p" 2>/dev/null; then return 0; fi; done
	return 1
}
# All that is to happen may take long on a busy machine, but not for ever.
patience=120
pause() { sleep "$((RANDOM % $1)).$((RANDOM % 10))"; }

# settle: everyone is back and in sync
settle() {
	wait_letters $md UUU $patience
	wait_idle $md $patience
}
member_gone() { [ ! -e "/sys/block/md0/md/dev-$(kname "${dev[$1]}")" ]; }
# out N: after it became faulty
out() { member_gone "$1" || wait_for $patience mdadm --quiet $md --remove "${dev[$1]}"; }
fail_out() {
	mdadm --quiet $md --fail "${dev[$1]}" 2>/dev/null
	out "$1"
}
back() {
	# Without a bitmap there is no re-adding.
	mdadm --quiet $md --re-add "${dev[$1]}" 2>/dev/null ||
		mdadm --quiet $md --add "${dev[$1]}"
}
fresh() {
	mdadm --quiet --zero-superblock "${dev[$1]}"
	mdadm --quiet $md --add "${dev[$1]}"
}

event_leaves() { fail_out "$1"; pause 4; back "$1"; settle; }
event_replaced() { fail_out "$1"; pause 2; fresh "$1"; settle; }
event_dies() {
	dm_dead "h$1" "${backing[$1]}"
	wait_for $patience is_faulty $md "${dev[$1]}"
	pause 3
	dm_heal "h$1" "${backing[$1]}"
	out "$1"
	back "$1"
	settle
}
event_fails_writes() {
	dm_flaky "h$1" "${backing[$1]}" error_writes
	wait_for $patience is_faulty $md "${dev[$1]}"
	dm_heal "h$1" "${backing[$1]}"
	out "$1"
	pause 2
	back "$1"
	settle
}
event_fails_reads() {
	dm_flaky "h$1" "${backing[$1]}" error_reads
	pause 3
	dm_heal "h$1" "${backing[$1]}"
	sleep 0.5
	if is_faulty $md "${dev[$1]}"; then
		out "$1"
		back "$1"
	fi
	settle
}
event_two_leave() {
	local other=$((($1 + 1) % 3))
	fail_out "$1"
	pause 2
	fail_out $other
	pause 2
	back $other
	back "$1"
	settle
}
event_fails_in_recovery() {
	fail_out "$1"
	pause 2
	sync_speed 2000 4000
	fresh "$1"
	pause 2
	sync_speed 100000 1000000
	fail_out "$1"
	back "$1"
	settle
}
event_source_fails_in_recovery() {
	local other=$((($1 + 1) % 3))
	fail_out "$1"
	pause 2
	sync_speed 2000 4000
	back "$1"
	dm_dead "h$other" "${backing[$other]}"
	wait_for $patience is_faulty $md "${dev[$other]}"
	sync_speed 100000 1000000
	dm_heal "h$other" "${backing[$other]}"
	out $other
	back $other
	settle
}
event_check() {
	local action=check
	[ $((RANDOM % 3)) != 0 ] || action=repair
	assert_eq "$(md_check $md $action $patience)" 0 "mismatches at $action"
}
event_bitmap() {
	bitmap=none
	# md core refuses while anything is due, however small
	wait_for $patience mdadm --quiet --grow $md --bitmap=none
	event_dies "$1"
	wait_for $patience mdadm --quiet --grow $md --bitmap=internal
	bitmap=internal
	hurry
}
events=(leaves replaced dies fails_writes fails_reads two_leave fails_in_recovery
	source_fails_in_recovery check leaves dies bitmap check leaves)

n=0
while [ $((SECONDS - load_begin)) -lt "$HAMMER_SECONDS" ]; do
	loaded || break
	event=${events[RANDOM % ${#events[@]}]}
	victim=$((RANDOM % 3))
	note "$event $victim (bitmap: $bitmap)"
	"event_$event" $victim
	n=$((n + 1))
done
note "$n events"

end=$((SECONDS + patience))
while loaded; do
	[ $SECONDS -lt $end ] || fail "the load hangs: $(cat /proc/mdstat)"
	sleep 0.2
done
for i in 0 1 2 3; do
	wait "${jobs[i]}" || fail "job $i: $(grep -v '^$' "$T/job$i" | tail -n 20)"
	note "job $i: $(grep -E '^ *(read|write):' "$T/job$i" | tr -s ' \n' ' ')"
done
assert_ge $n 3 "events"
settle
assert_eq "$(md_check $md)" 0 mismatch_cnt
md_stop $md
assert_same "${dev[@]}"
md_assemble $md "${dev[@]}"
assert_eq "$(md_letters $md)" UUU
