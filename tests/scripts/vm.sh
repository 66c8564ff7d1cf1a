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

# What the kernel's watchers say when they find something, or can watch no more; and what they say at any boot.
eval "$(grep -E "^SPLAT\+?='" "$TOP/scripts/vm")"
# told FOUND LINE
told() { check "$1 fails a run" grep -E -q "$SPLAT" <<<"[    1.000000] $2"; }
told "sleeping in atomic context" "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:287"
told "a lock taken twice" "WARNING: possible recursive locking detected"
told "a lock of no class" "INFO: trying to register non-static key."
told "a lock validator that gives up" "turning off the locking correctness validator."
told "RCU without a read section" "WARNING: suspicious RCU usage"
told "RCU on an idle CPU" "RCU used illegally from idle CPU!"
told "a device that does not go" "unregister_netdevice: waiting for veth0 to become free. Usage count = 2"
told "a reference to a device" "ref_tracker: netdev@00000000a1b2c3d4 has 1/1 users at"
told "a timer freed while it runs" "ODEBUG: free active (active state 0) object: 00000000a1b2c3d4 object type: timer_list"
told "a broken list" "kernel BUG at lib/list_debug.c:65!"
told "lost memory" "kmemleak: unreferenced object 0xffff888100000000 (size 32):"
told "a search for lost memory that gives up" "kmemleak: Kernel memory leak detector disabled"
told "a use after free" "BUG: KASAN: slab-use-after-free in pdmv2_input+0x10/0x20"
told "an index out of bounds" "UBSAN: array-index-out-of-bounds in net/ipv6/exthdrs.c:1:2"
told "a CPU that stands still" "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!"
told "a task that stands still" "INFO: task kworker/0:1:9 blocked for more than 120 seconds."
told "something left behind" "pdmv2: LEFT BEHIND: memory, found at the end"
check "what a healthy kernel says fails none" sh -c '! grep -E "$1"' - "$SPLAT" <<'EOF'
kasan: KernelAddressSanitizer initialized (generic)
kmemleak: Kernel memory leak detector initialized (mem pool available: 39000)
Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
rcu: 	RCU lockdep checking is enabled.
rcu: 	RCU callback double-/use-after-free debug is enabled.
pdmv2: nothing left behind
EOF

ran off -- sh -c 'echo o >/proc/sysrq-trigger; sleep 60' &
ran hang --timeout 25 -- sleep 1000 &
wait
check "a VM that ends before its command is a failure" came off 71
check "a hang is a failure" came hang 72
check "an unknown argument is refused" sh -c '! "$1" --nonsense -- true' - "$TOP/scripts/vm"
finished
