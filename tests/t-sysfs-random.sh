#!/bin/bash
# about: whatever is written to md's files in sysfs: no hang, no warning, no harm
# timeout: 300
# Only what takes data away on purpose is left out: a smaller array_size, and
# fail_last_dev.
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

: "${FUZZ_SECONDS:=40}" "${FUZZ_SEED:=$RANDOM}"
note "seed $FUZZ_SEED"
RANDOM=$FUZZ_SEED
load

a=$(member_loop a 12M)
b=$(member_loop b 12M)
c=$(member_loop c 12M)
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$b"
mdadm --quiet /dev/md0 --add "$c"
fill /dev/md0 1
md=/sys/block/md0/md

numbers=(0 1 2 3 7 8 64 512 4096 65536 1000000 4294967295 4294967296 18446744073709551615
	18446744073709551616 -1 -8 +8 1.5 .5 5. 1.5.5 0x10 "" " " abc none max auto default
	"0 1" "1 2 3" "$(printf '%0300d' 1)")
states=(active readonly read-auto clean active-idle write-pending broken)
actions=(idle check repair resync recover frozen reshape none)
member_states=(faulty remove writemostly -writemostly blocked -blocked write_error
	-write_error want_replacement -want_replacement re-add failfast -failfast external_bbl
	-external_bbl nonsense)
files=(array_state sync_action raid_disks layout chunk_size component_size
	metadata_version resync_start reshape_position reshape_direction max_read_errors
	safe_mode_delay sync_speed_min sync_speed_max sync_min sync_max bitmap_set_bits
	bitmap/location bitmap/space bitmap/time_base bitmap/backlog bitmap/chunksize
	bitmap/metadata bitmap/can_clear bitmap/max_backlog_used bitmap/backlog
	consistency_policy serialize_policy mismatch_cnt degraded suspend_lo
	dev-loop0/state dev-loop1/state dev-loop2/state dev-loop1/slot dev-loop2/slot
	dev-loop0/offset dev-loop1/size dev-loop1/recovery_start dev-loop0/errors
	dev-loop1/errors dev-loop0/new_offset dev-loop1/ppl_sector dev-loop1/ppl_size)

poke() {
	local file=${files[RANDOM % ${#files[@]}]} value
	case $file in
	array_state) value=${states[RANDOM % ${#states[@]}]} ;;
	sync_action) value=${actions[RANDOM % ${#actions[@]}]} ;;
	*/state) value=${member_states[RANDOM % ${#member_states[@]}]} ;;
	*/location)
		value=${numbers[RANDOM % ${#numbers[@]}]}
		[ $((RANDOM % 2)) = 0 ] || value=none
		[ $((RANDOM % 3)) != 0 ] || value=+8
		;;
	*) value=${numbers[RANDOM % ${#numbers[@]}]} ;;
	esac
	[ -e "$md/$file" ] || return 0
	echo "$file: $value" >>"$T/pokes"
	# A file may wait for what another poke has to bring about.
	timeout 20 bash -c "printf '%s\\n' \"\$1\" >\"\$2\"" - "$value" "$md/$file" 2>/dev/null || true
	timeout 20 cat "$md/$file" >/dev/null 2>&1 || true
}

# Things that have to be undone for I/O and recovery to go on.
pacify() {
	local f
	{
		echo 0 >$md/suspend_lo
		echo 0 >$md/suspend_hi
		echo 0 >$md/sync_min
		echo max >$md/sync_max
		echo system >$md/sync_speed_min
		echo 1000000 >$md/sync_speed_max
		echo active >$md/array_state
		for f in "$md"/dev-*/state; do echo -blocked >"$f"; done
		echo idle >$md/sync_action
	} 2>/dev/null || true
}

note "random writes during I/O"
fio --name=load --filename=/dev/md0 --direct=1 --ioengine=libaio --iodepth=4 --size=8M \
	--rw=randrw --bssplit=512/30:4k/40:64k/30 --blockalign=512 --serialize_overlap=1 \
	--verify=crc32c --verify_backlog=32 --verify_fatal=1 --time_based \
	--runtime="$FUZZ_SECONDS" --rate=1m,1m --ignore_error=EIO,EIO >"$T/fio" 2>&1 &
fio=$!
# Once it is open, md core refuses to make it read-only; before, fio could not open it.
writes_so_far() { awk '{ print $5 }' /sys/block/md0/stat; }
before=$(writes_so_far)
writes_more() { [ "$(writes_so_far)" -gt $((before + 8)) ]; }
wait_for 60 writes_more
begin=$SECONDS pokes=0
while [ $((SECONDS - begin)) -lt "$FUZZ_SECONDS" ]; do
	poke
	pokes=$((pokes + 1))
	[ $((pokes % 20)) != 0 ] || pacify
done
note "$pokes writes"
pacify
end=$((SECONDS + 90))
while kill -0 $fio 2>/dev/null; do
	[ $SECONDS -lt $end ] || fail "I/O hangs: $(cat /proc/mdstat; cat /proc/$fio/stack; tail -n 30 "$T/pokes")"
	pacify
	sleep 0.5
done
wait $fio || {
	tail -n 40 "$T/pokes"
	fail "seed $FUZZ_SEED, load: $(grep -E '^(fio|verify)|err=|crc' "$T/fio" | cut -c 1-200 | head -n 8)"
}

note "afterwards it works"
pacify
tail_kib=$(($(sectors /dev/md0) / 2 - 8192))
want=$(keystream 1 $(($(sectors /dev/md0) * 512)) | tail -c $((tail_kib * 1024)) | md5sum | cut -d' ' -f1)
assert_eq "$(sum /dev/md0 8192 $tail_kib)" "$want" "what was not written to"
put /dev/md0 2 100 64
assert_has /dev/md0 2 100 64
# md core lets a spare without a slot say that it is longer than it is, and nobody
# takes it after that; but who is in sync has a superblock.
in_sync=0 have=()
for m in "$a" "$b" "$c"; do
	[[ $(rdev_state /dev/md0 "$m") != *in_sync* ]] || in_sync=$((in_sync + 1))
done
md_stop /dev/md0
for m in "$a" "$b" "$c"; do
	! mdadm --examine "$m" >/dev/null 2>&1 || have+=("$m")
done
md_assemble --run /dev/md0 "${have[@]}"
assert_ge "$(md_letters /dev/md0 | tr -cd U | wc -c)" $in_sync "members in sync"
assert_has /dev/md0 2 100 64
assert_eq "$(sum /dev/md0 8192 $tail_kib)" "$want" "what was not written to"
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
