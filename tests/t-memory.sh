#!/bin/bash
# about: a machine with little memory: what an array takes of it, for bits and maps together
# timeout: 300
# machine: own --mem 416
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
md=/dev/md0
# Sparse members of 3 TiB of data, with room for 16 maps of the finest grains.
loops 2 4T
a=${m[0]} b=${m[1]}
budget=$(awk '/^MemTotal/ {print int($2 / 64)}' /proc/meminfo)
logged() { dmesg_since "$mark" | grep -qE "$1"; }
# areas: KiB that the module has from vmalloc(), as bits and maps are
areas() { awk '/md_raid1/ {n += $2} END {print int(n / 1024)}' /proc/vmallocinfo; }
fits() {
	local n
	n=$(areas)
	assert_gt "$n" 500 "KiB of bits and maps"
	assert_le "$n" "$budget" "KiB of bits and maps"
	note "... $n KiB"
}
# start: with one of the members, to be written to
start() {
	mark=$(dmesg_mark)
	md_assemble --run $md "$a"
	mdadm --quiet --readwrite $md 2>/dev/null || true
}
shift_of() { tool info "$1" | sed 's/.*grain shift \([0-9]*\),.*/\1/;q'; }

note "a new array: not more than a 64th of the memory, $budget KiB"
mdcreate $md --bitmap=internal --bitmap-chunk=64M --data-offset=1T --assume-clean -n 2 "$a" "$b"
md_writable $md
fits

note "a member is away, and is known after the next start"
settle $md "$a"
mdadm --quiet $md --fail "$b" --remove "$b"
scatter $md 2 20 1000 100000
settle $md "$a"
fits
lacked=$(lacks $md "$b")
assert_gt "$lacked" 0 "bytes that it lacks"
shift=$(shift_of "$T/m0.img")
assert_match "$(tool info "$T/m0.img")" "quota (2|4|8|16)," "room for maps"
md_stop $md
start
fits
assert_eq "$(lacks $md "$b")" "$lacked" "bytes that it lacks"
md_stop $md

note "a table of another machine, with coarser grains than this one would have: it counts"
tool craft "$T/m0.img" $((shift + 1)) 1 1
start
fits
if logged "makes no sense|no memory"; then fail "it was ignored"; fi
assert_ge "$(lacks $md "$b")" "$lacked" "bytes that it lacks"
md_stop $md
assert_eq "$(shift_of "$T/m0.img")" $((shift + 1)) "grains"

note "one of a machine with more memory, 16 maps of 4 MiB: it is ignored"
tool craft "$T/m0.img" 8 16 16
start
fits
logged "no memory for the member maps, they are ignored" || fail "no line about it"
assert_eq "$(md_letters $md)" U_
md_stop $md
