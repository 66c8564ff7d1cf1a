#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The committed files that a script writes are what it would write now. Their Python is the Debian tree's.
. "$(dirname "$0")/lib.bash"

# generated CHECKOUT SCRIPT
generated() (
    TREE=$1 SCRIPT=$2
    . "$TOP/scripts/lib.sh"
    . "$TOP/scripts/rootfs.sh"
    READ_ONLY=yes in_rootfs -b "$TREE:/mnt" python3 "/mnt/scripts/$SCRIPT" --check
)
check "proto/src/uapi.rs and module/uapi_names.h follow the netlink specification" generated "$TOP" gen-uapi
check "module/selftest_vectors.rs follows the published vectors" generated "$TOP" gen-selftest

# stale SCRIPT OUTPUT: a copy whose output was edited is refused, with a line that says what to run.
stale() {
    local said
    rm -rf "$SCRATCH/copy"
    mkdir -p "$SCRATCH/copy/$(dirname "$2")"
    cp -r "$TOP/scripts" "$TOP/docs" "$SCRATCH/copy"
    { cat "$TOP/$2"; echo '// edited'; } >"$SCRATCH/copy/$2"
    ! said=$(generated "$SCRATCH/copy" "$1" 2>&1) || return 1
    grep -q "run scripts/$1" <<<"$said" || { echo "$said"; return 1; }
}
check "an edited proto/src/uapi.rs is noticed" stale gen-uapi proto/src/uapi.rs
check "an edited module/uapi_names.h is noticed" stale gen-uapi module/uapi_names.h
check "an edited module/selftest_vectors.rs is noticed" stale gen-selftest module/selftest_vectors.rs
finished
