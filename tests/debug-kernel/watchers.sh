#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The debug kernel: what it watches for is reported and fails the run, whatever the command said; else a run passes.
. "$(dirname "$0")/../scripts/lib.bash"
# ran NAME COMMAND...: runs the VM; NAME.err and NAME.status are what came of it.
ran() { local name=$1; shift; timeout 900 "$TOP/scripts/vm" --kernel debug -- "$@" 2>"$SCRATCH/$name.err" <&-; echo $? >"$SCRATCH/$name.status"; }
# came NAME STATUS
came() { [ "$(cat "$SCRATCH/$1.status")" = "$2" ] || { cat "$SCRATCH/$1.status" "$SCRATCH/$1.err"; return 1; }; }

# What other kernels load as modules is built in here; and what goes by itself is not taken for something left.
ran clean bash -c '
    for module in veth vrf sch_netem nf_nat esp6; do modprobe $module || exit 1; done
    ip netns add a && ip netns add b && ip -n a link add x up type veth peer x netns b || exit 1
    exit 7' &
ran wrong bash -c '
    echo ARRAY_BOUNDS >/sys/kernel/debug/provoke-crash/DIRECT
    echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT
    echo READ_AFTER_FREE >/sys/kernel/debug/provoke-crash/DIRECT
    modprobe kmemleak-test
    ip link add left type dummy
    unshare --net sleep 1000 &
    exit 0' &
wait
check "a command that leaves nothing passes, with its own status" came clean 7
check "one that leaves much fails, whatever it said" came wrong 70

console=$(grep -o '/[^ ]*/console\.log' "$SCRATCH/wrong.err" | tail -n 1)
# said NAME PATTERN
said() { check "$1" grep -a -E -q "$2" "${console:-/dev/null}"; }
said "KASAN tells a use after free" "BUG: KASAN: slab-use-after-free in lkdtm"
said "UBSAN tells an index out of bounds" "UBSAN: array-index-out-of-bounds in .*lkdtm"
said "a warning is told" "WARNING: .*lkdtm"
said "kmemleak tells lost memory, and who allocated it" "kmemleak: +.*\[kmemleak_test\]"
said "lost memory is named once more in the end" "LEFT BEHIND: memory"
said "a namespace that somebody holds is named" "LEFT BEHIND: net_refcnt@"
said "a device that is left is named, and what holds it" "LEFT BEHIND: netdev@.* users at"
said "a lock validator that has stopped is told" "LEFT BEHIND: perhaps a wrong order of locks"
finished
