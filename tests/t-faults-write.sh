#!/bin/bash
# about: failed writes and flushes: the member fails, nothing acknowledged is lost
# timeout: 600
# shellcheck disable=SC2119,SC2317 # load_ours needs no parameters; thawed calls ok
. "${0%/*}/lib.sh"
. "${0%/*}/lib-faults.sh"

load_ours
sync_speed 100000 1000000

# What the machine would find after a crash now: copies of the backing files,
# assembled under another name once md0 is stopped.
freeze() { local f; for f; do cp "$T/$f.img" "$T/$f.ice"; done; }
# thawed NAME... -- CMD...: CMD, with /dev/md0 made of the frozen members
thawed() {
	local devs=() f
	while [ "$1" != -- ]; do
		f=$(losetup --show -f "$T/$1.ice")
		devs+=("$f")
		shift
	done
	shift
	# Which of them is out of date, mdadm finds out: all are offered.
	md_assemble --run /dev/md0 "${devs[@]}" 2>/dev/null || md_assemble --run --force /dev/md0 "${devs[@]}"
	"$@"
	mdadm --quiet --readwrite /dev/md0
	wait_idle /dev/md0
	"$@"
	md_stop /dev/md0
	losetup -d "${devs[@]}"
}

a=$(member_loop a 12M)
b=$(member_loop b 12M)
x=$(dm_linear x "$b")

for bitmap in internal none; do
	for how in dead error_writes; do
		note "a member fails writes ($how), bitmap: $bitmap"
		dm_heal x "$b"
		mdcreate /dev/md0 --bitmap=$bitmap --assume-clean -n 2 "$a" "$x"
		fill /dev/md0 1 0 2048
		sleep 1
		# Silently, and just before the write: it is the first to notice.
		case $how in
		dead) dm_dead x "$b" ;;
		*) dm_flaky x "$b" $how ;;
		esac
		put /dev/md0 2 1000 64
		freeze a b
		assert_match "$(rdev_state /dev/md0 "$x")" faulty
		assert_eq "$(md_letters /dev/md0)" U_
		put /dev/md0 3 1100 64
		freeze a b
		assert_has /dev/md0 2 1000 64
		md_stop /dev/md0
		dm_heal x "$b"
		ok() { assert_has /dev/md0 2 1000 64; assert_has /dev/md0 3 1100 64; }
		thawed a b -- ok
		unload
		load_stock
		freeze a b
		thawed a b -- ok
		unload
		load_ours
	done
done

# An update of the superblock that takes long shows who does not wait for it.
z=$(dm_linear z "$a")
modprobe dm-delay
for meanwhile in nothing active; do
	note "the fault is recorded before the write is acknowledged; array_state gets: $meanwhile"
	dm_heal x "$b"
	mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$z" "$x"
	md_attr /dev/md0 safe_mode_delay 0
	put /dev/md0 1 1000 64
	{
		echo "0 16 delay $a 0 0 $a 0 4000"
		echo "16 $(($(sectors "$a") - 16)) linear $a 16"
	} | dm_table z
	dm_dead x "$b"
	if [ $meanwhile != nothing ]; then
		keystream 3 65536 >"$T/other"
		dd if="$T/other" of=/dev/md0 bs=64k oflag=direct conv=notrunc status=none &
		wait_for 20 is_faulty /dev/md0 "$x"
		# md core then takes it that superblocks have been written
		md_attr /dev/md0 array_state $meanwhile
	fi
	put /dev/md0 2 1000 64
	freeze a b
	assert_match "$(mdadm -E "$T/a.ice")" "Array State : A\. " "the superblock when the write was acknowledged"
	wait
	assert_has /dev/md0 2 1000 64
	dm_heal z "$a"
	md_stop /dev/md0
	dm_heal x "$b"
	ok() { assert_has /dev/md0 2 1000 64; }
	thawed a b -- ok
done
dmsetup remove --noudevsync z

note "the region of the bitmap cannot be written"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$x"
put /dev/md0 4 0 64
wait_for 20 bash -c "[ \"\$(mdadm -X $a | sed -n 's/.* \([0-9]*\) dirty.*/\1/p')\" = 0 ]"
sleep 1
at=$("${0%/*}/edit-sb.py" "$T/b.img" bitmap-at)
dm_bad x "$b" $((at / 512)) 8
put /dev/md0 5 2000 64
freeze a b
assert_match "$(rdev_state /dev/md0 "$x")" faulty
assert_has /dev/md0 5 2000 64
md_stop /dev/md0
dm_heal x "$b"
thawed a b -- assert_has /dev/md0 5 2000 64

note "flushes fail: the member fails, the data are not given up"
n=$(member_bad 0 12M)
# equal, as is said of them
blkdiscard -fz "$a"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$n" "$a"
put /dev/md0 6 0 64
bad 0 fail=flush
keystream 7 65536 >"$T/put"
in_time 90 dd if="$T/put" of=/dev/md0 bs=64k oflag=direct conv=fsync,notrunc status=none
assert_match "$(rdev_state /dev/md0 "$n")" faulty
assert_eq "$(md_letters /dev/md0)" _U
freeze a bad0
assert_has /dev/md0 7 0 64
bad 0
mdadm --quiet /dev/md0 --remove "$n"
mdadm --quiet /dev/md0 --re-add "$n"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$n" "$a"

note "FUA fails: the same"
bad 0 fail-fua
wait_for 30 bash -c "
	dd if=/dev/zero of=/dev/md0 bs=4k count=1 oflag=direct,dsync conv=notrunc status=none
	grep -q faulty /sys/block/md0/md/dev-${n##*/}/state"
put /dev/md0 8 512 4
freeze a bad0
assert_has /dev/md0 8 512 4
bad 0
mdadm --quiet /dev/md0 --remove "$n"
mdadm --quiet /dev/md0 --re-add "$n"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$n" "$a"

note "a member dies and loses what it had not flushed"
md_attr /dev/md0 bitmap/time_base 1
put /dev/md0 9 4000 256
put /dev/md0 10 6000 256
bad_die 0
put /dev/md0 11 6100 4
assert_match "$(rdev_state /dev/md0 "$n")" faulty
mdadm --quiet /dev/md0 --remove "$n" 2>/dev/null || mdadm --quiet /dev/md0 --remove failed
# Were the bits cleared meanwhile? No: a member is away.
sleep 4
n=$(member_bad 0 12M)
mdadm --quiet /dev/md0 --re-add "$n"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$n" "$a"
assert_has /dev/md0 9 4000 256

note "a member fails while it is recovered"
mdadm --quiet /dev/md0 --fail "$n" --remove "$n"
bad 0 bad-write=$(($(data_offset "$a") + 10000)),8
mark=$(dmesg_mark)
# A new one, or only what was changed would be copied.
mdadm --quiet --zero-superblock "$n"
mdadm --quiet /dev/md0 --add "$n"
wait_for 60 is_faulty /dev/md0 "$n"
wait_idle /dev/md0
assert_eq "$(md_letters /dev/md0 | tr -d _)" U
put /dev/md0 12 100 4
assert_has /dev/md0 12 100 4
assert_has /dev/md0 9 4000 256
sleep 2
assert_le "$(dmesg_since "$mark" | grep -cE "recover(y)? of RAID array")" 2 "attempts"
bad 0
mdadm --quiet /dev/md0 --remove "$n"
mdadm --quiet /dev/md0 --add "$n"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$n" "$a"
md_stop /dev/md0

note "both fail at once: an error, no hang, and usable afterwards"
y=$(dm_linear y "$a")
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$y" "$x"
put /dev/md0 13 0 64
sleep 1
for t in x y; do
	dmsetup suspend --nolockfs --noflush --noudevsync $t
	echo "0 $(sectors "/dev/mapper/$t") error" | dmsetup load $t
done
keystream 14 65536 >"$T/put"
timeout -k 5 60 dd if="$T/put" of=/dev/md0 bs=64k seek=2 oflag=direct conv=notrunc status=none 2>"$T/err" &
sleep 1
dmsetup resume --noudevsync x
dmsetup resume --noudevsync y
status=0
wait $! || status=$?
assert_eq $status 1 "a write that no member has"
assert_eq "$(md_letters /dev/md0 | tr -d _)" U "members that stay"
if in_time 60 dd if=/dev/md0 of=/dev/null bs=64k count=1 iflag=direct status=none 2>/dev/null; then
	fail "read from nowhere"
fi
dm_heal x "$b"
dm_heal y "$a"
assert_has /dev/md0 13 0 64
put /dev/md0 15 128 64
assert_has /dev/md0 15 128 64
in_time 60 mdadm --quiet --stop /dev/md0
assemble /dev/md0 "$y" "$x"
assert_has /dev/md0 13 0 64
assert_has /dev/md0 15 128 64

note "the last member in sync fails a write that one which is being recovered has got"
md_stop /dev/md0
mdcreate /dev/md0 --bitmap=internal --bitmap-chunk=64K --assume-clean --size=8M -n 2 "$x" "$y"
mdadm --quiet /dev/md0 --fail "$y" --remove "$y"
fill /dev/md0 4
md_attr /dev/md0 sync_max 8192
mdadm --quiet /dev/md0 --re-add "$y"
copied() { [[ $(md_attr /dev/md0 sync_completed) =~ ^[0-9]+ ]] && [ "${BASH_REMATCH[0]}" -ge 6144 ]; }
wait_for 30 copied
dm_flaky x "$b" error_writes
assert_fails dd if=/dev/urandom of=/dev/md0 bs=4k seek=20 count=1 oflag=direct status=none
dm_heal x "$b"
md_attr /dev/md0 sync_max max
assert_match "$(rdev_state /dev/md0 "$y")" faulty
removed() { mdadm --quiet /dev/md0 --remove "$y" 2>/dev/null; }
wait_for 10 removed
mdadm --quiet /dev/md0 --re-add "$y"
wait_letters /dev/md0 UU
wait_idle /dev/md0
assert_same "$x" "$y"
md_stop /dev/md0

# Or whoever was away would look as new as this one, and be believed.
note "who cannot record that others are away takes no write"
dm_heal x "$b"
dm_heal y "$a"
mdcreate /dev/md0 --bitmap=none --assume-clean --size=8M -n 2 "$x" "$y"
fill /dev/md0 4
md_stop /dev/md0
assemble /dev/md0 "$x"
modprobe dm-flakey
printf '0 8 linear %s 0\n8 8 flakey %s 8 0 3600 1 error_writes\n16 %s linear %s 16\n' \
	"$b" "$b" "$(($(sectors "$b") - 16))" "$b" | dm_table x
for i in 1 2 3; do
	assert_fails put /dev/md0 5 1000 64
done
dm_heal x "$b"
put /dev/md0 6 1000 64
md_stop /dev/md0
assemble /dev/md0 "$x" "$y"
[[ $(rdev_state /dev/md0 "$y") != *in_sync* ]] || fail "who was away is back, in sync"
assert_has /dev/md0 6 1000 64
md_stop /dev/md0

# Or both would look clean after a crash, and differ.
note "... nor who cannot record that another one has failed"
mdcreate /dev/md0 --bitmap=none --assume-clean --size=8M -n 2 "$x" "$y"
md_attr /dev/md0 safe_mode_delay 0.01
fill /dev/md0 4
idle() { [ "$(md_attr /dev/md0 array_state)" = clean ]; }
wait_for 20 idle
printf '0 8 linear %s 0\n8 8 flakey %s 8 0 3600 1 error_writes\n16 %s linear %s 16\n' \
	"$b" "$b" "$(($(sectors "$b") - 16))" "$b" | dm_table x
rdev_attr /dev/md0 "$y" state faulty
for i in 1 2 3; do
	assert_fails put /dev/md0 5 1000 64
done
off=$(($(data_offset "$y") / 2 + 1000))
dd if="$x" bs=64k skip=$((off * 1024)) count=1 iflag=direct,skip_bytes status=none of="$T/x"
dd if="$y" bs=64k skip=$((off * 1024)) count=1 iflag=direct,skip_bytes status=none of="$T/y"
cmp "$T/x" "$T/y" || fail "a write that was refused was sent"
dm_heal x "$b"
put /dev/md0 6 1000 64
assert_has /dev/md0 6 1000 64
assert_match "$(rdev_state /dev/md0 "$y")" faulty
md_stop /dev/md0
mdadm --quiet --zero-superblock "$x" "$y"

note "a member that fails the first write of a new bitmap can return"
mdcreate /dev/md0 --bitmap=internal --assume-clean --size=8M -n 2 "$x" "$y"
place=$(md_attr /dev/md0 bitmap/location)
md_attr /dev/md0 bitmap/location none
md_attr /dev/md0 safe_mode_delay 0.01
for i in 1 2 3; do
	put /dev/md0 $i 1000 64
	sleep 0.5
done
printf '0 16 linear %s 0\n16 8 flakey %s 16 0 3600 1 error_writes\n24 %s linear %s 24\n' \
	"$b" "$b" "$(($(sectors "$b") - 24))" "$b" | dm_table x
assert_eq "$place" "+8"
md_attr /dev/md0 bitmap/location "$place"
wait_for 20 is_faulty /dev/md0 "$x"
dm_heal x "$b"
put /dev/md0 5 2000 64
wait_for 20 mdadm --quiet /dev/md0 --remove "$x"
mdadm --quiet /dev/md0 --re-add "$x"
wait_letters /dev/md0 UU
wait_idle /dev/md0
md_stop /dev/md0
assert_same "$x" "$y"
