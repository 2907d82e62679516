#!/bin/bash
# about: loading and unloading, with Debian's raid1 before, after and beside it
# timeout: 180
. "${0%/*}/lib.sh"

loops 2 10M
a=${m[0]} b=${m[1]}
users() { awk -v m="$1" '$1 == m {print $3}' /proc/modules; }

note "loading registers the personality"
assert_fails grep -q '\[raid1\]' /proc/mdstat
modprobe md-mod
insmod /job/md-raid1.ko
assert_match "$(cat /proc/mdstat)" 'Personalities :.*\[raid1\]'
assert_eq "$(users md_raid1)" 0 "users of the module"

note "an array holds the module"
mdcreate /dev/md0 --bitmap=internal --assume-clean -n 2 "$a" "$b"
assert_ne "$(users md_raid1)" 0 "users of the module"
assert_fails rmmod md_raid1
assert_match "$(cat /proc/mdstat)" 'Personalities :.*\[raid1\]'
fill /dev/md0 1
want=$(sum /dev/md0)
assert_same "$a" "$b"

note "stock's module loaded afterwards changes nothing"
if [ -e /sys/block/md0/md/bitmap_type ]; then
	# md core of 7.x has one personality a level: it does not even load
	out=$(load_stock 2>&1) && fail "stock's module was loaded as well"
	assert_match "$out" "Device or resource busy" "error"
else
	load_stock
fi
fill /dev/md0 2 0 1024
md_stop /dev/md0
assert_eq "$(users md_raid1)" 0 "users of the module"
md_assemble /dev/md0 "$a" "$b"
assert_ne "$(users md_raid1)" 0 "users of md-raid1"
assert_match "$(users raid1)" "^0?\$" "users of raid1"
fill /dev/md0 1 0 1024
assert_eq "$(sum /dev/md0)" "$want" content
assert_same "$a" "$b"
md_stop /dev/md0

note "LVM's raid1 is refused with a line that tells what to do"
modprobe dm-raid
mark=$(dmesg_mark)
assert_fails dmsetup create --noudevsync mirror \
	--table "0 16384 raid raid1 2 1024 nosync 2 - $a - $b"
assert_match "$(dmesg_since "$mark")" \
	"md-raid1: [^ ]*: not started: LVM's raid1 .*: make uninstall, .* update-initramfs -u -k all and reboot"
dmsetup remove --noudevsync mirror 2>/dev/null || true

note "unloading leaves an array to nobody, or to stock's module"
rmmod md_raid1
load_stock
md_assemble /dev/md0 "$a" "$b"
assert_ne "$(users raid1)" 0 "users of raid1"
assert_eq "$(sum /dev/md0)" "$want" content

note "with stock's module loaded, ours says why it does not load"
for state in "serves an array" "is idle"; do
	mark=$(dmesg_mark)
	out=$(insmod /job/md-raid1.ko 2>&1) && fail "loaded while stock's module $state"
	assert_match "$out" "Device or resource busy" "error"
	assert_match "$(dmesg_since "$mark")" 'md-raid1: the kernel.s own raid1 is loaded .*rmmod raid1'
	assert_eq "$(users md_raid1)" "" "loaded"
	[ "$state" = "is idle" ] || md_stop /dev/md0
done
rmmod raid1
assert_fails grep -q '\[raid1\]' /proc/mdstat
assert_fails md_assemble /dev/md0 "$a" "$b"
mdadm --quiet --stop /dev/md0 || true

note "a module that was built for another kernel is refused, in one line"
kernel=$(uname -r)
sed "s/$kernel/9${kernel#?}/g" /job/md-raid1.ko >"$T/other.ko"
cmp -s /job/md-raid1.ko "$T/other.ko" && fail "the version is not where it was"
mark=$(dmesg_mark)
out=$(insmod "$T/other.ko" 2>&1) && fail "loaded"
assert_match "$out" "Invalid module format" "error"
said=$(dmesg_since "$mark")
kernel=${kernel//+/\\+}
assert_match "$said" "md_raid1: version magic '9${kernel#?} .* should be '$kernel |md-raid1: made for kernel 9${kernel#?}, and this is $kernel: " "log"
assert_eq "$(wc -l <<<"$said")" 1 "lines in the log"

note "load, use and unload again and again"
for i in 1 2 3; do
	insmod /job/md-raid1.ko
	md_assemble /dev/md0 "$a" "$b"
	assert_eq "$(md_letters /dev/md0)" UU
	[ "$i" -lt 3 ] || assert_eq "$(sum /dev/md0)" "$want" content
	md_stop /dev/md0
	assert_eq "$(users md_raid1)" 0 "users of the module"
	unload
done

# another NAME: as if it had been built with another structure in the place of md_rdev
another() {
	python3 - "$1" /job/md-raid1.ko "$T/another.ko" <<-'END'
		import sys
		name, ours, another = sys.argv[1:]
		with open(ours, "rb") as f:
		    data = f.read()
		assert b"\0md_rdev\0" in data
		data = data.replace(b"\0md_rdev\0", b"\0%s\0" % name.encode(), 1)
		with open(another, "wb") as f:
		    f.write(data)
	END
}
note "also if the kernel has the same name, and only other structures"
for name in kobject md_rdew; do
	another $name
	mark=$(dmesg_mark)
	out=$(insmod "$T/another.ko" 2>&1) && fail "loaded, with $name for md_rdev"
	assert_match "$out" "Invalid module format" "error"
	log=$(dmesg_since "$mark" | grep md-raid1)
	assert_match "$log" "made for another kernel, struct $name is different in this one: build it for this one" "log"
	assert_eq "$(wc -l <<<"$log")" 1 "lines that say so"
done
