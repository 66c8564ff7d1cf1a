#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The module is built without a warning of any tool: rustc, the C compiler, objtool, modpost, make.
. "$(dirname "$0")/lib.bash"

"$TOP/scripts/module" --check >"$SCRATCH/plain" 2>&1 &
plain=$!
"$TOP/scripts/module" --check --debug >"$SCRATCH/debug" 2>&1 &
debug=$!
# ended NAME PID
ended() { wait "$2" || { cat "$SCRATCH/$1"; return 1; }; }
check "the module's build gives no warning" ended plain $plain
check "the debug build's neither" ended debug $debug

# A made-up kernel, whose build says what each row gives it.
mkdir -p "$SCRATCH/bin" "$SCRATCH/checkout" "$SCRATCH/kdir/include/config"
cp -r "$TOP/scripts" "$TOP/Kbuild" "$SCRATCH/checkout"
printf '#!/bin/sh\n' >"$SCRATCH/checkout/scripts/preflight"
echo 7.3.0-made-up >"$SCRATCH/kdir/include/config/kernel.release"
touch "$SCRATCH/kdir/include/config/auto.conf"
# passes CODE
passes() {
    printf '#!/bin/sh\n%s\n' "$1" >"$SCRATCH/bin/make"
    chmod +x "$SCRATCH/bin/make"
    PATH=$SCRATCH/bin:$PATH "$SCRATCH/checkout/scripts/module" --check "$SCRATCH/kdir" 2>&1
}
fails() { ! passes "$1"; }
check "a quiet build passes" passes 'echo "  LD [M]  pdmv2.ko"'
check "a warning of the compiler is noticed" fails 'echo "warning: unused variable" >&2'
check "a warning of modpost is noticed" fails 'echo "WARNING: modpost: missing MODULE_LICENSE()"'
check "a build that fails is noticed" fails 'exit 2'
finished
