#!/bin/bash
# about: a map that grew on some members only, when power was lost, is whole on all of them again
# timeout: 300
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 3 160M
a=${m[0]} b=${m[1]} c=${m[2]}
md=/dev/md0
sync_speed 100000 1000000

note "a member is away; what it lacks is in the first block of its map"
mdcreate $md --bitmap=internal --bitmap-chunk=64M --assume-clean -n 3 "$a" "$b" "$c"
settle $md "$a"
quiet $md --fail "$c" --remove "$c"
scatter $md 1 20 0 2000
settle $md "$a"
md_stop $md
tool save "$T/m0.img" "$T/before"
assemble $md "$a" "$b"
scatter $md 2 20 2000 2000
settle $md "$a"
md_stop $md

note "power was lost before the first member had the last growth of it"
tool load "$T/m0.img" "$T/before"
assemble $md "$a" "$b"
assert_eq "$(lacks $md "$c")" $((40 * 4096)) "bytes that are lacking"
# this is in the second block, and a header is written with it
scatter $md 3 5 33000 1000
settle $md "$b"
assert_eq "$(lacks $md "$c")" $((45 * 4096)) "bytes that are lacking"
want=$(sum $md)
md_stop $md

note "that member alone knows what is lacking"
assemble $md "$a"
assert_eq "$(lacks $md "$c")" $((45 * 4096)) "bytes that are lacking"
quiet $md --re-add "$c" || quiet $md --add "$c"
whole $md U_U "$a" "$c"
