# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For tests in the full machine (scripts/machine-full). What is defined between
# the two marks runs in the machine as well; the rest runs on the host.

FULL=${MACHINE%/*}/machine-full

# full_new NAME KIND [DISK=SIZE...]: a machine, and the compiled repository for it
full_new() {
	name=$1-$$
	work=$(mktemp -d)
	trap 'rm -rf "$work"; "$FULL" remove "$name"' EXIT
	trap 'exit 143' HUP INT TERM
	"$FULL" new "$name" "${@:2}"
	"$FULL" build "$work/md-raid1"
}

# full_boot FUNCTION [OPTIONS of boot]: boots the machine and runs a function of the
# test in it, with the compiled repository in /run/job/md-raid1
full_boot() {
	local status=0 begin=$SECONDS
	echo "== $1"
	{
		echo "slow=${MD_RAID1_SLOW:-1}"
		sed -n '/^# in the machine/,/^# on the host/p' "${BASH_SOURCE[0]}"
		sed -n '/^# in the machine/,/^# on the host/p' "$0"
		echo "set -euo pipefail; trap 'tell_why' EXIT; $1; trap - EXIT"
	} >"$work/script"
	"$FULL" boot "$name" --job "$work/md-raid1" --job "$work/script" --console "$work/console" \
		--timeout $((600 * ${MD_RAID1_SLOW:-1})) "${@:2}" -- bash /run/job/script || status=$?
	echo "== $1: status $status after $((SECONDS - begin)) s"
	[ "$status" -eq 0 ] || { tail -n 60 "$work/console" | tr -d '\r'; exit 1; }
	if grep -aE 'BUG:|WARNING: |Oops|general protection|blocked for more' "$work/console"; then
		echo "FAIL: the kernel's messages of $1"
		exit 1
	fi
}

# in the machine ---------------------------------------------------------------

fail() { echo "FAIL: $*" >&2; exit 1; }

# not to where a function that fails is redirected to
tell_why() {
	cat /proc/mdstat >&2
	dmesg | grep -E 'md[0-9]|raid1|sd[a-z]' | tail -n 40 >&2
}

# how many times longer things may take, as full_boot says
: "${slow:=1}"

# wait_until SECONDS CMD...: more of them on a host that is busy with other things
wait_until() {
	local end=$((SECONDS + $1 * slow))
	until "${@:2}" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "not within $(($1 * slow)) s: ${*:2}"
		sleep 0.2
	done
}

# /run is not for programs; this is where an administrator has the repository.
repo=/root/md-raid1
[ ! -d /run/job/md-raid1 ] || [ -d $repo ] || cp -a /run/job/md-raid1 $repo

disk() { readlink -f "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_$1"; }

state_is() { grep -A1 "^$1 :" /proc/mdstat | grep -q " \[$2\]"; }

# serves NAME md-raid1|raid1: which personality an array has. Only ours has the file
# of absent members.
serves() {
	local who=raid1
	[ ! -e "/sys/block/$1/md/bitmap/members" ] || who=md-raid1
	[ "$who" = "$2" ] || fail "$1 is served by $who, not by $2"
	lsmod | grep -q "^${2//-/_} " || fail "module $2 is not loaded"
	echo "$1 is served by $2"
}

# recipe SECTION NR: the commands of an indented block of README.md, for md0 and nbd0,
# and for the packages of trixie-backports as the README names them
recipe() {
	local on_backports=''
	case $(uname -r) in
	7.*) on_backports='s|linux-source-6.12|linux-source-7.3/trixie-backports|; s|linux-headers-amd64|&/trixie-backports|' ;;
	esac
	awk -v section="## $1" -v nr="$2" '
		/^##/ { inside = ($0 == section || $0 == "#" section) }
		inside && /^    / { if (!block) { block = 1; n++ }; if (n == nr) { sub(/^    /, ""); print }; next }
		!/^$/ { block = 0 }' $repo/README.md |
		sed "s/ *#.*//; s/mdN/md0/g; $on_backports"
}

# follow SECTION NR: run them, as they are, one after the other; but for "reboot", which
# is the end of the test's function
follow() {
	local text
	text=$(recipe "$1" "$2" | grep -vx reboot)
	[ "$text" ] || fail "there is no block $2 in $1 of the README"
	cd $repo || fail "there is no repository"
	PS4='    # $SECONDS s: ' bash -euxc "$text" 2>&1 || fail "the recipe '$1', block $2"
	cd /
}

# What the last return of a member of an array had to copy, in bytes.
bytes_to_copy() { dmesg | sed -n "s/.*md-raid1: $1: .* joins slot [0-9]*, \([0-9]*\) bytes to copy/\1/p" | tail -n 1; }

# on the host --------------------------------------------------------------------
