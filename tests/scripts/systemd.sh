#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The systemd units are right, and leave the daemon next to nothing.
. "$(dirname "$0")/lib.bash"

# Where it is missing (in containers), it is installed as what the set-up needs of this machine is.
command -v systemd-analyze >/dev/null ||
    { apt-get update && apt-get install -y --no-install-recommends systemd; } >/dev/null || exit 1

out=$TOP/target/test/systemd
rm -rf "$out"
mkdir -p "$out"
# The program where the units look for it is whatever there is.
for unit in pdmv2.service pdmv2.socket; do
    sed 's#/usr/sbin/pdmv2#/bin/true#' "$TOP/helper/systemd/$unit" >"$out/$unit"
done
said() { [ -z "$(systemd-analyze verify "$out/pdmv2.service" "$out/pdmv2.socket" 2>&1 | grep -F pdmv2)" ]; }
check "systemd finds nothing wrong with them" said
check "it finds what is wrong" sh -c '
    sed "s/^Type=notify/Type=telepathy/" "$1/pdmv2.service" >"$1/wrong.service"
    systemd-analyze verify "$1/wrong.service" 2>&1 | grep -F wrong.service' - "$out"
check "the exposure is below 2.0" systemd-analyze security --offline=yes --threshold=20 "$out/pdmv2.service"
check "without the sandbox it is not" sh -c '
    grep -vE "^(Protect|Private|Restrict|SystemCall|Capability)" "$1/pdmv2.service" >"$1/open.service"
    ! systemd-analyze security --offline=yes --threshold=20 "$1/open.service"' - "$out"
finished
