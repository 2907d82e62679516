#!/bin/bash
# about: a member that was put back to an earlier state of itself is not taken for good
# timeout: 600
. "${0%/*}/lib.sh"
. "${0%/*}/lib-maps.sh"

load
loops 2 16M
a=${m[0]} b=${m[1]}
md=/dev/md0
sync_speed 100000 1000000

# create [OPTION...]: two members that are equal, in an array that stays active, so that
# event counts stand still
create() {
	blkdiscard -z "$a"
	blkdiscard -z "$b"
	mdcreate $md --bitmap=internal --bitmap-chunk=64K --size=12M --assume-clean "$@" -n 2 "$a" "$b"
	md_attr $md safe_mode_delay 0
	fill $md 1 0 2048
	settle $md "$a"
	settle $md "$a"
}
# image MEMBER FILE, put_back FILE MEMBER: all of it
image() { dd if="$1" of="$T/$2" bs=1M iflag=direct conv=sparse status=none; }
put_back() { dd if="$T/$1" of="$2" bs=1M oflag=direct conv=notrunc status=none; }
# later SEED: writes, and their bits are cleared; event counts are what they were
later() {
	local had
	had=$(events "$b")
	scatter $md "$1" 40 0 2000
	settle $md "$a"
	assert_eq "$(events "$b")" "$had" "event count"
}
# start_idle [OPTION...] MD MEMBER...: it may write, but nothing has a reason to
start_idle() {
	echo 0 >/sys/module/md_mod/parameters/start_ro
	md_assemble "$@"
	echo 1 >/sys/module/md_mod/parameters/start_ro
}
# has_events MEMBER COUNT
has_events() { [ "$(events "$1")" = "$2" ]; }
out() { quiet $md --fail "$1" --remove "$1"; }
# back MEMBER: it returns, and has everything then
back() {
	mark=$(dmesg_mark)
	count "$1"
	quiet $md --re-add "$1" || quiet $md --add "$1"
	whole $md UU "$a" "$1"
}
all=12288 # KiB

note "put back to before writes whose bits were cleared: everything is copied"
create
image "$b" early
later 2
out "$b"
scatter $md 3 10 0 2000
settle $md "$a"
want=$(sum $md)
put_back early "$b"
back "$b"
assert_ge "$(counted "$b")" $all "KiB copied"

note "as it was when it left: its map is enough"
later 4
out "$b"
scatter $md 5 10 0 2000
settle $md "$a"
want=$(sum $md)
image "$b" last
back "$b"
came_back "$b" 40

note "a stamp without a clock, as an older module leaves it: everything is copied"
later 6
out "$b"
tool unclock "$T/m1.img"
want=$(sum $md)
back "$b"
assert_ge "$(counted "$b")" $all "KiB copied"

note "those that are here were put back, the other was not: it is refused"
later 7
image "$a" early
later 8
later 9
out "$b"
md_stop $md
put_back early "$a"
assemble $md "$a"
want=$(sum $md)
before=$(md5sum <"$b")
mark=$(dmesg_mark)
quiet $md --re-add "$b" || true
wait_idle $md
assert_eq "$(md_letters $md)" U_ members
assert_match "$(dmesg_since "$mark")" "${b##*/} refused" "kernel log"
assert_eq "$(md5sum <"$b")" "$before" "MD5 of $b"
md_stop $md

note "put back while nobody saw it leave"
create
image "$b" early
later 2
later 3
image "$a" crashed
want=$(sum $md)
md_stop $md
put_back crashed "$a"
put_back early "$b"
assemble $md "$a"
back "$b"
assert_ge "$(counted "$b")" $all "KiB copied"
md_stop $md

note "put back, and assembled with the other: it is not in sync"
create
image "$b" early
later 2
image "$a" crashed
image "$b" crashed-too
want=$(sum $md)
md_stop $md
put_back crashed "$a"
put_back early "$b"
count "$b"
assemble $md "$a" "$b"
whole $md UU "$a" "$b"
assert_ge "$(counted "$b")" $all "KiB copied"
md_stop $md
note "... nor after a start and a stop that have come in between"
put_back crashed "$a"
put_back early "$b"
start_idle $md "$a" "$b"
md_stop $md
assemble $md "$a" "$b"
whole $md UU "$a" "$b"
md_stop $md
note "... which a crash alone does not make of it"
put_back crashed "$a"
put_back crashed-too "$b"
count "$b"
assemble $md "$a" "$b"
whole $md UU "$a" "$b"
assert_le "$(counted "$b")" 1024 "KiB copied"
md_stop $md

note "put back by one event, within one period of the clock: it is not read first"
create
image "$a" early
had=$(events "$b")
scatter $md 2 40 0 2000
want=$(sum $md)
# superblocks get another event, and no bit is cleared
md_attr $md array_state clean
# wakes md's thread, which writes them
pace $md 100
wait_for 10 has_events "$b" $((had + 1))
image "$b" crashed
assert_eq "$(tool clock "$T/crashed")" "$(tool clock "$T/early")" clock
md_stop $md
put_back early "$a"
put_back crashed "$b"
md_assemble --run $md "$a" "$b"
assert_eq "$(md_letters $md)" UU members
assert_eq "$(sum $md)" "$want" "content before the resync"
mdadm --quiet --readwrite $md
whole $md UU "$a" "$b"
md_stop $md

note "put back while the array was stopped, then started alone and stopped at once"
create
image "$a" early
later 2
want=$(sum $md)
md_stop $md
put_back early "$a"
start_idle --run $md "$a"
md_stop $md
assert_eq "$(events "$a")" $(($(events "$b") - 1)) "event count"
count "$a"
assemble $md "$a" "$b"
whole $md UU "$a" "$b"
assert_ge "$(counted "$a")" $all "KiB copied"
md_stop $md

note "put back while the array was stopped, and given its slot by sysfs before a crash"
create
image "$a" early
later 2
want=$(sum $md)
md_stop $md
put_back early "$a"
start_idle --run $md "$b"
md_attr $md sync_action frozen
cat "/sys/class/block/${a##*/}/dev" >/sys/block/md0/md/new_dev
echo 0 >"/sys/block/md0/md/dev-${a##*/}/slot"
image "$a" crashed
image "$b" crashed-too
# with its old superblock it has its old stamp: with a new one, it would look in sync
[ "$(events "$T/crashed")" != "$(events "$T/early")" ] ||
	assert_eq "$(tool clock "$T/crashed")" "$(tool clock "$T/early")" clock
md_attr $md sync_action idle
whole $md UU "$a" "$b"
md_stop $md
put_back crashed "$a"
put_back crashed-too "$b"
count "$a"
mdadm --quiet --assemble --run $md "$a" "$b"
mdadm --quiet --readwrite $md || true
wait_idle $md
if [ "$(md_letters $md)" = UU ]; then
	assert_ge "$(counted "$a")" $all "KiB copied"
	whole $md UU "$a" "$b"
else
	assert_eq "$(md_letters $md)" _U members
fi
md_stop $md

note "put back in the midst of its recovery"
create
out "$b"
scatter $md 2 500 0 2900
settle $md "$a"
want=$(sum $md)
sync_speed 100 100
quiet $md --re-add "$b"
copied() { [ "$(lacks $md "$b")" -lt "$1" ]; }
wait_for 60 copied $((490 * 4096))
image "$b" early
had=$(lacks $md "$b")
wait_for 60 copied $((had - 100 * 4096))
out "$b"
put_back early "$b"
sync_speed 100000 1000000
back "$b"
assert_ge "$(counted "$b")" $all "KiB copied"
md_stop $md

note "without room for maps"
create --data-offset=24K
image "$b" early
later 2
out "$b"
scatter $md 3 10 0 2000
want=$(sum $md)
put_back early "$b"
back "$b"
assert_ge "$(counted "$b")" $all "KiB copied"
