#!/bin/bash
# about: memory runs out: the 1st, 2nd, ... allocation fails, of stops and starts
# timeout: 1500
# kernel: debug
# expect-dmesg: Call Trace
. "${0%/*}/lib.sh"
. "${0%/*}/lib-oom.sh"

# (The kernel shows where an allocation failed, which is no failure here. What
# is one has a line of its own besides "Call Trace".)

note "stop and start, with a map"
third_leaves
before_stop() { settle; }
after_stop() {
	[ ! -e $sys/array_state ] || [ "$(md_attr /dev/md0 array_state)" = clear ] ||
		md_stop /dev/md0
	md_assemble /dev/md0 "${m[0]}" "${m[1]}" --run
	md_writable /dev/md0
	works
}
each stop mine mdadm --quiet --stop /dev/md0
before_start() { md_stop /dev/md0; }
after_start() {
	if [ "$1" != ok ]; then
		[ ! -e $sys/array_state ] || md_stop /dev/md0
		md_assemble /dev/md0 "${m[0]}" "${m[1]}" --run
	fi
	md_writable /dev/md0
	works
}
each start mine mdadm --quiet --assemble /dev/md0 "${m[0]}" "${m[1]}" --run
third_returns
oom check "${m[@]}"
