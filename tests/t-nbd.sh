#!/bin/bash
# about: a network disk that dies, hangs or is disconnected under load
# timeout: 600
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load_ours
sync_speed 100000 1000000
export NBD_TIMEOUT=5

a=$(member_loop a 32M)
n=$(member_nbd 0 32M)
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$n"
wait_for 10 test -e /sys/block/md0/md/bitmap/time_base
md_attr /dev/md0 bitmap/time_base 1
fill /dev/md0 1
mib=$(($(sectors /dev/md0) / 2048))

# Regions of the array for load: what is outside of them is only filled once.
job="--filename=/dev/md0 --direct=1 --ioengine=libaio --iodepth=4 --offset=16M --size=8M
	--bsrange=512-64k --bs_unaligned=0 --blockalign=512 --randrepeat=0
	--verify=crc32c --verify_fatal=1 --verify_dump=0 --minimal"
# load SECONDS: writes and verifies until then, in the background
load() {
	# shellcheck disable=SC2086 # words
	fio --name=load $job --rw=randrw --verify_backlog=64 --time_based --runtime="$1" \
		>"$T/fio" 2>&1 &
	fio=$!
}
# load_done: it ended in time, without an error
load_done() {
	local end=$((SECONDS + 120))
	while kill -0 $fio 2>/dev/null; do
		[ $SECONDS -lt $end ] || fail "the load hangs: $(cat /proc/mdstat; cat "/proc/$fio/stack")"
		sleep 0.2
	done
	wait $fio || fail "load: $(tail -n 20 "$T/fio")"
}

# outage WHAT CMD...: CMD under load; the array goes on without the member,
# which comes back and gets no more than it needs
outage() {
	local what=$1
	shift
	note "$what"
	load 20
	sleep 3
	"$@"
	wait_for 60 is_faulty /dev/md0 "$n"
	assert_eq "$(md_letters /dev/md0)" U_
	load_done
	put /dev/md0 "$SECONDS" 1024 64
	assert_has /dev/md0 "$(cat "$T/seed")" 1024 64
}

# back: the disk is there again, as it was
back() {
	local before
	wait_for 30 mdadm --quiet /dev/md0 --remove "$n"
	nbd_disconnect 0
	sleep 0.5
	n=$(member_nbd 0 32M)
	before=$(bytes_written "$n")
	mdadm --quiet /dev/md0 --re-add "$n"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_le $(($(bytes_written "$n") - before)) $((12 << 20)) "bytes copied"
	assert_same "$a" "$n"
	assert_eq "$(sum /dev/md0 $((mib * 1024 - 4096)) 4096)" "$rest" "what nobody wrote to"
}
rest=$(sum /dev/md0 $((mib * 1024 - 4096)) 4096)

# put remembers the seed it was last called with
put() {
	echo "$2" >"$T/seed"
	keystream "$2" "$(($4 * 1024))" >"$T/put"
	in_time 90 dd if="$T/put" of="$1" bs="$(($4 * 1024))" seek="$(($3 * 1024))" \
		oflag=direct,seek_bytes conv=notrunc iflag=fullblock count=1 status=none
}

outage "the server is killed" nbd_kill 0
back
outage "the server stops answering" nbd_stop 0
nbd_cont 0
back
outage "the client gives the disk up" nbd-client -d "$n"
back

note "the member dies while it is recovered"
mdadm --quiet /dev/md0 --fail "$n" --remove "$n"
dd if=/dev/zero of="$n" bs=64k count=4 oflag=direct status=none
sync_speed 500 1000
mdadm --quiet /dev/md0 --add "$n"
sleep 2
nbd_kill 0
fill /dev/md0 5 2048 64
wait_for 60 is_faulty /dev/md0 "$n"
sync_speed 100000 1000000
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0 | tr -d _)" U
assert_eq "$(sum /dev/md0 2048 64)" "$(keystream 5 65536 | md5sum | cut -d' ' -f1)" "content"

note "the array can be stopped while its only other member hangs"
wait_for 30 mdadm --quiet /dev/md0 --remove "$n"
nbd_disconnect 0
sleep 0.5
n=$(member_nbd 0 32M)
mdadm --quiet /dev/md0 --add "$n"
wait_letters /dev/md0 UU
wait_idle /dev/md0
nbd_stop 0
in_time 100 mdadm --quiet --stop /dev/md0 || wait_for 60 mdadm --quiet --stop /dev/md0
nbd_cont 0
