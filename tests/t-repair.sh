#!/bin/bash
# about: members in sync are rewritten, by repair or since they were unreadable: others get that
# timeout: 400
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"
. "${0%/*}/lib-maps.sh"

load
sync_speed 100000 1000000
md=/dev/md0
out() { quiet $md --fail "$1" && wait_for 20 quiet $md --remove "$1"; }
# plant MEMBER SEED SECTOR: 4 KiB of the data area, behind md's back
plant() {
	keystream "$2" 4096 | dd of="$1" bs=4096 seek=$((($(data_offset "$1") + $3) * 512)) \
		oflag=direct,seek_bytes iflag=fullblock conv=notrunc status=none
}
# stalled: the recovery waits at sync_max
stalled() { [ "$(md_attr $md sync_completed | cut -d' ' -f1)" = "$(md_attr $md sync_max)" ]; }

loops 4 12M
a=${m[0]} b=${m[1]} c=${m[2]} d=${m[3]}
create() { # OPTIONS MEMBERS...
	local dev
	for dev in "${m[@]}"; do blkdiscard -f "$dev" 2>/dev/null; done
	mdcreate $md --bitmap=internal --bitmap-chunk=64K --assume-clean "$@"
	fill $md 1 0 8192
	settle $md "${*: -1}"
}

for when in "bits are clear again" "bits are still set"; do
	note "repair while a member is away, which returns when $when"
	create -n 3 "$a" "$b" "$c"
	plant "$a" 7 8192
	out "$c"
	scatter $md 2 20 0 1000
	settle $md "$a"
	assert_eq "$(lacks $md "$c")" $((20 * 4096)) "what it lacks before"
	assert_eq "$(md_check $md repair)" 8 "mismatches that were repaired"
	[ "$when" != "bits are clear again" ] || settle $md "$a"
	# copying goes by windows of 256 KiB
	assert_ge "$(lacks $md "$c")" $((21 * 4096)) "what it lacks"
	assert_le "$(lacks $md "$c")" $((84 * 4096)) "what it lacks"
	want=$(sum $md)
	count "$c"
	quiet $md --re-add "$c"
	whole $md UUU "$a" "$b" "$c"
	came_back "$c" 84 512
	md_stop $md
done

note "the same without maps"
create --metadata=0.90 -n 3 "$a" "$b" "$c"
plant "$a" 7 8192
out "$c"
assert_eq "$(md_check $md repair)" 8 "mismatches that were repaired"
pace $md 0.1
want=$(sum $md)
quiet $md --re-add "$c"
whole $md UUU "$a" "$b" "$c"
md_stop $md

note "a member leaves when half of it is recovered, and returns after a repair"
create -n 3 "$a" "$b" "$c"
plant "$a" 7 8192
out "$c"
scatter $md 2 20 1500 500
settle $md "$a"
md_attr $md sync_max 10240
quiet $md --re-add "$c"
wait_for 20 stalled
quiet $md --fail "$c"
# the recovery ends where it waits
md_attr $md sync_max max
wait_idle $md
wait_for 20 quiet $md --remove "$c"
assert_eq "$(md_check $md repair)" 8 "mismatches that were repaired"
settle $md "$a"
want=$(sum $md)
quiet $md --re-add "$c"
whole $md UUU "$a" "$b" "$c"
md_stop $md

note "bits are on disk before a member is rewritten"
n=$(member_bad 0 12M)
create -n 2 "$a" "$n"
off=$(data_offset "$n")
plant "$a" 7 8192
plant "$a" 8 12288
at=$("$here/edit-sb.py" "$T/bad0.img" bitmap-at)
bad 0 watch="$off,128,$((at + 256))"
before=$(bad_count 0 write)
assert_eq "$(md_check $md repair)" 16 "mismatches that were repaired"
assert_gt "$(bad_count 0 write)" "$before" "writes that were watched"
assert_eq "$(bad_count 0 early)" 0 "writes before their bits"
assert_same "$a" "$n"
bad 0
md_stop $md

note "the source of a recovery is mended: another member that recovers gets it as well"
create -n 4 "$n" "$b" "$c" "$d"
out "$c"
scatter $md 2 20 1000 100
settle $md "$b"
out "$d"
scatter $md 3 20 1500 500
settle $md "$b"
# where d lacks nothing, and c does: b has something else
block=$(python3 -c 'import random; print(random.Random(2).sample(range(1000, 1100), 20)[0])')
plant "$b" 7 $((block * 8))
bad 0 dust=$((off + block * 8)),8
md_attr $md sync_action frozen
quiet $md --re-add "$c"
quiet $md --re-add "$d"
md_attr $md sync_action idle
wait_letters $md UUUU
want=$(sum $md)
whole $md UUUU "$n" "$b" "$c" "$d"
bad 0
md_stop $md

note "mending after a read error, while a member is half recovered"
create -n 3 "$n" "$b" "$c"
out "$c"
scatter $md 2 20 1500 500
settle $md "$b"
plant "$b" 7 8192
md_attr $md sync_max 10240
quiet $md --re-add "$c"
wait_for 20 stalled
read_from $md "$n"
bad 0 dust=$((off + 8192)),8
assert_eq "$(dd if=$md bs=4096 skip=1024 count=1 iflag=direct status=none | md5sum)" \
	"$(keystream 7 4096 | md5sum)" "what was read"
mended() { assert_le "$(corrected $md "$n")" "$1" "corrected sectors" && [ "$(corrected $md "$n")" = "$1" ]; }
wait_for 20 mended 8
md_attr $md sync_max max
want=$(sum $md)
whole $md UUU "$n" "$b" "$c"

note "the same while a member is away"
settle $md "$b"
out "$c"
plant "$b" 9 8192
bad 0 dust=$((off + 8192)),8
dd if=$md of=/dev/null bs=4096 skip=1024 count=1 iflag=direct status=none
wait_for 20 mended 16
settle $md "$b"
want=$(sum $md)
quiet $md --re-add "$c"
whole $md UUU "$n" "$b" "$c"
bad 0
