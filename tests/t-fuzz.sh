#!/bin/bash
# about: what lies on members, damaged in any way, never makes trouble or a member lack less
# timeout: 600
# kernel: stable
# where: host
# The changes to the corpus are the same each time; SEED=N makes others. The long
# form, with a fuzzer that looks where it gets, is t-fuzz-long.
set -euo pipefail
cd "${0%/*}/fuzz"
./run short 30 "${SEED:-1}"
