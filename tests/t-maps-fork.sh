#!/bin/bash
# about: a half that was used alone is refused, whatever its event count, and not written to
# timeout: 600
# shellcheck disable=SC2119 # load_ours needs no parameters
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 4 12M
a=${m[0]} b=${m[1]} c=${m[2]} d=${m[3]}
md=/dev/md0
sync_speed 100000 1000000

# create N MEMBER...: with N slots and content, all bits cleared
create() {
	mdcreate $md --bitmap=internal --bitmap-chunk=64K --assume-clean -n "$@"
	fill $md 1 0 4096
	settle $md "$2"
}
# alone SEED MEMBER...: a session of these without the others, which writes
alone() {
	md_assemble --run $md "${@:2}"
	md_writable $md
	scatter $md "$1" 5 0 1024
	md_stop $md
}
# ahead MEMBER: so many sessions without the others that its event count is above
# theirs; otherwise md core may refuse it before it is looked at
ahead() {
	local seed
	for seed in 3 5 6 7; do alone $seed "$1"; done
}
# refused MEMBER CMD...: the command leaves the member as it is, and out
refused() {
	local mark before writes letters
	letters=$(md_letters $md)
	before=$(md5sum <"$1")
	writes=$(bytes_written "$1")
	mark=$(dmesg_mark)
	"${@:2}" 2>/dev/null || true
	wait_idle $md
	assert_eq "$(md_letters $md)" "$letters" members
	assert_match "$(dmesg_since "$mark")" "${1##*/} refused: it was changed elsewhere" "kernel log"
	assert_eq "$(bytes_written "$1")" "$writes" "bytes written to $1"
	assert_eq "$(md5sum <"$1")" "$before" "MD5 of $1"
	assert_eq "$(sum $md)" "$want" content
	quiet $md --remove "$1" || quiet $md --remove failed || true
}
# told: what mdadm --incremental has to know, in $T/mdadm.conf
told() {
	mdadm --detail --brief $md | sed 's,^ARRAY [^ ]*,ARRAY /dev/md0,' >"$T/mdadm.conf"
	echo POLICY action=re-add >>"$T/mdadm.conf"
}

note "each half was used alone: by hand, and as udev does it"
create 2 "$a" "$b"
told
md_stop $md
alone 2 "$a"
alone 3 "$b"
assemble $md "$a"
want=$(sum $md)
refused "$b" mdadm --quiet $md --re-add "$b"
refused "$b" mdadm --quiet --incremental --config="$T/mdadm.conf" "$b"
note "... and again, with the event count of the other half ahead"
scatter $md 4 20 0 1024
settle $md "$a"
want=$(sum $md)
md_stop $md
ahead "$b"
assemble $md "$a"
refused "$b" mdadm --quiet $md --re-add "$b"
note "... or behind"
md_stop $md
for seed in 8 9 10 11 12 13; do alone $seed "$a"; done
assemble $md "$a"
want=$(sum $md)
before=$(md5sum <"$b")
# md core may refuse it before it is looked at
quiet $md --re-add "$b" || true
wait_idle $md
assert_eq "$(md_letters $md)" U_ members
assert_eq "$(md5sum <"$b")" "$before" "MD5 of $b"
md_stop $md

note "zeroed, it is as good as any other"
mdadm --quiet --zero-superblock "$b"
assemble $md "$a"
quiet $md --add "$b"
whole $md UU "$a" "$b"
md_stop $md

note "two of three were used, and then the third"
create 3 "$a" "$b" "$c"
md_stop $md
alone 2 "$a" "$b"
alone 3 "$c"
assemble $md "$a" "$b"
want=$(sum $md)
refused "$c" mdadm --quiet $md --re-add "$c"
note "... from the other side: each of the two is refused"
md_stop $md
assemble $md "$c"
want=$(sum $md)
refused "$a" mdadm --quiet $md --re-add "$a"
refused "$b" mdadm --quiet $md --re-add "$b"
md_stop $md

note "its map was forgotten for lack of room"
# superblock, bitmap, and a table with one map, ahead of the data
small=(--data-offset=28K --size=8M)
mdcreate $md --bitmap=internal --bitmap-chunk=64K --assume-clean -n 3 "${small[@]}" "$a" "$b" "$c"
settle $md "$a"
n=0
for x in "$c" "$b"; do
	quiet $md --fail "$x" --remove "$x"
	scatter $md $((n += 1)) 20 0 1024
	settle $md "$a"
	[ "$x" != "$c" ] || assert_ne "$(lacks $md "$c")" "" "map of $c"
done
assert_eq "$(lacks $md "$c")" "" "map of $c, after $b left"
want=$(sum $md)
md_stop $md
ahead "$c"
assemble $md "$a"
refused "$c" mdadm --quiet $md --re-add "$c"
md_stop $md

note "its map is void after a session of stock raid1"
create 2 "$a" "$b"
quiet $md --fail "$b" --remove "$b"
scatter $md 2 20 0 1024
settle $md "$a"
md_stop $md
ahead "$b"
unload
load_stock
alone 4 "$a"
unload
load_ours
assemble $md "$a"
want=$(sum $md)
refused "$b" mdadm --quiet $md --re-add "$b"
md_stop $md

note "there is no room for maps"
mdcreate $md --bitmap=internal --bitmap-chunk=64K --assume-clean -n 2 --data-offset=24K --size=8M "$a" "$b"
assert_eq "$(md_attr $md bitmap/members 2>/dev/null)" "" "maps"
md_stop $md
alone 2 "$a"
ahead "$b"
assemble $md "$a"
want=$(sum $md)
refused "$b" mdadm --quiet $md --re-add "$b"

note "a spare, a member of another array, a member that was being recovered: as ever"
md_stop $md
create 2 "$a" "$b"
quiet $md --fail "$b" --remove "$b"
sync_speed 10 10
quiet $md --add "$c"
wait_letters $md U_
quiet $md --fail "$c" --remove "$c"
md_stop $md
mdcreate /dev/md1 --bitmap=internal --assume-clean -n 2 "$d" missing
md_stop /dev/md1
sync_speed 100000 1000000
assemble $md "$a"
want=$(sum $md)
for x in "$c" "$d" "$b"; do
	quiet $md --re-add "$x" || quiet $md --add "$x"
	whole $md UU "$a" "$x"
	quiet $md --fail "$x" --remove "$x"
done
