#!/bin/bash
# about: what t-full-use and t-full-root show, on the kernel of trixie-backports
# timeout: 3600
# kernel: stable
# long: yes
# where: host
set -euo pipefail
export MD_RAID1_KERNEL=backports
bash "${0%/*}/t-full-use.sh"
bash "${0%/*}/t-full-root.sh"
