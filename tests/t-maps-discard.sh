#!/bin/bash
# about: a half that was used alone is taken in when told so: what both have written is copied
# timeout: 600
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 2 12M
a=${m[0]} b=${m[1]}
md=/dev/md0
attr=bitmap/discard_changes_of
sync_speed 100000 1000000
all=8192 # KiB

# create [OPTION...]: two equal members, all bits cleared
create() {
	mdcreate $md --bitmap=internal --bitmap-chunk=64K --size=8M "$@" -n 2 "$a" "$b"
	fill $md 1 0 4096
	settle $md "$a"
}
# alone SEED FIRST MEMBER: a session of it alone, which writes five blocks behind FIRST
alone() {
	md_assemble --run $md "$3"
	md_writable $md
	scatter $md "$1" 5 "$2" 500
	[ ! "$(md_attr $md bitmap/members 2>/dev/null)" ] || settle $md "$3"
	md_stop $md
}
# fork: each was used alone, and the array is assembled from the first
fork() {
	md_stop $md
	alone 2 0 "$a"
	alone 3 600 "$b"
	assemble $md "$a"
	want=$(sum $md)
}
# permit TEXT
permit() { echo "$1" >"/sys/block/${md##*/}/md/$attr"; }
# not_permitted TEXT: it is refused to permit that, and the log says why
not_permitted() {
	mark=$(dmesg_mark)
	if permit "$1" 2>/dev/null; then fail "'$1' was accepted"; fi
	assert_match "$(dmesg_since "$mark")" "$2" "kernel log"
	assert_eq "$(md_attr $md $attr)" none "what is permitted"
}
is_faulty() { mdadm -D $md | grep -q "faulty.*$b"; }
# refused: it is, and removed again
refused() {
	quiet $md --re-add "$b" || true
	wait_for 20 is_faulty
	quiet $md --remove "$b"
}
# back: it comes back, and is as the other
back() {
	count "$b"
	mark=$(dmesg_mark)
	quiet $md --re-add "$b" || quiet $md --add "$b"
	whole $md UU "$a" "$b"
	assert_eq "$(md_attr $md $attr)" none "what is permitted"
}

note "not without a UUID that makes sense"
create
fork
for text in '' yes 0123 "$(uuid_of "$b")0" "$(uuid_of "$b") " none,none; do
	not_permitted "$text" "takes the UUID of a member"
done
note "... of a member that is missed"
not_permitted 01234567:89abcdef:01234567:89abcdef "is missed or was refused"
not_permitted "$(uuid_of "$a")" "is a member of the array already"

note "what both halves have written is copied, and nothing else"
refused
permit "$(mdadm -E "$b" | sed -n 's/^ *Device UUID : //p')"
assert_eq "$(md_attr $md $attr | tr -d -)" "$(uuid_of "$b")" "what is permitted"
permit none
assert_eq "$(md_attr $md $attr)" none "what is permitted"
refused
permit "$(uuid_of "$b")"
back
assert_match "$(dmesg_since "$mark")" "$(printf '%s returns as of event [0-9]*, %d bytes to copy, its changes are discarded' "${b##*/}" $((10 * 4096)))" "kernel log"
came_back "$b" 40

note "once only"
fork
refused
permit "$(uuid_of "$b")"
back
fork
refused

note "what its bitmap has is copied as well: it was switched off"
md_stop $md
md_assemble --run $md "$b"
md_writable $md
scatter $md 4 3 1200 100
dd if="$b" of="$T/off" bs=1M iflag=direct status=none
md_stop $md
dd if="$T/off" of="$b" bs=1M oflag=direct conv=notrunc status=none
assemble $md "$a"
refused
permit "$(uuid_of "$b")"
back
came_back "$b" 52 512

note "its table is damaged: everything is copied"
fork
refused
tool zero "$T/m1.img" "$(tool at "$T/m1.img" header)" 4096
permit "$(uuid_of "$b")"
back
assert_ge "$(counted "$b")" $all "KiB copied"

note "it was put back to an earlier state before it was used alone: everything is copied"
md_stop $md
create
md_attr $md safe_mode_delay 0 # the array stays active, so that event counts stand still
scatter $md 6 5 0 500
settle $md "$a"
dd if="$b" of="$T/early" bs=1M iflag=direct status=none
scatter $md 7 5 1200 500
settle $md "$a"
dd if="$a" of="$T/off" bs=1M iflag=direct status=none
md_stop $md
dd if="$T/off" of="$a" bs=1M oflag=direct conv=notrunc status=none
dd if="$T/early" of="$b" bs=1M oflag=direct conv=notrunc status=none
assemble $md "$a"
fork
refused
permit "$(uuid_of "$b")"
back
assert_ge "$(counted "$b")" $all "KiB copied"

note "stock raid1 has run there: everything is copied"
fork
md_stop $md
unload
load_stock
alone 5 1200 "$b"
unload
load_ours
assemble $md "$a"
refused
permit "$(uuid_of "$b")"
back
assert_ge "$(counted "$b")" $all "KiB copied"

note "there are no maps: everything is copied"
md_stop $md
create --data-offset=24K
fork
refused
permit "$(uuid_of "$b")"
back
assert_ge "$(counted "$b")" $all "KiB copied"
