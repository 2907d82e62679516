#!/bin/bash
# about: members that were away get what each of them missed, in 4 KiB grains
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 4 32M
a=${m[0]} b=${m[1]} c=${m[2]} d=${m[3]}
md=/dev/md0
sync_speed 100000 1000000

create() { # metadata, chunk, slots, members...
	local dev
	for dev in "${m[@]}"; do blkdiscard -f "$dev" 2>/dev/null; done
	# 1.0 keeps no room between data and superblock unless there is some left
	mdcreate $md --metadata="$1" --bitmap=internal --bitmap-chunk="$2" \
		--size=24M --assume-clean -n "$3" "${@:4}"
	fill $md 1 0 8192
	settle $md "$a"
}
out() { quiet $md --fail "$1" --remove "$1"; }

for how in "1.0 64K" "1.1 64M" "1.2 64M" "1.2 64K"; do
	read -r metadata chunk <<<"$how"
	note "metadata $metadata, chunks of $chunk: one member, and a slot that was always vacant"
	create "$metadata" "$chunk" 3 "$a" "$b" missing
	# The vacant slot's member could be anyone who was here lately: he would
	# lack all that was written since.
	assert_match "$(nameless $md)" '^[0-9]+$' "map without a name"
	out "$b"
	assert_eq "$(lacks $md "$b")" 0 "before any write"
	scatter $md 2 100 0 5000
	settle $md "$a"
	assert_eq "$(lacks $md "$b")" $((100 * 4096)) "cost, bytes"
	assert_match "$(map_line $md "$b")" ' absent '
	want=$(sum $md)
	count "$b"
	quiet $md --re-add "$b"
	whole $md UU_ "$a" "$b"
	came_back "$b" 400
	forgotten $md "$b"
	md_stop $md
done

for order in "b c" "c b" "bc"; do
	note "two that left at different times, back in the order $order"
	create 1.2 64M 4 "$a" "$b" "$c" missing
	out "$b"
	scatter $md 3 50 0 2400
	[ "$order" != "c b" ] || settle $md "$a"
	out "$c"
	scatter $md 4 70 2400 2400
	settle $md "$a"
	if [ "$order" = "c b" ]; then
		assert_eq "$(lacks $md "$b") $(lacks $md "$c")" "$((120 * 4096)) $((70 * 4096))" "cost, bytes"
	else
		# b's share was recent when c left: c's cache may have lost it
		assert_eq "$(lacks $md "$b") $(lacks $md "$c")" "$((120 * 4096)) $((120 * 4096))" "cost, bytes"
	fi
	want=$(sum $md)
	cost_b=$(($(lacks $md "$b") / 1024)) cost_c=$(($(lacks $md "$c") / 1024))
	count "$b"
	count "$c"
	case $order in
	"b c")
		quiet $md --re-add "$b"
		whole $md UU__ "$a" "$b"
		quiet $md --re-add "$c"
		;;
	"c b")
		quiet $md --re-add "$c"
		whole $md U_U_ "$a" "$c"
		quiet $md --re-add "$b"
		;;
	*)
		md_attr $md sync_action frozen
		quiet $md --re-add "$b"
		quiet $md --re-add "$c"
		md_attr $md sync_action idle
		;;
	esac
	whole $md UUU_ "$a" "$b" "$c"
	came_back "$b" "$cost_b"
	came_back "$c" "$cost_c"
	forgotten $md "$b"
	forgotten $md "$c"
	md_stop $md
done

note "writes while it comes back"
create 1.2 64M 3 "$a" "$b" missing
out "$b"
fill $md 5 0 12288
settle $md "$a"
assert_eq "$(lacks $md "$b")" $((12 << 20)) "cost, bytes"
count "$b"
sync_speed 1000 1000
quiet $md --re-add "$b"
coming() { [[ $(map_line $md "$b") = *\ recovering\ * ]]; }
wait_for 10 coming
scatter $md 6 100 0 5000
assert_match "$(map_line $md "$b")" ' recovering '
sync_speed 100000 1000000
want=$(sum $md)
whole $md UU_ "$a" "$b"
# what is written reaches it at once; only that is written twice
came_back "$b" $((12 * 1024)) $((400 + 256))
md_stop $md

note "rotation: c takes the place of b, and both come and go"
create 1.2 64M 2 "$a" "$b"
out "$b"
scatter $md 8 50 0 5000
count "$c"
quiet $md --add "$c"
want=$(sum $md)
whole $md UU "$a" "$c"
came_back "$c" $((24 * 1024)) 512
settle $md "$a"
for round in 1 2; do
	# only b knows what it missed; it is not needed that anyone else left
	cost=$(lacks $md "$b")
	assert_le "$cost" $((100 * 4096)) "cost, bytes"
	settle $md "$a"
	out "$c"
	scatter $md $((round + 10)) 40 0 5000
	settle $md "$a"
	want=$(sum $md)
	cost=$(lacks $md "$b")
	count "$b"
	quiet $md --re-add "$b" || quiet $md --add "$b"
	whole $md UU "$a" "$b"
	came_back "$b" $((cost / 1024))
	out "$b"
	settle $md "$a"
	scatter $md $((round + 20)) 30 0 5000
	settle $md "$a"
	want=$(sum $md)
	cost=$(lacks $md "$c")
	assert_le "$cost" $((70 * 4096)) "cost, bytes"
	assert_eq "$(lacks $md "$b")" $((30 * 4096)) "cost, bytes"
	count "$c"
	quiet $md --re-add "$c" || quiet $md --add "$c"
	whole $md UU "$a" "$c"
	came_back "$c" $((cost / 1024))
done

md_stop $md

note "into a slot that was another's"
create 1.2 64M 3 "$a" "$b" "$c"
out "$b"
scatter $md 31 40 0 5000
# d takes b's slot, then c leaves: there is room for b in c's slot only
quiet $md --add "$d"
want=$(sum $md)
whole $md UUU "$a" "$c" "$d"
settle $md "$a"
out "$c"
scatter $md 32 30 0 5000
settle $md "$a"
want=$(sum $md)
cost=$(lacks $md "$b")
assert_le "$cost" $((70 * 4096)) "cost, bytes"
count "$b"
quiet $md --re-add "$b" || quiet $md --add "$b"
whole $md UUU "$a" "$b" "$d"
came_back "$b" $((cost / 1024))
