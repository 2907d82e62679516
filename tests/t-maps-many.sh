#!/bin/bash
# about: more members than can be remembered; coarser grains; what maps cost
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
md=/dev/md0
sync_speed 100000 1000000

note "two off-site disks that take turns, ten rounds"
loops 4 32M
a=${m[0]}
mdcreate $md --bitmap=internal --bitmap-chunk=64M --size=24M --assume-clean -n 2 "$a" "${m[1]}"
fill $md 1 0 8192
settle $md "$a"
quiet $md --fail "${m[1]}" --remove "${m[1]}"
quiet $md --add "${m[2]}"
want=$(sum $md)
whole $md UU "$a" "${m[2]}"
settle $md "$a"
near=${m[2]} far=${m[1]}
since=0		# blocks written since $far left, at most
for round in 1 2 3 4 5 6 7 8 9 10; do
	scatter $md $round 25 0 6000
	settle $md "$a"
	since=$((since + 25))
	cost=$(lacks $md "$far")
	assert_le "$cost" $((since * 4096)) "cost in round $round, bytes"
	assert_ge "$cost" $((since * 4096 * 95 / 100)) "cost in round $round, bytes"
	quiet $md --fail "$near" --remove "$near"
	count "$far"
	quiet $md --re-add "$far" || quiet $md --add "$far"
	want=$(sum $md)
	whole $md UU "$a" "$far"
	came_back "$far" $((cost / 1024))
	read -r near far <<<"$far $near"
	settle $md "$a"
	since=0
done
md_stop $md

note "10,000 blocks of 4 KiB, all over 1 GiB, with the default chunk"
fresh_loops() { # N SIZE
	losetup -D
	rm -f "$T"/m*.img
	loops "$@"
	a=${m[0]} b=${m[1]}
}
fresh_loops 2 1040M
mdcreate $md --bitmap=internal --size=1G --assume-clean -n 2 "$a" "$b"
settle $md "$a"
quiet $md --fail "$b" --remove "$b"
scatter $md 1 10000 0 262144
settle $md "$a"
assert_eq "$(lacks $md "$b")" $((10000 * 4096)) "cost, bytes"
count "$b"
quiet $md --re-add "$b"
wait_letters $md UU
wait_idle $md
assert_ge "$(counted "$b")" 40000 "KiB copied"
assert_le "$(counted "$b")" 42000 "KiB copied"
note "amplification $(awk -v n="$(counted "$b")" 'BEGIN {printf "%.3f", n / 40000}')"
assert_same "$a" "$b"
md_stop $md

note "17 members to remember, with room for 16"
fresh_loops 19 12M
mdcreate $md --bitmap=internal --bitmap-chunk=64M --size=8M --assume-clean -n 2 "$a" missing
fill $md 1
settle $md "$a"
first=$(uuid_of "$a")
for ((i = 1; i < 18; i++)); do
	quiet $md --add "${m[i]}"
	wait_letters $md UU
	quiet $md --fail "${m[i]}" --remove "${m[i]}"
	settle $md "$a"
	scatter $md "$i" 4 $((i * 100)) 100
	settle $md "$a"
	[ "$i" != 1 ] || first=$(uuid_of "${m[1]}")
done
want=$(sum $md)
assert_le "$(md_attr $md bitmap/members | wc -l)" 16 "members that are remembered"
log=$(dmesg_since "" | grep 'too many absent members, forgetting') || fail "nobody was forgotten, or it was not said"
assert_match "$(tr -d - <<<"$log")" "forgetting $first"
assert_eq "$(lacks $md "${m[1]}")" '' "map of the oldest"
for i in 3 10 17; do
	# each lacks what was written after it left
	assert_eq "$(lacks $md "${m[i]}")" $(((18 - i) * 4 * 4096)) "cost of member $i, bytes"
done
back() { # MEMBER KIB: comes back, gets that much, leaves
	count "$1"
	quiet $md --re-add "$1" || quiet $md --add "$1"
	whole $md UU "$a" "$1"
	came_back "$1" "$2"
	quiet $md --fail "$1" --remove "$1"
	settle $md "$a"
}
back "${m[17]}" 16
back "${m[3]}" 240
back "${m[1]}" 8192
md_stop $md

note "metadata 1.0 with little room: grains grow with the members to remember"
# 24 KiB between data and bitmap: two headers, and four blocks for maps. With
# grains of 4 KiB a map of 160 MiB takes two blocks, with 8 KiB one.
spare=96
for try in 1 2; do
	fresh_loops 6 "$((160 * 1024 + spare))K"
	mdcreate $md --metadata=1.0 --bitmap=internal --bitmap-chunk=64M --size=160M --assume-clean -n 2 "$a" "$b"
	settle $md "$a"
	quiet $md --fail "$b" --remove "$b"
	settle $md "$a"
	[ $try = 1 ] || break
	room=$(tool info "$T/m0.img" | sed -n 's/.* \([0-9]*\) bytes at .*/\1/p')
	md_stop $md
	spare=$((spare - room / 1024 + 24))
done
first=$(uuid_of "$b")
for ((i = 1; i < 6; i++)); do
	if [ $i -gt 1 ]; then
		quiet $md --add "${m[i]}"
		wait_letters $md UU
		settle $md "$a"
		quiet $md --fail "${m[i]}" --remove "${m[i]}"
	fi
	scatter $md "$i" 10 $((i * 5000)) 5000
	settle $md "$a"
	grain=$((i > 2 ? 8 : 4))
	assert_match "$(tool info "$T/m0.img" | head -n 1)" "grain shift $((i > 2 ? 4 : 3)),"
	for ((j = i > 4 ? 2 : 1; j <= i; j++)); do
		cost=$(($(lacks $md "${m[j]}") / 1024))
		assert_ge $cost $(((i - j + 1) * 40)) "cost of member $j, KiB"
		assert_le $cost $(((i - j + 1) * 10 * grain)) "cost of member $j, KiB"
	done
done
log=$(dmesg_since "")
assert_match "$log" "room for 4 member maps with grains of 8 KiB"
assert_match "$(tr -d - <<<"$log")" "too many absent members, forgetting $first"
assert_eq "$(lacks $md "$b")" '' "map of the oldest"
want=$(sum $md)
cost=$(($(lacks $md "${m[2]}") / 1024))
count "${m[2]}"
quiet $md --re-add "${m[2]}" || quiet $md --add "${m[2]}"
whole $md UU "$a" "${m[2]}"
came_back "${m[2]}" $cost
