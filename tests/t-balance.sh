#!/bin/bash
# about: reads keep away from a slow member, but try it again; write-mostly
# timeout: 240
. "${0%/*}/lib.sh"

load
loops 2 40M
slow=$(dm_linear slow "${m[0]}")
fast=$(dm_linear fast "${m[1]}")
md=/dev/md0
mdcreate $md --bitmap=none --size=32M --assume-clean -n 2 "$slow" "$fast"

# read_some COUNT: single blocks all over the array, one after the other
read_some() {
	python3 -c '
import mmap, os, random, sys
buf = mmap.mmap(-1, 4096)
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
for i in range(int(sys.argv[2])):
    os.preadv(fd, [buf], random.randrange(8192) * 4096)
' $md "$1"
}
# share COUNT: how many of so many reads went to each
share() {
	local s f
	s=$(reads "$slow") f=$(reads "$fast")
	read_some "$1"
	echo "$(($(reads "$slow") - s)) $(($(reads "$fast") - f))"
}

note "equal members share"
shared() {
	local s f
	read -r s f <<<"$(share 600)"
	note "$s and $f"
	[ "$s" -ge 60 ] && [ "$f" -ge 60 ]
}
# the first reads may find one of them not warm yet
wait_for 20 shared

[ "${IMPL:-ours}" = ours ] || exit 0

note "a member that takes 20 ms more"
dm_delay slow "${m[0]}" 20 0
read_some 100
read -r s f <<<"$(share 600)"
note "$s and $f"
assert_le "$s" 60 "reads of the slow one"

note "as fast as the other again"
dm_heal slow "${m[0]}"
again() {
	local s f
	read -r s f <<<"$(share 200)"
	[ "$s" -ge 20 ]
}
wait_for 20 again

note "write-mostly"
rdev_attr $md "$fast" state writemostly
read -r s f <<<"$(share 200)"
assert_eq "$s $f" "200 0" "reads"
mdadm --quiet $md --fail "$slow"
read -r s f <<<"$(share 100)"
assert_eq "$s $f" "0 100" "reads"
