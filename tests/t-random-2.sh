#!/bin/bash
# about: random sequences of all that can happen to an array, against a model: seeds 501 to 1000
# timeout: 2400
# where: host
# One of them again, with its steps in the log: tests/random-model/run SEED 1
set -euo pipefail
if [ "${IMPL:-ours}" != ours ]; then
	echo "SKIP: it takes turns with stock anyway"
	exit 77
fi
exec "${0%/*}/random-model/run" 501 500
