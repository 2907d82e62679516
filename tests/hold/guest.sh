#!/bin/bash
# In the machine: reads are stopped at points of the module (hold.c) while members
# come and go. t-hold.sh starts it.
. "${0%/*}/../lib.sh"
. "${0%/*}/../lib-faults.sh"

param=/sys/module/md_raid1/parameters
hold() { echo "$1" >$param/hold; }
held() { [ "$(cat $param/held)" = "${1:-1}" ]; }
let_go() {
	hold ''
	wait_for 20 held 0
}
# state PID: R, S, D...; empty if it is gone
state() { sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null || true; }
waits() { [ "$(state "$1")" = D ]; }
# read_in_background MD OFFSET_KIB COUNT_KIB: as process $!
read_in_background() {
	dd if="$1" of="$T/read" bs="$(($3 * 1024))" skip="$(($2 * 1024))" count=1 \
		iflag=direct,skip_bytes status=none &
}

load_ours ""
mark=$(dmesg_mark)
modprobe loop
echo 0 >/proc/sys/kernel/hung_task_timeout_secs 2>/dev/null || true

note "the member that a read was to go to is not taken out of its slot before the read ends"
loops 3 24M
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 3 "${m[@]}"
fill /dev/md0 1
read_from /dev/md0 "${m[1]}"
# md core removes Faulty members by itself, for which it waits for requests
md_attr /dev/md0 sync_action frozen
hold read-chosen
read_in_background /dev/md0 2048 64
reader=$!
wait_for 20 held
mdadm --quiet /dev/md0 --fail "${m[1]}"
slot=/sys/block/md0/md/dev-$(kname "${m[1]}")/slot
emptied() { { echo none >"$slot"; } 2>/dev/null; }
# The member stays as long as the read may use it, and removal does not wait for that.
for _ in 1 2 3 4 5; do
	! emptied || fail "the member was taken out while a read uses it"
	sleep 0.2
done
let_go
wait "$reader"
wait_for 20 emptied
keystream 1 $((2112 * 1024)) | tail -c $((64 * 1024)) | cmp - "$T/read"
assert_eq "$(cat "$slot" 2>/dev/null || echo none)" none slot
md_attr /dev/md0 sync_action idle
mdadm --quiet /dev/md0 --remove "${m[1]}" 2>/dev/null || true
mdadm --quiet /dev/md0 --add "${m[1]}"
wait_letters /dev/md0 UUU
wait_idle /dev/md0
md_stop /dev/md0
assert_same "${m[@]}"

note "a member turns in sync, late, while another read looks for the first member"
loops 3 24M
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 3 "${m[@]}"
fill /dev/md0 1
mdadm --quiet /dev/md0 --fail "${m[0]}"
wait_for 20 mdadm --quiet /dev/md0 --remove "${m[0]}"
put /dev/md0 2 20480 64
md_attr /dev/md0 sync_max 20480
mdadm --quiet /dev/md0 --re-add "${m[0]}"
wait_for 20 grep -q recovery /proc/mdstat
# Members differ in a chunk, which is to be resynced, when the recovery is over.
for i in 0 1 2; do
	keystream $((50 + i)) 65536 >"$T/version$i"
	dd if="$T/version$i" of="${m[i]}" bs=64k oflag=direct,seek_bytes conv=notrunc status=none \
		seek=$(($(data_offset "${m[i]}") * 512 + (4 << 20)))
done
md_attr /dev/md0 bitmap_set_bits 64
# The resync does not make them equal before the read is sent.
hold "read-in-sync resync"
read_in_background /dev/md0 4096 64
reader=$!
wait_for 20 held
md_attr /dev/md0 sync_max max
now_in_sync() { [[ $(rdev_state /dev/md0 "${m[0]}") == *in_sync* ]]; }
wait_for 30 now_in_sync
hold resync
wait "$reader"
cmp "$T/read" "$T/version1" || fail "the late member was read first"
let_go
wait_idle /dev/md0
wait_letters /dev/md0 UUU
dd if=/dev/md0 bs=64k skip=64 count=1 iflag=direct status=none | cmp - "$T/version1"
md_stop /dev/md0
assert_same "${m[@]}"

note "a member that was put back keeps its old stamp as long as it has its old superblock"
loops 2 24M
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --size=20M --assume-clean -n 2 "${m[@]}"
md_attr /dev/md0 safe_mode_delay 0
md_attr /dev/md0 bitmap/time_base 0.1
settled() { [ "$(bitmap_dirty "${m[0]}")" = 0 ]; }
put /dev/md0 1 0 64
wait_for 20 settled
# of the member in slot 1, and of the other after more was written, and its bits cleared
cut_save 1
early=$(python3 "$here/maps-tool.py" clock "$T/cut1")
put /dev/md0 2 4096 1024
wait_for 20 settled
cut_save 0
md_stop /dev/md0
cut_restore 0 1
hold bitmap-loaded
echo 0 >/sys/module/md_mod/parameters/start_ro
mdadm --quiet --assemble /dev/md0 "${m[@]}" &
starting=$!
wait_for 30 held
assert_match "$(dmesg | tail -n 20)" "$(kname "${m[1]}") is not in sync, it is an older copy" "kernel log"
held_back=$(python3 "$here/maps-tool.py" clock "$T/m1.img")
let_go
wait "$starting"
assert_eq "$held_back" "$early" clock
echo 1 >/sys/module/md_mod/parameters/start_ro
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_ge "$(python3 "$here/maps-tool.py" clock "$T/m1.img")" "$((early + 1))" clock
md_stop /dev/md0
assert_same "${m[@]}"

note "what members lack is read in steps: members fail and return between two of them"
loops 3 24M
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 3 "${m[@]}"
wait_for 10 test -e /sys/block/md0/md/bitmap/members
md_attr /dev/md0 bitmap/time_base 0.1
mdadm --quiet /dev/md0 --fail "${m[2]}"
wait_for 20 mdadm --quiet /dev/md0 --remove "${m[2]}"
put /dev/md0 3 1024 8192
hold maps-show
md_attr /dev/md0 bitmap/members >"$T/members" &
reader=$!
wait_for 20 held
recorded() { [[ $(rdev_state /dev/md0 "$1") != *blocked* ]]; }
mdadm --quiet /dev/md0 --fail "${m[1]}"
wait_for 20 recorded "${m[1]}"
put /dev/md0 4 12288 1024
wait_for 20 mdadm --quiet /dev/md0 --remove "${m[1]}"
mdadm --quiet /dev/md0 --re-add "${m[2]}"
wait_letters /dev/md0 U_U
held 1 || fail "it was not read meanwhile"
let_go
wait "$reader"
mdadm --quiet /dev/md0 --re-add "${m[1]}"
wait_letters /dev/md0 UUU
wait_idle /dev/md0
no_maps() { [ ! "$(md_attr /dev/md0 bitmap/members)" ]; }
wait_for 20 no_maps
md_stop /dev/md0
assert_same "${m[@]}"

log=$(dmesg_since "$mark")
if grep -E 'WARNING: |BUG:|Oops|UBSAN|refcount_t|general protection|Call Trace' <<<"$log"; then
	fail "the kernel complained"
fi
