#!/bin/bash
# about: mdadm's own tests, as far as they are about raid1 and what it supports
# timeout: 2400
# where: host
# kernel: stable backports
# long: yes
# They come with mdadm's source, of the version that the machine has. Left out:
#   02r1add, 02r1grow, 01replace, 07changelevels	not supported (README.md)
#   05r1-internalbitmap-v1a, -v1b, -v1c	want all bits to stay set while a member
#					is away; what it lacks is in its map here
#   07autoassemble, 11spare-migration	want a machine with systemd
set -euo pipefail
cd "${0%/*}/.."
MACHINE=${MACHINE:-$PWD/scripts/machine}
suite=(00confnames 00createnames 00names 00raid1 00readonly 01r1fail 03assem-incr
	04r1update 04update-metadata 04update-uuid
	05r1-add-internalbitmap{,-v1a,-v1b,-v1c} 05r1-failfast 05r1-grow-internal{,-1}
	05r1-internalbitmap 05r1-re-add{,-nosuper} 05r1-remove-internalbitmap{,-v1a,-v1b,-v1c}
	06name 06sysfs 06wrmostly 19repair-does-not-destroy 23rdev-lifetime)

dir=$(mktemp -d "${TMPDIR:-/tmp}/md-raid1-mdadm.XXXXXX")
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAIL: $*"; exit 1; }

# The archive keeps the source of what it has packages of.
# shellcheck disable=SC2016 # for the toolbox's dpkg-query
version=$("$MACHINE" tools dpkg-query -W -f '${source:Upstream-Version}' mdadm)
archive=${MD_RAID1_MIRROR:-http://deb.debian.org/debian}/pool/main/m/mdadm/mdadm_$version.orig.tar.xz
echo "-- $archive"
curl -sSfLo "$dir/mdadm.tar.xz" "$archive" || fail "mdadm's source cannot be had"
mkdir "$dir/mdadm"
tar -xf "$dir/mdadm.tar.xz" -C "$dir/mdadm" --strip-components=1

cat >"$dir/play" <<'PLAY'
#!/bin/bash
# usage: play IMPL TEST...; in the machine
set -euo pipefail
impl=$1
shift
modprobe md-mod
if [ "$impl" = stock ]; then modprobe raid1; else insmod /job/md-raid1.ko; fi
mount -t tmpfs -o size=1500M tmpfs /var/tmp
/lib/systemd/systemd-udevd --daemon
udevadm settle
cp -r /job/mdadm /tmp/mdadm
cd /tmp/mdadm
status=0
for t in "$@"; do
	[ -e "tests/$t" ] || { echo "FAIL: mdadm has no test '$t'"; status=1; continue; }
	# without --keep-going a failure has another exit status than a skip
	if ./test --disable-integrity --tests="$t" >/tmp/said 2>&1 && grep -q succeeded /tmp/said; then
		echo "-- passed: $t"
	else
		status=1
		echo "FAIL: $t"
		cat /tmp/said
		tail -n 100 /var/tmp/fail*.log /var/tmp/log 2>/dev/null || true
	fi
	rm -f /var/tmp/*.log
done
if dmesg | grep -E 'WARNING:|BUG:|Call Trace|Oops'; then status=1; fi
exit $status
PLAY

timeout=$((2200 * ${MD_RAID1_SLOW:-1}))
"$MACHINE" run --mem 4096 --timeout "$timeout" --job "$dir/mdadm" --job "$dir/play" -- \
	bash /job/play "${IMPL:-ours}" "${suite[@]}"
