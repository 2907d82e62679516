#!/bin/bash
# about: a bitmap that is damaged, foreign, stale or unreadable is not believed
# timeout: 600
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load_ours
edit=${0%/*}/edit-sb.py
chunk=4096
both=$T/m0.img,$T/m1.img

# Restore the members as they were after the array had been stopped.
pristine() { cp "$T/good0.img" "$T/m0.img"; cp "$T/good1.img" "$T/m1.img"; }
# keep, unchanged: take a copy of every byte, and compare with it
keep() { cp "$T/m0.img" "$T/was0.img"; cp "$T/m1.img" "$T/was1.img"; }
unchanged() {
	cmp "$T/m0.img" "$T/was0.img" || fail "the first member was written to"
	cmp "$T/m1.img" "$T/was1.img" || fail "the second member was written to"
}

# Small chunks: more than one sector of bits.
loops 2 12M
a=${m[0]} b=${m[1]}
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=4K --assume-clean -n 2 "$a" "$b"
fill /dev/md0 1
want=$(sum /dev/md0)
md_stop /dev/md0
assert_eq "$("$edit" "$T/m0.img" bitmap chunksize)" $chunk "chunk size"
cp "$T/m0.img" "$T/good0.img"
cp "$T/m1.img" "$T/good1.img"
size=$("$edit" "$T/m0.img" bitmap sync_size)
at=$("$edit" "$T/m0.img" bitmap-at)

# start MEMBER...: md0 by means of sysfs alone. mdadm looks into bitmaps itself,
# and dies of some of those below (a chunk size of 0).
start() {
	local dev
	[ -e /sys/block/md0 ] || echo md0 >/sys/module/md_mod/parameters/new_array
	md_attr /dev/md0 metadata_version 1.2
	for dev; do md_attr /dev/md0 new_dev "$(lsblk -dno MAJ:MIN "$dev" | tr -d ' ')"; done
	{ md_attr /dev/md0 array_state active; } 2>/dev/null
}

# refused WHY: starting fails, the log says why, not a byte is changed
refused() {
	local why=$1 log mark
	keep
	mark=$(dmesg_mark)
	if start "$a" "$b"; then fail "started in spite of: $why"; fi
	log=$(dmesg_since "$mark")
	assert_eq "$(grep -cE "bitmap on loop.* not used: .*($why)" <<<"$log")" 2 "lines that say: $why"
	assert_eq "$(grep -c "no member has a usable bitmap" <<<"$log")" 1 "lines that sum it up"
	assert_eq "$(md_attr /dev/md0 array_state)" inactive "state"
	md_attr /dev/md0 array_state clear
	unchanged
}

# both WHY FIELD=VALUE...: both copies get the same wrong fields
both() {
	note "${*:2}: $1"
	pristine
	"$edit" "$both" bitmap "${@:2}"
	refused "$1"
}

both "magic number is wrong" magic=0x6d746963
for version in 0 1 99; do
	both "version is unknown" "version=$version"
done
for size_wrong in 0 256 4095 0x80000001; do
	both "chunk size is not a power of two" "chunksize=$size_wrong"
done
both "bits do not fit into the space|overlap data" chunksize=512 sectors_reserved=2
both "made for another size" sync_size=0
both "made for another size" "sync_size=$((size - 2))"
both "made for another size" "sync_size=$((size + 2))"
both "delay is out of range" daemon_sleep=0
both "delay is out of range" daemon_sleep=0xffffffff
both "write-behind limit is out of range" write_behind=0xffffffff
both "do not fit into the space that it reserves" sectors_reserved=1
both "belongs to a cluster" nodes=3

note "zeroes, ones, noise"
pristine
for i in 0 1; do
	dd if=/dev/zero of="$T/m$i.img" bs=4096 seek=$((at / 4096)) count=1 conv=notrunc status=none
done
refused "magic number is wrong"
for i in 0 1; do
	keystream $((i + 5)) 4096 |
		dd of="$T/m$i.img" bs=4096 seek=$((at / 4096)) conv=notrunc iflag=fullblock status=none
done
refused "magic number is wrong"

note "mdadm is refused as well, and starts it without the bitmap"
keep
if md_assemble --run /dev/md0 "$a" "$b" 2>/dev/null; then fail "started"; fi
unchanged
md_assemble --update=no-bitmap /dev/md0 "$a" "$b"
assert_eq "$(md_letters /dev/md0)" UU
assert_eq "$(sum /dev/md0)" "$want" "content"
md_stop /dev/md0

note "the bitmap of another array"
c=$(member_loop c 12M)
d=$(member_loop d 12M)
mdcreate /dev/md1 --bitmap=internal --bitmap-chunk=4K --assume-clean -n 2 "$c" "$d"
md_stop /dev/md1
pristine
for i in 0 1; do
	dd if="$T/c.img" of="$T/m$i.img" bs=4096 skip=$((at / 4096)) seek=$((at / 4096)) \
		count=1 conv=notrunc status=none
done
refused "belongs to another array"
losetup -d "$c" "$d"

# The largest chunk size there is makes one chunk of the array: odd, but valid.
note "a chunk size of 2 GiB is taken"
pristine
"$edit" "$both" bitmap chunksize=0x80000000
md_assemble /dev/md0 "$a" "$b"
fill /dev/md0 2 100 8
md_stop /dev/md0
assert_same "$a" "$b"

# ---- crashed: bits are set, members differ -------------------------------------

note "one copy is damaged: the other one says what to copy"
pristine
assemble /dev/md0 "$a" "$b"
wait_for 10 test -e /sys/block/md0/md/bitmap/time_base
md_attr /dev/md0 bitmap/time_base 1000
md_attr /dev/md0 safe_mode_delay 0
fill /dev/md0 3 1024 64
want=$(sum /dev/md0)
# What a crash now would leave: one member lacks part of the last write.
cp "$T/m0.img" "$T/crash0.img"
cp "$T/m1.img" "$T/crash1.img"
md_stop /dev/md0
off=$(($(data_offset "$a") * 512))
crashed() { # with different data on the second member at KiB 1056
	cp "$T/crash0.img" "$T/m0.img"
	cp "$T/crash1.img" "$T/m1.img"
	keystream 99 4096 | dd of="$T/m1.img" bs=4096 seek=$(((off >> 12) + 264)) conv=notrunc \
		iflag=fullblock status=none
}
for case in "0 chunksize=3" "1 uuid0=7"; do
	read -r bad how <<<"$case"
	crashed
	"$edit" "$T/m$bad.img" bitmap "$how"
	mark=$(dmesg_mark)
	assemble /dev/md0 "$a" "$b"
	assert_eq "$(dmesg_since "$mark" | grep -c "bitmap on .* not used")" 1 "lines about it"
	assert_match "$(dmesg_since "$mark" | grep "not used")" "on $(basename "${m[$bad]}") " "line"
	wait_idle /dev/md0
	md_stop /dev/md0
	assert_same "$a" "$b"
	# Afterwards both copies are good again.
	assert_eq "$("$edit" "$T/m$bad.img" bitmap magic)" "$((0x6d746962))" "magic"
	assert_eq "$("$edit" "$T/m$bad.img" bitmap chunksize)" $chunk "chunk size"
done

note "one copy is older: its bits are not used, those of the newer one are"
crashed
"$edit" "$T/m0.img" bitmap events=1
dd if=/dev/zero of="$T/m0.img" bs=256 seek=$((at / 256 + 1)) count=16 conv=notrunc status=none
assemble /dev/md0 "$a" "$b"
wait_idle /dev/md0
md_stop /dev/md0
assert_same "$a" "$b"

note "both are as new, but only one has the bits"
for bad in 0 1; do
	crashed
	dd if=/dev/zero of="$T/m$bad.img" bs=256 seek=$((at / 256 + 1)) count=15 conv=notrunc status=none
	assemble /dev/md0 "$a" "$b"
	wait_idle /dev/md0
	md_stop /dev/md0
	assert_same "$a" "$b"
done

# Noise where nothing was written shows that all was copied.
noise_outside() {
	keystream 98 4096 | dd of="$T/m1.img" bs=4096 seek=$(((off >> 12) + 500)) conv=notrunc \
		iflag=fullblock status=none
}

note "both copies are out of date: everything is copied"
for how in events=1 state=2; do
	crashed
	noise_outside
	"$edit" "$both" bitmap "$how"
	mark=$(dmesg_mark)
	assemble /dev/md0 "$a" "$b"
	assert_eq "$(dmesg_since "$mark" | grep -c "every chunk counts as changed")" 1 "lines about it"
	wait_idle /dev/md0
	assert_eq "$(sum /dev/md0)" "$want" "content"
	md_stop /dev/md0
	assert_same "$a" "$b"
done

note "out of date though the array is clean: everything is copied"
pristine
noise_outside
"$edit" "$both" super events=100
"$edit" "$both" bitmap events=99
mark=$(dmesg_mark)
assemble /dev/md0 "$a" "$b"
assert_eq "$(dmesg_since "$mark" | grep -c "every chunk counts as changed")" 1 "lines about it"
wait_idle /dev/md0
md_stop /dev/md0
assert_same "$a" "$b"

note "the bitmap cannot be read on any member: not started, nothing changed"
crashed
x=$(dm_linear x "$a")
y=$(dm_linear y "$b")
dm_bad_reads x "$a" $((at / 512)) 8
dm_bad_reads y "$b" $((at / 512)) 8
keep
mark=$(dmesg_mark)
if md_assemble --run /dev/md0 "$x" "$y" 2>/dev/null; then fail "started without a readable bitmap"; fi
assert_eq "$(dmesg_since "$mark" | grep -c "not used: it cannot be read")" 2 "lines about it"
mdadm --quiet --stop /dev/md0 2>/dev/null || true
unchanged

note "it cannot be read on one: the other one is used"
dm_heal y "$b"
assemble /dev/md0 "$x" "$y"
wait_idle /dev/md0
dm_heal x "$a"
assert_eq "$(md_letters /dev/md0)" UU
assert_eq "$(sum /dev/md0)" "$want" "content"
md_stop /dev/md0
assert_same "$a" "$b"
dmsetup remove --noudevsync x
dmsetup remove --noudevsync y
losetup -D

# ---- more than one page of bits ------------------------------------------------

note "a page of bits that cannot be read counts as changed, others as they are"
rm -f "$T"/*.img
loops 2 144M
a=${m[0]} b=${m[1]}
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=8K --assume-clean -n 2 "$a" "$b"
md_stop /dev/md0
# mdadm has more than one page for larger arrays only: use the bad-block log's
# room, and the rest of the first page, which mdadm has filled with ones.
"$edit" "$both" super feature_map=1 bblog_offset=0 bblog_size=0
"$edit" "$both" bitmap chunksize=4096 sectors_reserved=24
at=$("$edit" "$T/m0.img" bitmap-at)
for i in 0 1; do
	dd if=/dev/zero of="$T/m$i.img" bs=256 seek=$((at / 256 + 1)) count=47 conv=notrunc status=none
done
md_assemble /dev/md0 "$a" "$b"
mdadm --quiet /dev/md0 --fail "$b" --remove "$b"
fill /dev/md0 4 1024 64
fill /dev/md0 5 131072 64
md_stop /dev/md0
off=$(($(data_offset "$a") * 512))
# Bits of the second page: those from chunk 30720 on. One that is not set:
keystream 97 4096 | dd of="$T/m1.img" bs=4096 seek=$(((off >> 12) + 31000)) conv=notrunc \
	iflag=fullblock status=none
x=$(dm_linear x "$a")
dm_bad_reads x "$a" $((at / 512 + 8)) 8
mark=$(dmesg_mark)
assemble /dev/md0 "$x"
assert_match "$(dmesg_since "$mark")" "page 1 of the bitmap is unreadable" "log"
assert_eq "$(md_letters /dev/md0)" U_
before=$(bytes_written "$b")
mdadm --quiet /dev/md0 --re-add "$b"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_lt $(($(bytes_written "$b") - before)) $((26 << 20)) "bytes copied"
md_stop /dev/md0
dm_heal x "$a"
assert_same "$a" "$b"
