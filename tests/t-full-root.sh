#!/bin/bash
# about: a full Debian with / on RAID-1: boots on md-raid1, on stock where there is none
# timeout: 1500
# kernel: stable
# where: host
set -euo pipefail
# shellcheck source=tests/lib-full.sh
. "${0%/*}/lib-full.sh"

# in the machine ---------------------------------------------------------------

root_array() { basename "$(findmnt -n -o SOURCE /)"; }

# / is on the kernel's own raid1; the recipe up to the reboot.
install_it() {
	md=$(root_array)
	serves "$md" raid1
	state_is "$md" UU
	mdadm --detail --scan >>/etc/mdadm/mdadm.conf
	recipe 'Members that come back' 1 >>/etc/mdadm/mdadm.conf
	follow 'Use it' 1
	serves "$md" raid1
}

# Member raid-b is unplugged, / is written to, the member returns by itself.
use_it() {
	local b host bytes
	md=$(root_array)
	serves "$md" md-raid1
	state_is "$md" UU
	b=$(basename "$(disk raid-b)")
	host=$(basename "$(readlink -f "/sys/block/$b/device/../..")")
	echo 1 >"/sys/block/$b/device/delete"
	dd if=/dev/urandom of=/root/file bs=1M count=1 conv=fsync status=none
	wait_until 20 state_is "$md" U_
	echo '- - -' >"/sys/class/scsi_host/$host/scan"
	wait_until 120 state_is "$md" UU
	bytes=$(bytes_to_copy "$md")
	echo "a member of / returned by itself: $bytes bytes"
	# what systemd and the journal write meanwhile counts too
	[ "$bytes" -le $((32 << 20)) ] || fail "more than it lacks"
	sha256sum /root/file >/root/sums
}

# The other kernel has no md-raid1.
other_kernel() {
	md=$(root_array)
	serves "$md" raid1
	! lsmod | grep '^md_raid1 ' || fail "the other kernel has md-raid1"
	state_is "$md" UU
	sha256sum -c --quiet /root/sums
	dd if=/dev/urandom of=/root/other bs=1M count=1 conv=fsync status=none
	sha256sum /root/other >>/root/sums
}

back_again() {
	md=$(root_array)
	serves "$md" md-raid1
	state_is "$md" UU
	sha256sum -c --quiet /root/sums
	# up to the reboot
	follow 'Go back' 1
	! lsinitramfs "/boot/initrd.img-$(uname -r)" | grep md-raid1 || fail "the initramfs still has it"
}

gone_back() {
	md=$(root_array)
	serves "$md" raid1
	state_is "$md" UU
	sha256sum -c --quiet /root/sums
	rm -rf /root/md-raid1
	! find / -xdev -name '*md-raid1*' -not -path '/run/*' | grep . || fail "something is left"
}

# on the host --------------------------------------------------------------------

full_new root raid
full_boot install_it
full_boot use_it
full_boot other_kernel --kernel other
full_boot back_again
full_boot gone_back
