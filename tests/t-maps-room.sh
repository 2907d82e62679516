#!/bin/bash
# about: a member without room for the table of maps does not cost the others theirs
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 3 16M
a=${m[0]} b=${m[1]} c=${m[2]}
md=/dev/md0
sync_speed 100000 1000000
out() { quiet $md --fail "$1" --remove "$1"; }
back() {
	count "$1"
	mark=$(dmesg_mark)
	quiet $md --re-add "${@:2}" "$1" || quiet $md --add "$1"
	wait_idle $md
	assert_match "$(dmesg_since "$mark")" "${1##*/} joins slot" "kernel log"
}
all=12288 # KiB

note "a member gets a bad-block log where the table is on the others"
mdcreate $md --bitmap=internal --bitmap-chunk=64K --size=12M --assume-clean -n 3 "$a" "$b" "$c"
fill $md 1 0 1024
settle $md "$a"
out "$b"
back "$b" --update=bbl
assert_match "$(dmesg_since "$mark")" "${b##*/} has no room for the member maps" "kernel log"
out "$c"
scatter $md 2 20 0 2000
settle $md "$a"
assert_eq "$(lacks $md "$c")" $((20 * 4096)) "bytes that are lacking"
want=$(sum $md)

note "... and the maps are there at the next start"
md_stop $md
mark=$(dmesg_mark)
assemble $md "$a" "$b"
assert_match "$(dmesg_since "$mark")" "${b##*/} has no room for the member maps" "kernel log"
assert_eq "$(lacks $md "$c")" $((20 * 4096)) "bytes that are lacking"
back "$c"
whole $md UUU "$a" "$b" "$c"
came_back "$c" 80

note "while the array runs, that member alone remembers what the others lack"
out "$c"
scatter $md 3 20 0 2000
settle $md "$a"
out "$a"
scatter $md 4 20 2000 500
settle $md "$b"
assert_eq "$(lacks $md "$a")" $((20 * 4096)) "bytes that are lacking"
want=$(sum $md)
back "$a"
whole $md UU_ "$a" "$b"
came_back "$a" 80

note "... but not over a stop: then they are copied in full"
out "$a"
scatter $md 5 20 0 2000
settle $md "$b"
want=$(sum $md)
md_stop $md
assemble $md "$b"
back "$a"
whole $md UU_ "$a" "$b"
assert_ge "$(counted "$a")" $all "KiB copied"
back "$c"
whole $md UUU "$a" "$b" "$c"
assert_ge "$(counted "$c")" $all "KiB copied"
