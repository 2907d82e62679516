#!/bin/bash
# about: the module broken on purpose, each rule of docs/design.md in turn: a test notices
# timeout: 7200
# where: host
# kernel: stable
# long: yes
set -euo pipefail
if [ "${IMPL:-ours}" != ours ]; then
	echo "SKIP: it is this module that is broken"
	exit 77
fi
# It has the place of one machine: see tests/run.
exec "${0%/*}/broken/run" -j 1
