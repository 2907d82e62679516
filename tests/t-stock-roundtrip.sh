#!/bin/bash
# about: arrays go from Debian's raid1 to this one and back, clean, dirty, degraded
# timeout: 400
. "${0%/*}/lib.sh"

loops 2 24M
a=${m[0]} b=${m[1]}
sync_speed 100000 1000000
use() { # ours|stock
	unload
	IMPL=$1 load
}
quiet() { mdadm --quiet "$@" 2>"$T/said" || fail "mdadm $*: $(cat "$T/said")"; }
md5() { keystream "$1" "$(($2 * 1024))" | md5sum | cut -d' ' -f1; }
valid() { # MEMBER: mdadm finds nothing wrong with its bitmap
	local said
	said=$(mdadm -X "$1" 2>&1)
	assert_match "$said" 'Magic : 6d746962'
	assert_match "$said" 'Version : 4'
	[[ $said != *"(stale"* && $said != *"(Out of date"* && $said != *"invalid"* ]] || fail "bitmap of $1: $said"
	assert_eq "$(sed -n 's/^ *Events : //p' <<<"$said")" "$(events "$1")" "events of bitmap and array"
}

create() {
	blkdiscard -fq "$a"
	blkdiscard -fq "$b"
	mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 "$a" "$b"
	echo 0.1 >/sys/block/md0/md/bitmap/time_base
	fill /dev/md0 1 0 4096
	wait_for 20 clean "$a"
	echo 100 >/sys/block/md0/md/bitmap/time_base
}
clean() { [ "$(bitmap_dirty "$1")" = 0 ]; }

for from in stock ours; do
	to=$([ $from = stock ] && echo ours || echo stock)

	note "clean, from $from to $to and back"
	use "$from"
	create
	want=$(sum /dev/md0)
	md_stop /dev/md0
	for impl in $to $from; do
		use "$impl"
		before=$(bytes_written "$b")
		md_assemble /dev/md0 "$a" "$b"
		assert_eq "$(md_letters /dev/md0)" UU
		assert_eq "$(sum /dev/md0)" "$want" content
		fill /dev/md0 2 256 64
		fill /dev/md0 1 0 64
		want=$(sum /dev/md0)
		wait_idle /dev/md0
		assert_lt $(($(bytes_written "$b") - before)) $((512 << 10)) "bytes written to a clean member"
		md_stop /dev/md0
		assert_same "$a" "$b"
		valid "$a"
		valid "$b"
		assert_eq "$(bitmap_dirty "$a") $(bitmap_dirty "$b")" "0 0" "dirty bits"
	done

	note "crashed under $from, goes on under $to"
	use "$from"
	create
	# without a pause after which the array would be clean
	md_attr /dev/md0 safe_mode_delay 0
	fill /dev/md0 3 640 64
	fill /dev/md0 4 2048 128
	cp "$T/m0.img" "$T/c0.img"
	cp "$T/m1.img" "$T/c1.img"
	quiet --stop /dev/md0
	ca=$(losetup --show -f "$T/c0.img")
	cb=$(losetup --show -f "$T/c1.img")
	assert_eq "$(bitmap_dirty "$ca") $(bitmap_dirty "$cb")" "3 3" "dirty bits"
	# One of the writes had not reached the second member.
	keystream 1 65536 | dd of="$cb" bs=64k oflag=direct,seek_bytes iflag=fullblock conv=notrunc status=none \
		seek=$(($(data_offset "$cb") * 512 + 2048 * 1024))
	use "$to"
	before=$(bytes_written "$cb")
	md_assemble --run /dev/md1 "$ca" "$cb"
	md_writable /dev/md1
	wait_idle /dev/md1
	assert_eq "$(md_letters /dev/md1)" UU
	assert_same "$ca" "$cb"
	assert_eq "$(sum /dev/md1 640 64)" "$(md5 3 64)" "content"
	assert_eq "$(sum /dev/md1 2048 128)" "$(md5 4 128)" "content"
	assert_lt $(($(bytes_written "$cb") - before)) $((448 << 10)) "bytes written, with three dirty chunks"
	md_stop /dev/md1
	valid "$ca"
	losetup -d "$ca"
	losetup -d "$cb"
	rm "$T/c0.img" "$T/c1.img"

	note "degraded under $from, goes on under $to, is whole again"
	use "$from"
	create
	quiet /dev/md0 --fail "$b" --remove "$b"
	fill /dev/md0 5 128 64
	md_stop /dev/md0
	valid "$a"
	# This module may have cleared the bit, as it remembers in other ways who
	# lacks what. Then stock must not be led to believe that nothing is lacking.
	dirty=$(bitmap_dirty "$a")
	[ $from = ours ] || assert_eq "$dirty" 1 "dirty bits"
	use "$to"
	md_assemble --run /dev/md0 "$a"
	assert_eq "$(md_letters /dev/md0)" U_
	fill /dev/md0 6 1024 64
	want=$(sum /dev/md0)
	before=$(bytes_written "$b")
	if [ "$dirty" = 1 ]; then quiet /dev/md0 --re-add "$b"; else quiet /dev/md0 --add "$b"; fi
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	n=$(($(bytes_written "$b") - before))
	if [ "$dirty" = 1 ]; then
		assert_ge $n $((128 << 10)) "bytes written to the member"
		assert_lt $n $((384 << 10)) "bytes written to the member"
	else
		assert_ge $n $(($(sectors /dev/md0) * 512)) "bytes written to a member of which stock knows nothing"
	fi
	assert_eq "$(sum /dev/md0)" "$want" content
	md_stop /dev/md0
	assert_same "$a" "$b"
	valid "$a"
	valid "$b"

	note "away since before bits were cleared by $from: $to wants to copy all"
	use "$from"
	create
	quiet /dev/md0 --fail "$b" --remove "$b"
	md_stop /dev/md0
	cp "$T/m1.img" "$T/c1.img"
	md_assemble --run /dev/md0 "$a"
	fill /dev/md0 7 512 64
	# (less than a second would be 0 on disk, which nobody accepts)
	echo 1 >/sys/block/md0/md/bitmap/time_base
	quiet /dev/md0 --re-add "$b"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	fill /dev/md0 8 512 64
	wait_for 20 clean "$a"
	want=$(sum /dev/md0)
	quiet --fail /dev/md0 "$b"
	quiet --remove /dev/md0 "$b"
	md_stop /dev/md0
	losetup -d "$b"
	cp "$T/c1.img" "$T/m1.img"
	b=$(losetup --show -f "$T/m1.img")
	use "$to"
	md_assemble --run /dev/md0 "$a"
	before=$(bytes_written "$b")
	quiet /dev/md0 --add "$b"
	wait_letters /dev/md0 UU
	wait_idle /dev/md0
	assert_ge $(($(bytes_written "$b") - before)) $(($(sectors /dev/md0) * 512)) "bytes written to a stale member"
	assert_eq "$(sum /dev/md0)" "$want" content
	assert_same "$a" "$b"
	md_stop /dev/md0
done
