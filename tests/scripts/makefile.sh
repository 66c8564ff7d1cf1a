#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The Makefile hands the scripts what its caller set, and nothing that nobody did.
. "$(dirname "$0")/lib.bash"

mkdir -p "$SCRATCH/scripts"
cp "$TOP/Makefile" "$SCRATCH"
for script in setup module helper test test-built-in bench selftests vm clean; do
    printf '#!/bin/sh\necho "%s $* RUSTC=${RUSTC-unset} CC=${CC-unset} LLVM=${LLVM-unset} V=${V-unset} KERNEL=${PDMV2_KERNEL-unset}"\n' $script >"$SCRATCH/scripts/$script"
    chmod +x "$SCRATCH/scripts/$script"
done
# says PATTERN ARGUMENT...: what the last script was called with.
says() {
    local wanted=$1 said
    shift
    said=$(cd "$SCRATCH" && env -u RUSTC -u CC -u LLVM -u V -u PDMV2_KERNEL -u MAKEFLAGS -u MAKELEVEL "$@" | tail -n 1)
    # shellcheck disable=SC2254
    case $said in $wanted) ;; *) echo "said: $said"; return 1 ;; esac
}
none="RUSTC=unset CC=unset LLVM=unset V=unset KERNEL=unset"
check "make builds the module" says "module  $none" make
check "make helper" says "helper  $none" make helper
check "make demo" says "vm *-- tests/demo/run $none" make demo
check "make test" says "test  $none" make test
check "make test-debug" says "test --debug-kernel $none" make test-debug
check "make test-built-in" says "test-built-in  $none" make test-built-in
check "make bench" says "bench  $none" make bench
check "make selftests" says "selftests  $none" make selftests
check "make clean" says "clean  $none" make clean
check "make distclean" says "clean --all $none" make distclean
check "make KDIR=... RUSTC=... CC=..." says "module /some/where RUSTC=r CC=c LLVM=unset V=unset KERNEL=unset" make KDIR=/some/where RUSTC=r CC=c
check "the environment's too" says "module /some/where RUSTC=unset CC=unset LLVM=-19 V=1 KERNEL=unset" env LLVM=-19 make KDIR=/some/where V=1
check "make PDMV2_KERNEL=7.2" says "module  RUSTC=unset CC=unset LLVM=unset V=unset KERNEL=7.2" make PDMV2_KERNEL=7.2
finished
