#!/bin/bash
# about: maps and arrays that come from stock raid1, go there, and come back
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
unload
loops 3 32M
a=${m[0]} b=${m[1]} c=${m[2]}
md=/dev/md0
sync_speed 100000 1000000
full=$((24 * 1024))

to_stock() { unload; load_stock; }
to_ours() { unload; load; }
create() { # slots, chunk, members...
	local dev
	md_stop $md 2>/dev/null || true
	to_ours
	for dev in "${m[@]}"; do blkdiscard -f "$dev" 2>/dev/null; done
	mdcreate $md --bitmap=internal --bitmap-chunk="$2" --size=24M --assume-clean \
		-n "$1" "${@:3}"
	fill $md 1 0 8192
	settle $md "$a"
}
out() { quiet $md --fail "$1" --remove "$1"; }
# is_back MEMBER LETTERS ALL...: it comes back, by either word
is_back() {
	count "$1"
	quiet $md --re-add "$1" || quiet $md --add "$1"
	whole $md "$2" "${@:3}"
}
# copied_all MEMBER: it was copied in full
copied_all() { assert_ge "$(counted "$1")" $full "KiB copied to $1"; }

note "from stock, with vacant slots: bits have piled up"
to_stock
mdcreate $md --bitmap=internal --bitmap-chunk=64K --size=24M --assume-clean -n 3 "$a" "$b" "$c"
pace $md 1
fill $md 1 0 8192
wait_for 30 no_bits "$a"
out "$c"
scatter $md 2 10 2048 1000
out "$b"
scatter $md 3 10 3072 1000
sleep 3
md_stop $md
to_ours
piled=$(bitmap_dirty "$a")
assert_ge "$piled" 15 "bits set on stock"
assert_le "$piled" 30 "bits set on stock"
assemble $md "$a"
settle $md "$a"
assert_eq "$(nameless $md)" $((piled * 65536)) "cost, bytes"
scatter $md 4 40 4500 500
settle $md "$a"
want=$(sum $md)
cost=$(nameless $md)
assert_eq "$cost" $((piled * 65536 + 40 * 4096)) "cost, bytes"
is_back "$b" UU_ "$a" "$b"
came_back "$b" $((cost / 1024))
is_back "$c" UUU "$a" "$b" "$c"
came_back "$c" $((cost / 1024))
md_stop $md

# ours, c leaves; a session on stock that is $2, on members "${@:3}"; then c
# returns on ours
for session in "none a b" "clean a b" "writes a b" "crash a b" "clean a" "writes a" "leaves a b"; do
	read -r what on <<<"$session"
	note "a session on stock: $what, with $on"
	create 3 64K "$a" "$b" "$c"
	out "$c"
	scatter $md 5 30 0 6000
	settle $md "$a"
	want=$(sum $md)
	md_stop $md
	to_stock
	members=("$a")
	[ "$on" = a ] || members+=("$b")
	case $what in
	none) ;;
	clean)
		# md takes the event count back if it can
		assemble $md "${members[@]}"
		md_attr $md array_state clean
		md_stop $md
		;;
	*)
		assemble $md "${members[@]}"
		scatter $md 6 30 0 6000
		want=$(sum $md)
		if [ "$what" = crash ]; then
			cut_save 0 1
		elif [ "$what" = leaves ]; then
			out "$b"
			scatter $md 7 30 0 6000
			want=$(sum $md)
		fi
		md_stop $md
		if [ "$what" = crash ]; then
			cut_restore 0 1
		fi
		;;
	esac
	to_ours
	assemble $md "${members[@]}"
	wait_idle $md
	assert_eq "$(sum $md)" "$want" content
	if [ "$what" = none ]; then
		is_back "$c" UUU "$a" "$b" "$c"
		came_back "$c" 120
	elif [ "$on" = a ] || [ "$what" = leaves ]; then
		# b was there when the bits were set that stock left
		is_back "$b" UU_ "$a" "$b"
		is_back "$c" UUU "$a" "$b" "$c"
		copied_all "$c"
	else
		is_back "$c" UUU "$a" "$b" "$c"
		copied_all "$c"
	fi
	scatter $md 8 10 0 6000
	want=$(sum $md)
	whole $md UUU "$a" "$b" "$c"
done

note "stock does not take back in parts who left under ours"
for how in --re-add --add; do
	create 3 64K "$a" "$b" "$c"
	out "$c"
	scatter $md 5 30 0 6000
	settle $md "$a"
	want=$(sum $md)
	md_stop $md
	to_stock
	assemble $md "$a" "$b"
	count "$c"
	if [ $how = --re-add ] && quiet $md --re-add "$c"; then
		# mdadm let it; the kernel has to know better
		whole $md UUU "$a" "$b" "$c"
		copied_all "$c"
	else
		quiet $md --add "$c"
		whole $md UUU "$a" "$b" "$c"
		copied_all "$c"
	fi
	md_stop $md
	md_assemble $md "$a" "$b" "$c"
	whole $md UUU "$a" "$b" "$c"
done
md_stop $md
to_stock
note "... nor when it is in the middle of its return"
create 3 64K "$a" "$b" "$c"
out "$c"
fill $md 5 0 16384
settle $md "$a"
want=$(sum $md)
sync_speed 2000 2000
count "$c"
quiet $md --re-add "$c"
moved() { [ "$(counted "$c")" -gt 4096 ]; }
wait_for 60 moved
md_stop $md
sync_speed 100000 1000000
to_stock
assemble $md "$a" "$b" "$c"
whole $md UUU "$a" "$b" "$c"
md_stop $md

note "a member that was changed elsewhere is refused, and not written to"
create 3 64K "$a" "$b" "$c"
out "$c"
scatter $md 5 30 0 6000
settle $md "$a"
want=$(sum $md)
md_stop $md
for seed in 6 7; do
	assemble $md "$c"
	scatter $md $seed 30 0 6000
	md_stop $md
done
assemble $md "$a" "$b"
before=$(md5sum <"$T/m2.img")
writes=$(bytes_written "$c")
for how in --re-add --add; do
	mark=$(dmesg_mark)
	quiet $md $how "$c" || true
	sleep 1
	assert_eq "$(md_letters $md)" UU_
	assert_match "$(dmesg_since "$mark")" "${c##*/} refused: it was changed elsewhere" "kernel log"
	quiet $md --remove "$c" || true
	assert_eq "$(md5sum <"$T/m2.img")" "$before" "MD5 of the refused member"
	assert_eq "$(bytes_written "$c")" "$writes" "bytes written to the refused member"
done
whole $md UU_ "$a" "$b"
mdadm --quiet --zero-superblock "$c"
is_back "$c" UUU "$a" "$b" "$c"

note "an image of a member from earlier times is not taken by its map"
settle $md "$a"
md_stop $md
cp --sparse=always "$T/m2.img" "$T/old"
md_assemble $md "$a" "$b" "$c"
scatter $md 9 50 0 6000
settle $md "$a"
out "$c"
scatter $md 10 10 0 6000
settle $md "$a"
want=$(sum $md)
dd if="$T/old" of="$c" bs=1M oflag=direct status=none
is_back "$c" UUU "$a" "$b" "$c"
