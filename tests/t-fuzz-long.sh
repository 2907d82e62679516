#!/bin/bash
# about: the same as t-fuzz for ten minutes of CPU time, with libFuzzer, and with each bit flipped
# timeout: 2400
# kernel: stable
# where: host
# long: yes
set -euo pipefail
cd "${0%/*}/fuzz"
./run flips
./run 660
