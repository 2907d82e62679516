#!/bin/bash
# about: a full Debian: the README's recipes, udev, fstab, a SCSI and an nbd member, LVM
# timeout: 1500
# kernel: stable
# where: host
set -euo pipefail
# shellcheck source=tests/lib-full.sh
. "${0%/*}/lib-full.sh"

# in the machine ---------------------------------------------------------------

# What others make of an array. What differs from boot to boot is left out: names of
# disks, and whether the file system has just written.
view() { view_raw "$1" | sed -E 's/sd[a-z]+/sdX/g; s/[0-9]+ [0-9]+ ([0-9]+ active sync)/\1/; s/State : (active|clean) */State : good/'; }

view_raw() {
	local name=$1
	echo "-- mdadm"
	mdadm --detail "/dev/$name" | grep -E 'Version|Level|Array Size|Raid Devices|Total|Persist|Bitmap|State :|Active|Working|Failed|Spare|Consistency|active sync' |
		sed 's/  */ /g'
	echo "-- node_exporter"
	python3 - "$name" <<-'PYTHON'
		import sys, urllib.request
		text = urllib.request.urlopen("http://127.0.0.1:9100/metrics").read().decode()
		print(*sorted(line for line in text.splitlines()
		              if line.startswith("node_md_") and f'"{sys.argv[1]}"' in line), sep="\n")
	PYTHON
	echo "-- udisks"
	udisksctl info -b "/dev/$name" | grep -E 'IdUsage|IdType|Size:|MDRaid:' | sed 's/  */ /g'
	busctl --no-pager introspect org.freedesktop.UDisks2 \
		"$(busctl --no-pager tree --list org.freedesktop.UDisks2 | grep -m1 mdraid/)" \
		org.freedesktop.UDisks2.MDRaid | grep -E '^\.(Level|NumDevices|Degraded|SyncAction|Running|BitmapLocation|ActiveDevices) ' |
		sed 's/  */ /g'
	echo "-- mdmonitor"
	systemctl is-active mdmonitor.service
}

same_view() {
	view "$1" >/run/view
	diff -u "/root/view-$1" /run/view || fail "another view of $1 than on stock"
	grep -c . /run/view
}

# What mdmonitor reports of a member that fails and returns. It is woken when arrays
# change, but looks again after a minute only if it was too early.
events() {
	local name=$1 disk
	disk=$(disk sb)
	: >/run/md-events
	mdadm -q "/dev/$name" --fail "$disk"
	wait_until 150 grep -q '^Fail ' /run/md-events
	mdadm -q "/dev/$name" --remove "$disk"
	mdadm -q "/dev/$name" --re-add "$disk"
	wait_until 150 grep -q '^SpareActive ' /run/md-events
	wait_until 60 state_is "$name" UU
	# how much a return takes decides whether its progress is told of
	sed -E '/^Rebuild/d; s/sd[a-z]+/sdX/g' /run/md-events
}

sums() { sha256sum -c --quiet /root/sums || fail "other data than before"; }

# Arrays as an administrator makes them, on the kernel's own raid1; then the recipe.
install_it() {
	# mdmonitor has each event written down.
	printf '#!/bin/sh\necho "$@" >>/run/md-events\n' >/usr/local/sbin/md-event
	chmod 755 /usr/local/sbin/md-event
	echo 'PROGRAM /usr/local/sbin/md-event' >>/etc/mdadm/mdadm.conf
	mdadm --create /dev/md0 --run -l1 -n2 --bitmap=internal --assume-clean "$(disk sa)" "$(disk sb)"
	mkfs.ext4 -q /dev/md0
	mkdir -p /srv/data
	echo "UUID=$(blkid -o value -s UUID /dev/md0) /srv/data ext4 defaults 0 2" >>/etc/fstab
	mdadm --detail --scan >>/etc/mdadm/mdadm.conf
	recipe 'Members that come back' 1 >>/etc/mdadm/mdadm.conf
	systemctl daemon-reload
	mount -a
	dd if=/dev/urandom of=/srv/data/file bs=1M count=40 status=none
	sync
	sha256sum /srv/data/file >/root/sums
	serves md0 raid1
	wait_until 60 mdadm --wait-clean /dev/md0
	view md0 >/root/view-md0
	cat /root/view-md0
	grep -q 'node_md_disks_required{device="md0"} 2' /root/view-md0 || fail "no view by node_exporter"
	grep -q 'Level property s "raid1"' /root/view-md0 || fail "no view by udisks"
	events md0 >/root/events-md0
	cat /root/events-md0

	follow 'Use it' 1
	grep -x 'softdep raid1 pre: md_raid1' /etc/modprobe.d/md-raid1.conf
	lsinitramfs "/boot/initrd.img-$(uname -r)" | grep -E '/(md-)?raid1\.ko'
	# without a reboot: nothing that is in use is on RAID-1 here
	follow 'Use it' 3
	serves md0 md-raid1
	sums
	dmesg | grep -q 'md_raid1: loading out-of-tree module taints kernel' || fail "another message than the README tells"
	dmesg | grep -q 'md_raid1: module verification failed: signature and/or required key missing' ||
		fail "another message of the signature than the README tells"
}

# After the reboot: all of it by udev and systemd, and members that come back.
use_it() {
	serves md0 md-raid1
	state_is md0 UU
	findmnt -n /srv/data | grep /dev/md
	lsmod | grep -E '^(md_)?raid1 '
	sums
	wait_until 60 mdadm --wait-clean /dev/md0
	same_view md0
	events md0 >/run/events
	diff -u /root/events-md0 /run/events || fail "mdmonitor reports other events than on stock"

	local sb host bytes
	sb=$(basename "$(disk sb)")
	host=$(basename "$(readlink -f "/sys/block/$sb/device/../..")")
	echo 1 >"/sys/block/$sb/device/delete"
	dd if=/dev/urandom of=/srv/data/more bs=1M count=1 conv=fsync status=none
	state_is md0 U_ || fail "the member is not gone"
	sha256sum /srv/data/more >>/root/sums
	echo '- - -' >"/sys/class/scsi_host/$host/scan"
	wait_until 60 state_is md0 UU
	bytes=$(bytes_to_copy md0)
	echo "a SCSI disk returned by itself: $bytes bytes"
	[ "$bytes" -le $((3 << 20)) ] || fail "more than it lacks"

	nbd_member
	lvm_refused

	# and back again: nothing is converted
	mount -o remount,ro /srv/data
	follow 'Go back' 2
	serves md0 raid1
	sums
	[ ! -e /etc/modprobe.d/md-raid1.conf ] || fail "the softdep is still there"
	! find /lib/modules -name 'md-raid1.ko*' | grep . || fail "the module is still there"

	# LVM needs the kernel's own raid1, so an installation leaves it alone
	lvcreate -q -y --type raid1 -m1 -L 64M -n mirror vg
	mkfs.ext4 -q /dev/vg/mirror
	mkdir /srv/mirror
	echo '/dev/vg/mirror /srv/mirror ext4 defaults 0 2' >>/etc/fstab
	follow 'Use it' 1 | tee /run/said
	grep "LVM's raid1" /run/said || fail "nothing is said of LVM"
	! grep -qs '^softdep' /etc/modprobe.d/md-raid1.conf || fail "a softdep beside LVM"
}

nbd_server() {
	printf '[generic]\nlistenaddr = 127.0.0.1\n[md]\nexportname = /var/tmp/nbd.img\n' >/run/nbd.conf
	nbd-server -C /run/nbd.conf -p /run/nbd.pid
	wait_until 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/10809'
}

# By the documented steps, for md1 with /dev/nbd0.
nbd_member() {
	local steps bytes
	modprobe nbd
	truncate -s 256M /var/tmp/nbd.img
	nbd_server
	nbd-client 127.0.0.1 /dev/nbd0 -N md
	mdadm --create /dev/md1 --run -l1 -n2 --bitmap=internal --assume-clean "$(disk sc)" /dev/nbd0
	# nothing may write later on, as the kernel does to initialise the rest
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/md1
	mkdir -p /srv/far
	mount /dev/md1 /srv/far
	dd if=/dev/urandom of=/srv/far/file bs=1M count=20 conv=fsync status=none
	wait_until 60 bash -c "mdadm -X $(disk sc) | grep -q ' 0 dirty'"
	kill "$(cat /run/nbd.pid)"
	pkill nbd-server || true
	dd if=/dev/urandom of=/srv/far/more bs=1M count=1 conv=fsync status=none
	wait_until 60 state_is md1 U_
	nbd_server
	steps=$(recipe 'Members that come back' 2 | sed 's/md0/md1/; s/HOST/127.0.0.1/; s/EXPORT/md/')
	bash -euxc "$steps" || fail "the documented steps for nbd"
	wait_until 60 state_is md1 UU
	bytes=$(bytes_to_copy md1)
	echo "a network block device returned: $bytes bytes"
	[ "$bytes" -le $((4 << 20)) ] || fail "more than it lacks"
	umount /srv/far
	mdadm --stop /dev/md1
	cmp -n $((200 << 20)) -i $((2 << 20)) "$(disk sc)" /dev/nbd0 || fail "members differ"
	nbd-client -d /dev/nbd0
}

# A volume that LVM mirrors is refused with a line that tells what to do.
lvm_refused() {
	vgcreate -q vg "$(disk la)" "$(disk lb)"
	! lvcreate -q -y --type raid1 -m1 -L 64M -n mirror vg || fail "LVM's raid1 on md-raid1"
	dmesg | grep 'md-raid1: .*LVM' || fail "nothing in the log about LVM"
}

# The machine still boots with its volume, and all of RAID-1 is the kernel's own.
with_lvm() {
	findmnt -n /srv/mirror
	serves md0 raid1
	state_is md0 UU
	sums
	lvs -o name,segtype,health_status vg | grep raid1
	systemctl is-system-running || systemctl --failed
}

# on the host --------------------------------------------------------------------

full_new use plain sa=256M sb=256M sc=256M la=256M lb=256M
full_boot install_it
full_boot use_it
full_boot with_lvm
