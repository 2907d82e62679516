#!/bin/bash
# about: members that are cut short, foreign, damaged or too small are refused
# timeout: 600
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"

load_ours
edit=${0%/*}/edit-sb.py

# maj_min DEV: as sysfs wants it
maj_min() { lsblk -dno MAJ:MIN "$1" | tr -d ' '; }
# keep NAME, unchanged NAME: a backing file is what it was
keep() { cp "$T/$1.img" "$T/$1.was"; }
unchanged() { cmp "$T/$1.img" "$T/$1.was" || fail "$1 was written to"; }
members() { sed -n 's/^md0 :.* raid1 //p' /proc/mdstat; }
# refused WHAT CMD...: the command fails, and md0 has the members it had
refused() {
	local had what=$1
	note "refused: $what"
	had=$(members)
	if "${@:2}" </dev/null 2>"$T/err"; then fail "$what: taken"; fi
	assert_eq "$(members)" "$had" "members"
}
# sysfs_add MD DEV: what "mdadm --add" comes to in the end, without its checks
sysfs_add() { { md_attr "$1" new_dev "$(maj_min "$2")"; } 2>/dev/null; }
# running: is md0 there?
running() { grep -q '^md0 : active' /proc/mdstat; }
# alive: md0 does I/O
seed=10
alive() {
	seed=$((seed + 1))
	fill /dev/md0 $seed 512 64
	assert_eq "$(sum /dev/md0 512 64)" "$(keystream $seed 65536 | md5sum | cut -d' ' -f1)" "content"
}

note "members of different sizes: the smaller counts, the rest is left alone"
a=$(member_loop a 12M)
b=$(member_loop b 20M)
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
assert_le "$(sectors /dev/md0)" $((24 << 10)) "size"
end=$((($(data_offset "$b") + $(sectors /dev/md0)) / 2))	# KiB
keystream 3 1048576 | dd of="$b" bs=1024 seek=$end oflag=direct conv=notrunc iflag=fullblock status=none
want_tail=$(sum "$b" $end 1024)
fill /dev/md0 1
assert_fails dd if=/dev/zero of=/dev/md0 bs=4096 seek=$(($(sectors /dev/md0) / 8)) count=1 \
	oflag=direct status=none 2>/dev/null
assert_eq "$(sum "$b" $end 1024)" "$want_tail" "what follows the data"
want=$(sum /dev/md0)
md_stop /dev/md0
assert_same "$a" "$b"

note "a member that is cut short"
cp "$T/b.img" "$T/b.good"
losetup -d "$b"
truncate -s 11M "$T/b.img"
b=$(losetup --show -f "$T/b.img")
keep b
mark=$(dmesg_mark)
md_assemble --run /dev/md0 "$a" "$b" 2>/dev/null || true
unchanged b
running || md_assemble --run /dev/md0 "$a"
assert_eq "$(md_letters /dev/md0)" U_
assert_eq "$(sum /dev/md0)" "$want" "content"
refused "re-adding it" mdadm --quiet /dev/md0 --re-add "$b"
refused "adding it by sysfs" sysfs_add /dev/md0 "$b"
unchanged b
refused "a new member that is too small" mdadm --quiet /dev/md0 --add "$(member_loop s 4M)"
assert_eq "$(tr -d '\0' <"$T/s.img" | wc -c)" 0 "bytes written to the small one"
alive
losetup -d "$b"
cp "$T/b.good" "$T/b.img"
b=$(losetup --show -f "$T/b.img")
mdadm --quiet /dev/md0 --re-add "$b" || mdadm --quiet /dev/md0 --add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
alive
md_stop /dev/md0
assert_same "$a" "$b"

note "a member of another array"
c=$(member_loop c 12M)
d=$(member_loop d 12M)
mdcreate /dev/md1 --bitmap=internal --assume-clean -n 2 "$c" "$d"
fill /dev/md1 2
md_stop /dev/md1
keep c
if md_assemble /dev/md0 "$a" "$c" 2>/dev/null; then
	assert_eq "$(md_letters /dev/md0)" U_
	mdadm --quiet --stop /dev/md0
fi
unchanged c
mdadm --quiet --stop /dev/md0 2>/dev/null || true
md_assemble /dev/md0 "$a" "$b"
mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
refused "re-adding it" mdadm --quiet /dev/md0 --re-add "$c"
refused "adding it by sysfs" sysfs_add /dev/md0 "$c"
unchanged c
md_assemble /dev/md1 "$c" "$d"
refused "adding it while it is in use" mdadm --quiet /dev/md0 --add "$c"
refused "adding the array to itself" mdadm --quiet /dev/md0 --add /dev/md0
alive
md_stop /dev/md1
assert_same "$c" "$d"
alive
mdadm --quiet /dev/md0 --re-add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
want=$(sum /dev/md0)
md_stop /dev/md0
assert_same "$a" "$b"

note "a damaged md superblock"
cp "$T/b.img" "$T/b.good"
for how in sb_csum=12345 magic=1 super_offset=16 \
	data_size=0xffffffffffffff00 max_dev=65535; do
	cp "$T/b.good" "$T/b.img"
	"$edit" "$T/b.img" super "$how"
	keep b
	md_assemble --run /dev/md0 "$a" "$b" 2>/dev/null || true
	running || md_assemble --run /dev/md0 "$a"
	assert_eq "$(md_letters /dev/md0)" U_ "members, $how"
	refused "adding it by sysfs, $how" sysfs_add /dev/md0 "$b"
	unchanged b
	assert_eq "$(sum /dev/md0)" "$want" "content"
	md_stop /dev/md0
done
cp "$T/b.good" "$T/b.img"

note "data that begin beyond the end"
# md core takes such a member in; it must not get into a slot.
"$edit" "$T/b.img" super data_offset=100000000
md_assemble --run /dev/md0 "$a"
mdadm --quiet --readwrite /dev/md0
mark=$(dmesg_mark)
sysfs_add /dev/md0 "$b" || true
md_attr /dev/md0 sync_action recover || true
alive
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0)" U_
if [ -e "/sys/block/md0/md/dev-${b##*/}" ]; then
	assert_match "$(dmesg_since "$mark")" "${b##*/} is too short for the data" "log"
	[[ $(rdev_state /dev/md0 "$b") != *in_sync* ]] || fail "it is in sync"
fi
want=$(sum /dev/md0)
md_stop /dev/md0
cp "$T/b.good" "$T/b.img"

note "moved, or made longer than it is, while it is away"
md_assemble --run /dev/md0 "$a"
mdadm --quiet /dev/md0 --re-add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
dir=/sys/block/md0/md/dev-${b##*/}
slotless() { [ "$(cat "$dir/slot")" = none ]; }
offset=$(cat "$dir/offset") size=$(cat "$dir/size")
echo faulty >"$dir/state"
wait_for 10 slotless
alive
want=$(sum /dev/md0)
keep b
for how in offset=$((offset - 512)) offset=8 size=4294967296; do
	mark=$(dmesg_mark)
	echo "${how#*=}" >"$dir/${how%=*}"
	echo re-add >"$dir/state" || true
	wait_idle /dev/md0
	assert_eq "$(md_letters /dev/md0)" U_ "members, $how"
	assert_match "$(dmesg_since "$mark")" "${b##*/} (refused: its data are|is said to have data where|is too short)" "log"
	unchanged b
	assert_eq "$(sum /dev/md0)" "$want" "content"
	echo "$offset" >"$dir/offset"
	echo "$size" >"$dir/size"
done
mark=$(dmesg_mark)
echo re-add >"$dir/state"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_match "$(dmesg_since "$mark")" "returns as of event [0-9]+, [0-9]{4,6} bytes to copy" "log"
md_stop /dev/md0
assert_same "$a" "$b"
cp "$T/b.img" "$T/b.good"

note "one member twice"
cp "$T/a.img" "$T/e.img"
e=$(member_loop e 12M)
keep e
md_assemble --run /dev/md0 "$a" "$e" 2>/dev/null || true
if running; then
	assert_eq "$(md_letters /dev/md0 | tr -d _)" U
	assert_eq "$(sum /dev/md0)" "$want" "content"
	mdadm --quiet --stop /dev/md0
fi
cmp "$T/e.img" "$T/e.was" || cmp "$T/a.img" "$T/e.was" || fail "both copies were written to"
losetup -d "$e"

note "numbers of members that are not supported"
mark=$(dmesg_mark)
# shellcheck disable=SC2046 # 31 words
assert_fails mdcreate /dev/md2 --bitmap=none --assume-clean -n 33 "$c" "$d" \
	$(printf 'missing %.0s' {1..31}) 2>/dev/null
assert_match "$(dmesg_since "$mark")" "not started: the number of members" "log"
