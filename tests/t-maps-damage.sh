#!/bin/bash
# about: a damaged, foreign or old table of member maps costs copying, nothing else
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 3 24M
a=${m[0]} b=${m[1]} c=${m[2]}
md=/dev/md0
sync_speed 100000 1000000
files=$T/m0.img,$T/m1.img
full=$((20 * 1024))

# So that c lacks something, and a table says what: 20 blocks in the first
# sector of its map (grains 0 to 3967), 20 in the second (to 5119).
away() {
	quiet $md --fail "$c" --remove "$c"
	scatter $md "$1" 20 0 3968
	scatter $md "$1" 20 3968 1152
	settle $md "$a"
	want=$(sum $md)
}
snapshot() {
	local i
	for i in 0 1 2; do cp --sparse=always "$T/m$i.img" "$T/m$i.$1"; done
}
restore() {
	local i
	for i in 0 1 2; do
		blkdiscard -f "${m[i]}" 2>/dev/null
		dd if="$T/m$i.$1" of="$T/m$i.img" bs=64k conv=notrunc,sparse status=none
	done
}

# returns LEAST MOST LINES: c comes back to a and b, and gets that many KiB;
# the log says LINES times that something is ignored or damaged
returns() {
	local mark n
	mark=$(dmesg_mark)
	assemble $md "$a" "$b"
	count "$c"
	quiet $md --re-add "$c" || quiet $md --add "$c"
	whole $md UUU "$a" "$b" "$c"
	n=$(counted "$c")
	assert_ge "$n" "$1" "KiB copied"
	assert_le "$n" "$2" "KiB copied"
	n=$(dmesg_since "$mark" | grep -cE 'table of member maps is damaged|sectors of the member maps are damaged|makes no sense') || true
	assert_eq "$n" "$3" "lines in the log"
	md_stop $md
}

note "create; what it costs when nothing is damaged"
mdcreate $md --bitmap=internal --bitmap-chunk=64M --size=20M --assume-clean -n 3 "$a" "$b" "$c"
scatter $md 1 100 0 5120
settle $md "$a"
away 2
cuuid=$(uuid_of "$c")
md_stop $md
tool info "$T/m0.img"
snapshot away
returns 160 500 0

header=$(tool at "$T/m0.away" header)
map=$(tool at "$T/m0.away" map "$cuuid")

note "damaged on one member: the other one's is good"
restore away
tool flip "$T/m0.img" $((header + 100))
tool flip "$T/m1.img" $((map + 10))
returns 160 500 0

# magic, crc, grain, generation, grains, blocks, array, entry (UUID, events,
# flags), and some of the rest
places=(0 9 12 17 24 32 41 "$((128 + 3))" "$((128 + 16))" "$((128 + 48))" 300 4095)
note "${#places[@]} places in the header"
for at in "${places[@]}"; do
	restore away
	tool flip $files $((header + at))
	returns $full $((full + 500)) 1
done

note "places in the map: the grains of that sector are copied"
for at in 0 495 499; do
	restore away
	tool flip $files $((map + at))
	returns $((3968 * 4)) $((3968 * 4 + 80 + 500)) 1
	restore away
	tool flip $files $((map + 512 + at))
	returns $((1152 * 4)) $((1152 * 4 + 80 + 500)) 1
done

note "what is not used does not matter"
for at in "$(tool at "$T/m0.away" other)" $((map + 511)); do
	restore away
	tool flip $files "$at"
	returns 160 500 0
done

note "zeroed, in parts and as a whole"
table=$(tool at "$T/m0.away" table) end=$(tool at "$T/m0.away" end)
restore away
tool zero $files "$table" $((end - table))
returns $full $((full + 500)) 1
restore away
tool zero $files "$map" $((end - map))
returns $full $((full + 500)) 1
restore away
tool zero $files "$header" 512
returns $full $((full + 500)) 1
restore away
tool zero $files $((map + 512)) $((end - map - 512))
returns $((1152 * 4)) $((1152 * 4 + 80 + 500)) 1

note "the stamp"
stamp=$(tool at "$T/m0.away" stamp)
for at in 0 4 8 24 32; do
	restore away
	tool flip $files $((stamp + at))
	# how often this is said depends on what the stamp says then
	assemble $md "$a" "$b"
	quiet $md --re-add "$c" || quiet $md --add "$c"
	whole $md UUU "$a" "$b" "$c"
	md_stop $md
done

note "an old copy of the table: from before it grew, from an absence before"
restore away
assemble $md "$a" "$b"
for i in 0 1; do tool save "$T/m$i.img" "$T/old$i"; done
# other blocks than before
scatter $md 20 20 0 3968
scatter $md 21 20 3968 1152
settle $md "$a"
want=$(sum $md)
md_stop $md
for i in 0 1; do
	cmp -s <(tool save "$T/m$i.img" /dev/stdout) "$T/old$i" && fail "the table did not change"
	tool load "$T/m$i.img" "$T/old$i"
done
returns $full $((full + 500)) 1
assemble $md "$a" "$b" "$c"
away 22
md_stop $md
tool load $files "$T/old0"
returns $full $((full + 500)) 1

note "the table of another array"
assemble $md "$a" "$b" "$c"
away 23
md_stop $md
snapshot mine
for i in 0 1 2; do blkdiscard -f "${m[i]}" 2>/dev/null; done
mdcreate $md --bitmap=internal --bitmap-chunk=64M --size=20M --assume-clean -n 3 "$a" "$b" "$c"
mine=$want
away 24
md_stop $md
tool save "$T/m0.img" "$T/other"
restore mine
want=$mine
tool load $files "$T/other"
returns $full $((full + 500)) 1
