#!/bin/bash
# about: the bitmap engine is registered with md core, and what is not its own stays the kernel's
# timeout: 400
# kernel: backports
. "${0%/*}/lib.sh"

loops 3 64M
a=${m[0]} b=${m[1]} c=${m[2]}
bm=/sys/block/md0/md/bitmap
ours="backlog can_clear chunksize discard_changes_of location max_backlog_used members metadata space time_base"
engine() { md_attr "${1:-/dev/md0}" bitmap_type | sed -n 's/.*\[\(.*\)\].*/\1/p'; }
attributes() { (cd $bm && echo *); }
settled() { [ "$(attributes)" = "$ours" ]; }

note "a new array has it, without being asked"
load
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
assert_eq "$(engine)" md-raid1 "engine"
assert_match " $(md_attr /dev/md0 bitmap_type)" " bitmap .*\[md-raid1\]" "list of engines"
assert_eq "$(attributes)" "$ours" "attributes"
fill /dev/md0 1
want=$(sum /dev/md0)

note "taken away and made again, by ioctl and by sysfs"
for i in 1 2; do
	mdadm --quiet --grow --bitmap=none /dev/md0
	assert_eq "$(engine)" none "engine"
	wait_for 10 settled
	mdadm --quiet --grow --bitmap=internal /dev/md0
	assert_eq "$(engine)" md-raid1 "engine"
	assert_eq "$(attributes)" "$ours" "attributes"
	wait_idle /dev/md0
	echo none >$bm/location
	assert_eq "$(engine)" none "engine"
	assert_eq "$(attributes)" "$ours" "attributes"
	if [ $i = 2 ]; then mdadm --quiet --grow --bitmap=internal /dev/md0; else echo +8 >$bm/location; fi
	assert_eq "$(engine)" md-raid1 "engine"
	wait_idle /dev/md0
done
# at once: it may be refused, but never made with the kernel's engine
for i in {1..4}; do
	mdadm --quiet --grow --bitmap=none /dev/md0
	mdadm --quiet --grow --bitmap=internal /dev/md0 2>/dev/null ||
		assert_eq "$(engine)" none "engine, bitmap refused"
	wait_for 10 settled
	[ "$(engine)" = md-raid1 ] || mdadm --quiet --grow --bitmap=internal /dev/md0
	assert_eq "$(engine)" md-raid1 "engine"
	wait_idle /dev/md0
done
md_stop /dev/md0

note "an array that began without a bitmap gets it, too"
mdcreate /dev/md0 --bitmap=none --assume-clean -n 2 "$a" "$b"
assert_eq "$(engine)" none "engine"
wait_for 10 settled
mdadm --quiet --grow --bitmap=internal /dev/md0
assert_eq "$(engine)" md-raid1 "engine"
assert_eq "$(sum /dev/md0)" "$want" "content"
md_stop /dev/md0
md_assemble /dev/md0 "$a" "$b"
assert_eq "$(engine)" md-raid1 "engine"
md_stop /dev/md0

note "arrays of other levels keep the kernel's engine, whatever is asked for"
modprobe raid10
truncate -s 64M "$T/"{x,y}.img
x=$(losetup --show -f "$T/x.img") y=$(losetup --show -f "$T/y.img")
mdadm --quiet --create /dev/md1 --run --level=10 -n 2 --bitmap=internal --assume-clean "$x" "$y" </dev/null
assert_eq "$(engine /dev/md1)" bitmap "engine of a RAID-10"
md_stop /dev/md1

note "a damaged bitmap does not become the kernel's"
bitmap() { ./edit-sb.py "$a,$b" bitmap "$@"; }
bitmap magic=1
drop_caches
mark=$(dmesg_mark)
assert_fails md_assemble /dev/md0 "$a" "$b"
assert_match "$(dmesg_since "$mark")" "its magic number is wrong"
mdadm --quiet --stop /dev/md0 2>/dev/null || true
bitmap magic=0x6d746962
drop_caches

note "a lockless bitmap is left to the engine that is for it"
bitmap version=6 state=8
drop_caches
mark=$(dmesg_mark)
if md_assemble /dev/md0 "$a" "$b"; then
	assert_eq "$(engine)" llbitmap "engine"
	fill /dev/md0 2 0 16384
	wait_idle /dev/md0
	same_head() { assert_eq "$(data_of "$a" 32768 | md5sum)" "$(data_of "$b" 32768 | md5sum)" "what was written"; }
	same_head
	bits() { sed -n "s/^$1 //p" /sys/block/md0/md/llbitmap/bits; }
	assert_gt "$(bits unwritten)" 0 "chunks that were never written"
	mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
	fill /dev/md0 3 8192 2048
	before=$(bytes_written "$b")
	mdadm --quiet /dev/md0 --re-add "$b"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	copied=$(($(bytes_written "$b") - before))
	same_head
	assert_ge "$copied" $((2048 * 1024)) "bytes copied to the member that returned"
	# that engine takes 512 chunks for changed, where one is
	assert_lt "$copied" $((40 * 1024 * 1024)) "bytes copied to the member that returned"
	mdadm --quiet /dev/md0 --add "$c"
	mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_eq "$(data_of "$a" 32768 | md5sum)" "$(data_of "$c" 32768 | md5sum)" "what a new member got"
	sum=$(sum /dev/md0 0 16384)
	md_stop /dev/md0
	md_assemble /dev/md0 "$a" "$c"
	assert_eq "$(engine)" llbitmap "engine"
	assert_eq "$(sum /dev/md0 0 16384)" "$sum" "content"
	mdadm --quiet --grow --bitmap=none /dev/md0
	wait_for 10 settled
	mdadm --quiet --grow --bitmap=internal /dev/md0
	assert_eq "$(engine)" md-raid1 "engine, of the new bitmap"
else
	assert_match "$(dmesg_since "$mark")" "it is for a lockless engine" "log"
	assert_match "$(dmesg_since "$mark")" "can't find bitmap id" "log"
	note "this kernel has no such engine: refused"
	mdadm --quiet --stop /dev/md0 2>/dev/null || true
	bitmap version=4 state=0
	drop_caches
	md_assemble /dev/md0 "$a" "$b"
	assert_eq "$(engine)" md-raid1 "engine"
	assert_eq "$(sum /dev/md0)" "$want" "content"
fi
md_stop /dev/md0

note "without the module, the kernel's engine has it"
unload
load_stock
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
assert_eq "$(engine)" bitmap "engine"
assert_match "$(md_attr /dev/md0 bitmap_type)" "bitmap" "list of engines"
[[ $(md_attr /dev/md0 bitmap_type) != *md-raid1* ]] || fail "md core knows the engine still"
md_stop /dev/md0
