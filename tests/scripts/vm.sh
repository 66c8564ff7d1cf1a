#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# scripts/vm: output and status come through, and no way of going wrong looks like a pass.
. "$(dirname "$0")/lib.bash"
vm() { timeout 300 "$TOP/scripts/vm" "$@"; }
# ran NAME ARGUMENT...: runs the VM; NAME.out, NAME.err and NAME.status are what came of it.
ran() { local name=$1; shift; vm "$@" >"$SCRATCH/$name.out" 2>"$SCRATCH/$name.err" <&-; echo $? >"$SCRATCH/$name.status"; }
# came NAME STATUS
came() { [ "$(cat "$SCRATCH/$1.status")" = "$2" ] || { cat "$SCRATCH/$1.status" "$SCRATCH/$1.err"; return 1; }; }

probe=$TOP/target/test/probe.$$
mkdir -p "$TOP/target/test"
ran plain -- bash -c 'echo "to  stdout $1"; echo "to stderr" >&2; echo more >>/dev/stdout; id -u; echo "$PWD"; echo from the guest >"$2"
    for m in veth dummy sch_netem wireguard nf_tables nf_conntrack; do modprobe $m || exit 1; done; exit 7' - "with 'quotes'" "$probe" &
ran second -- sh -c 'echo second' &
wait
check "the exit status comes through" came plain 7
check "stdout comes through, and nothing else" \
    test "$(cat "$SCRATCH/plain.out")" = "$(printf '%s\n' "to  stdout with 'quotes'" more 0 "$TOP")"
check "stderr comes through, and nothing else" test "$(cat "$SCRATCH/plain.err")" = "to stderr"
check "what the guest writes to target/ is on the host" grep -qx "from the guest" "$probe"
rm -f "$probe"
check "two at once do not disturb each other" test "$(cat "$SCRATCH/second.status" "$SCRATCH/second.out")" = "$(printf '0\nsecond')"

ran splat -- sh -c 'echo "BUG: made up" >/dev/kmsg; exit 0' &
ran panic -- sh -c 'echo all is well; echo c >/proc/sysrq-trigger' &
wait
check "a kernel that says BUG: is a failure whatever the command said" came splat 70
check "the line is shown" grep -q "BUG: made up" "$SCRATCH/splat.err"
check "a panic is a failure" came panic 70

ran off -- sh -c 'echo o >/proc/sysrq-trigger; sleep 60' &
ran hang --timeout 25 -- sleep 1000 &
wait
check "a VM that ends before its command is a failure" came off 71
check "a hang is a failure" came hang 72
check "an unknown argument is refused" sh -c '! "$1" --nonsense -- true' - "$TOP/scripts/vm"
finished
