#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# A virtual machine that is copied, and one that sleeps: neither seals anything twice (tests/fork/lives.py).
. "$(dirname "$0")/lib.bash"
. "$TOP/scripts/lib.sh"
. "$TOP/scripts/rootfs.sh"
. "$TOP/scripts/kernel.sh"

check "the module builds" "$TOP/scripts/module"
check "the helper builds" "$TOP/scripts/helper"
release=$(stock_release)
READ_ONLY=yes in_rootfs -b "$TOP:$TOP" python3 -B "$TOP/tests/fork/lives.py" "$release" "$KERNELS/$release/image/vmlinuz" \
    "$TOP/target/module/$release/pdmv2.ko" "$TOP/target/release/pdmv2" "$TOP/target/test/fork" || bad=1
finished
