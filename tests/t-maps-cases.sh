#!/bin/bash
# about: the cases of the demo, in several sizes, chunks and metadata versions
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
md=/dev/md0
sync_speed 100000 1000000

out() { quiet $md --fail "$1" --remove "$1"; }
# back MEMBER: it returns; what is written to it is counted
back() {
	count "$1"
	quiet $md --re-add "$1"
}
# miss SEED COUNT: single blocks all over the array; sets "want"
miss() {
	scatter $md "$1" "$2" 0 "$blocks"
	settle $md "$a"
	want=$(sum $md)
}

# MiB, chunk, metadata, blocks that are missed
for how in "20 4K 1.0 60" "72 1M 1.1 200" "144 64M 1.2 300"; do
	read -r mib chunk metadata n <<<"$how"
	half=$((n / 2))
	blocks=$((mib << 8))
	losetup -D
	rm -f "$T"/m*.img
	loops 3 $((mib + 8))M
	a=${m[0]} b=${m[1]} c=${m[2]}
	options=(--metadata="$metadata" --bitmap=internal --bitmap-chunk="$chunk"
		--size="${mib}M" --assume-clean)

	note "$mib MiB, chunks of $chunk, metadata $metadata: two slots"
	mdcreate $md "${options[@]}" -n 2 "$a" "$b"
	settle $md "$a"
	out "$b"
	miss 1 "$n"
	assert_eq "$(lacks $md "$b")" $((n * 4096)) "cost, bytes"
	back "$b"
	whole $md UU "$a" "$b"
	came_back "$b" $((n * 4))
	md_stop $md

	note "... and a vacant slot, then someone for it, who is interrupted"
	for dev in "$a" "$b"; do blkdiscard -f "$dev" 2>/dev/null; done
	mdcreate $md "${options[@]}" -n 3 "$a" "$b" missing
	settle $md "$a"
	out "$b"
	miss 2 "$n"
	back "$b"
	whole $md UU_ "$a" "$b"
	came_back "$b" $((n * 4))
	sync_speed $((mib * 128)) $((mib * 128))
	pace $md 0.2
	count "$c"
	quiet $md --add "$c"
	midway() { [ "$(counted "$c")" -ge $((mib * 512)) ]; }
	wait_for 60 midway
	out "$c"
	sync_speed 100000 1000000
	settle $md "$a"
	left=$(lacks $md "$c")
	assert_le "$left" $((mib * 3 << 18)) "still to copy"
	back "$c"
	whole $md UUU "$a" "$b" "$c"
	came_back "$c" $((left / 1024))

	note "... two absent, who left at different times"
	settle $md "$a"
	out "$b"
	miss 3 "$n"
	out "$c"
	miss 4 $half
	assert_le "$(lacks $md "$c")" $((half * 4096)) "cost of the second, bytes"
	at_b=$(lacks $md "$b")
	assert_le "$at_b" $((n * 6144)) "cost of the first, bytes"
	assert_ge "$at_b" $((n * 5632)) "cost of the first, bytes"
	back "$c"
	whole $md U_U "$a" "$c"
	came_back "$c" $((half * 4))
	back "$b"
	whole $md UUU "$a" "$b" "$c"
	came_back "$b" $((at_b / 1024))
	md_stop $md
done
