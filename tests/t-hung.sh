#!/bin/bash
# about: a member hangs: others fail, leave and join, and superblocks are updated
# timeout: 240
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load_ours
loops 3 24M
x=$(dm_linear x "${m[0]}") b=${m[1]} c=${m[2]}
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 3 "$x" "$b" "$c"
# While x hangs and is not Faulty yet, neither superblocks nor bits are to be written.
md_attr /dev/md0 safe_mode_delay 0
wait_for 10 test -e /sys/block/md0/md/bitmap/time_base
md_attr /dev/md0 bitmap/time_base 600
fill /dev/md0 1
put /dev/md0 2 1024 64
put /dev/md0 3 4096 64
read_from /dev/md0 "$x"

resume() { dmsetup resume --noudevsync x; }
# quick CMD...: CMD must end, well or not, though the member hangs
quick() {
	local pid end=$((SECONDS + 15 * ${SLOW:-1}))
	"$@" &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "tasks: $(grep -l md_ /proc/[0-9]*/stack 2>/dev/null | xargs -r head -n 6)"
			resume
			fail "hangs as well: $*"
		fi
		sleep 0.1
	done
	wait $pid
}
under_way() { [ "$(awk '{print $1 "," $2}' /sys/block/md0/inflight)" = "$1" ]; }
recorded() { [[ $(rdev_state /dev/md0 "$1") != *blocked* ]]; }
array_state() { mdadm -E "$b" | sed -n 's/^ *Array State : \([^ ]*\).*/\1/p'; }
says() { [ "$(array_state)" = "$1" ]; }
newer() { [ "$(events "$b")" -gt "$1" ]; }
slotless() { [ "$(rdev_attr /dev/md0 "$1" slot)" = none ]; }
remove() { mdadm --quiet /dev/md0 --remove "$1" 2>/dev/null; }

# hang [SEED]: x hangs, with a read, and a write of SEED at 4 MiB, under way; it is failed
hang() {
	dmsetup suspend --nolockfs --noflush --noudevsync x
	dd if=/dev/md0 bs=64k skip=16 count=1 iflag=direct status=none of="$T/read" &
	reader=$!
	writer=
	if [ $# -gt 0 ]; then
		keystream "$1" 65536 >"$T/write"
		dd if="$T/write" of=/dev/md0 bs=64k seek=64 count=1 oflag=direct conv=notrunc \
			status=none &
		writer=$!
	fi
	wait_for 15 under_way 1,$#
	quick mdadm --quiet /dev/md0 --fail "$x"
	wait_for 15 recorded "$x"
}
# heal [SEED]: what was under way ends well
heal() {
	under_way 1,$# || fail "not under way any more: $(cat /sys/block/md0/inflight)"
	resume
	wait $reader || fail "the read"
	keystream 2 65536 | cmp - "$T/read"
	[ $# -gt 0 ] || return 0
	wait $writer || fail "the write"
	assert_has /dev/md0 "$1" 4096 64
}

note "what members lack is shown while an update of superblocks hangs"
lists_one() { [ "$(grep -c ' absent .* [1-9]' /sys/block/md0/md/bitmap/members)" = 1 ]; }
dmsetup suspend --nolockfs --noflush --noudevsync x
quick mdadm --quiet /dev/md0 --fail "$c"
quick wait_for 15 lists_one
sleep 0.5 # for the update to get to the member that hangs
quick lists_one
if recorded "$c"; then
	resume
	fail "no update hangs"
fi
resume
wait_for 15 recorded "$c"
wait_for 10 remove "$c"
mdadm --quiet /dev/md0 --re-add "$c"
wait_letters /dev/md0 UUU
wait_idle /dev/md0
read_from /dev/md0 "$x"

note "one hangs, another fails: writes go on, and superblocks say so"
hang
quick put /dev/md0 5 2048 64
quick mdadm --quiet /dev/md0 --fail "$c"
quick wait_for 10 says .A.
sleep 0.5 # for md core to try and take them out
quick put /dev/md0 6 2048 64

note "neither can be taken out, and to try stops nothing"
for d in "$x" "$c"; do
	assert_fails quick rdev_attr /dev/md0 "$d" slot none 2>/dev/null
done
before=$(events "$b")
quick rdev_attr /dev/md0 "$b" state failfast
quick wait_for 10 newer "$before"
quick put /dev/md0 7 2048 64
heal

note "then both are taken out at once"
wait_for 10 slotless "$x"
wait_for 10 slotless "$c"
remove "$x"
remove "$c"
mdadm --quiet /dev/md0 --re-add "$x"
wait_letters /dev/md0 UU_
assert_has /dev/md0 7 2048 64

note "a member joins while another one hangs"
md_attr /dev/md0 sync_action frozen
mdadm --quiet /dev/md0 --re-add "$c"
slotless "$c" || fail "it has a slot already"
put /dev/md0 8 8192 64
hang 9
mark=$(dmesg_mark)
quick rdev_attr /dev/md0 "$c" slot 2
dmesg_since "$mark" | grep -q "gets everything" || fail "not said that it gets everything"
quick put /dev/md0 10 8192 64
heal 9
md_attr /dev/md0 sync_action idle
wait_letters /dev/md0 _UU
wait_idle /dev/md0
assert_same "$b" "$c"
assert_has /dev/md0 10 8192 64
wait_for 10 slotless "$x"
remove "$x"
mdadm --quiet /dev/md0 --re-add "$x"
wait_letters /dev/md0 UUU

note "fail and remove, straight one after the other, of an idle array"
wait_idle /dev/md0
for i in 1 2 3; do
	mdadm --quiet /dev/md0 --fail "$c"
	wait_for 10 recorded "$c"
	mdadm --quiet /dev/md0 --remove "$c" || fail "not removed, round $i"
	mdadm --quiet /dev/md0 --re-add "$c"
	wait_letters /dev/md0 UUU
	wait_idle /dev/md0
done

note "members come and go under load"
fio --name=load --filename=/dev/md0 --direct=1 --ioengine=libaio --iodepth=8 --rw=randrw \
	--bs=4k --offset=12M --size=8M --randrepeat=0 --verify=crc32c --verify_fatal=1 \
	--verify_backlog=32 --time_based --runtime=8 --minimal >"$T/fio" 2>&1 &
fio=$!
rounds=0
while kill -0 $fio 2>/dev/null; do
	d=$([ $((rounds % 2)) = 0 ] && echo "$c" || echo "$x")
	mdadm --quiet /dev/md0 --fail "$d"
	wait_for 15 remove "$d"
	mdadm --quiet /dev/md0 --re-add "$d"
	wait_letters /dev/md0 UUU
	rounds=$((rounds + 1))
done
wait $fio || fail "load: $(tail -n 20 "$T/fio")"
assert_ge $rounds 2 "rounds"
wait_idle /dev/md0
assert_same "$x" "$b" "$c"
note "$rounds rounds"
