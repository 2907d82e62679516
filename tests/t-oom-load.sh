#!/bin/bash
# about: memory runs out: nine of ten allocations fail under load, at a departure, recovery and check
# timeout: 600
# kernel: debug
# expect-dmesg: Call Trace
. "${0%/*}/lib.sh"
. "${0%/*}/lib-oom.sh"

# (The kernel shows where an allocation failed, which is no failure here. What
# is one has a line of its own besides "Call Trace".)

failures() { echo $((1000000 - $(</sys/kernel/debug/failslab/times))); }
# most_fail CMD...: while it runs, nine of ten allocations fail, in whatever task
most_fail() {
	oom random 90 1000000
	"$@"
	failed=$(failures)
	quiet
	assert_gt "$failed" 0 "failures"
}

note "verified writes"
written() {
	timeout $((60 * SLOW)) fio --name=v --filename=/dev/md0 --rw=randwrite \
		--bsrange=4k-128k --blockalign=4k --direct=1 --ioengine=libaio \
		--iodepth=16 --io_size=12M --size=4M --verify=crc32c --verify_fatal=1 \
		--do_verify=1 >"$T/fio" 2>&1 || fail "fio: $(tail -n 20 "$T/fio")"
}
begin=$SECONDS
most_fail written
note "took $((SECONDS - begin)) s; $failed allocations failed"
# Who has no memory is not broken.
assert_eq "$(md_letters /dev/md0)" UUU
drop_caches
oom learn
oom check "${m[@]}"

note "a member leaves, and is missed, with no memory for its map"
away() {
	oom random 100 -1
	mdadm --quiet /dev/md0 --fail "${m[2]}" 2>/dev/null
	for _ in 1 2 3 4 5 6; do
		oom write 5
		sleep 1
	done
	# As long as nobody remembers what it lacks, it cannot be removed, and no
	# bit is cleared.
	assert_fails mdadm --quiet /dev/md0 --remove "${m[2]}" 2>/dev/null
	assert_gt "$(bitmap_dirty "${m[0]}")" 10 "bits that are kept"
	quiet
}
away
third_leaves
third_returns

note "recovery"
begun() {
	third_added || true
	for _ in 1 2 3 4 5 6; do
		oom write 5
		sleep 0.5
	done
}
third_leaves
oom write 50
most_fail begun
note "$failed allocations failed"
third_returns

note "a check"
checked() {
	md_attr /dev/md0 sync_action check
	sleep 2
}
most_fail checked
settle
assert_eq "$(md_check /dev/md0)" 0
oom check "${m[@]}"
