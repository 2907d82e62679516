#!/bin/bash
# about: the protocol holds in all cases that its model has, and no way to break it goes unnoticed
# timeout: 1800
# kernel: stable
# where: host
# More of it: make model DEPTH=2. What is modelled is at the top of model/protocol.c.
set -euo pipefail
"${0%/*}/model/run"
