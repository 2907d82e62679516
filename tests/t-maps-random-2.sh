#!/bin/bash
# about: random sequences of all that can happen to an array, against a model (II)
# timeout: 1200
# where: host
export SEED=${SEED:-501}
exec "${0%/*}/t-maps-random.sh"
