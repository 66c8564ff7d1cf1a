#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# scripts/preflight says in one line what is missing: one row per thing that can be, against a made-up build tree
# that is otherwise complete.
. "$(dirname "$0")/lib.bash"

tree=$SCRATCH/build tools=$SCRATCH/tools

tool() { printf '#!/bin/sh\necho "%s"\n' "$2" >"$tools/$1"; chmod +x "$tools/$1"; }
complete() {
    rm -rf "$tree" "$tools"
    mkdir -p "$tree"/{include/config,rust,scripts,tools/objtool} "$tools"
    touch "$tree"/{Makefile,Kbuild} "$tree"/rust/{libcore,libbindings,libkernel}.rmeta "$tree/rust/libmacros.so"
    echo symbols >"$tree/Module.symvers"
    echo 7.3.4-test >"$tree/include/config/kernel.release"
    printf 'CONFIG_%s\n' MODULES=y RUST=y IPV6=y NETFILTER=y SYSFS=y CRYPTO_LIB_SHA256=y CRYPTO_LIB_SHA512=y CRYPTO_LIB_AES_GCM=m \
        CRYPTO_LIB_CHACHA=m CRYPTO_LIB_POLY1305=m CC_IS_GCC=y OBJTOOL=y 'CC_VERSION_TEXT="kernel-gcc (Debian) 14.2.0"' \
        'RUSTC_VERSION_TEXT="rustc 1.85.1 (built from a source tarball)"' >"$tree/include/config/auto.conf"
    cp /bin/true "$tree/tools/objtool/objtool"
    tool rustc 'rustc 1.85.1 (built from a source tarball)'
    tool bindgen 'bindgen 0.71.1'
    tool kernel-gcc 'gcc 14'
}
without() { sed -i "/CONFIG_$1=/d" "$tree/include/config/auto.conf"; }

# row NAME WANTED COMMAND...: after the command has spoiled the tree, preflight says WANTED in one line and fails.
row() {
    local name=$1 wanted=$2 said
    shift 2
    complete
    "$@"
    if said=$(env -u CC -u LLVM -u RUSTC -u BINDGEN PATH="$tools:/usr/sbin:/usr/bin:/sbin:/bin" "$TOP/scripts/preflight" "$tree" 2>&1); then
        check "$name" sh -c "echo 'it passed'; exit 1"
    else
        check "$name" sh -c '[ "$(echo "$1" | wc -l)" = 1 ] && case $1 in *"$2"*) ;; *) echo "said: $1"; exit 1 ;; esac' - "$said" "$wanted"
    fi
}

complete
check "a tree of 7.2 passes too" sh -c 'sed -i s/LIB_AES_GCM/LIB_AESGCM/ "$3/include/config/auto.conf"; echo 7.2.1 >"$3/include/config/kernel.release"
    env -u CC -u LLVM -u RUSTC -u BINDGEN PATH="$1:/usr/sbin:/usr/bin:/sbin:/bin" "$2" "$3"' - "$tools" "$TOP/scripts/preflight" "$tree"
complete
check "a complete tree passes in silence" sh -c \
    '[ -z "$(env -u CC -u LLVM -u RUSTC -u BINDGEN PATH="$1:/usr/sbin:/usr/bin:/sbin:/bin" "$2" "$3" 2>&1 || echo failed)" ]' - "$tools" "$TOP/scripts/preflight" "$tree"
row "no such directory" "there is no directory" rm -r "$tree"
row "not a kernel build tree" "not a kernel build tree" rm "$tree/Makefile"
row "not configured" "modules_prepare" rm "$tree/include/config/auto.conf"
row "older than the range" "7.2 to 7.3" sh -c "echo 6.12.5 >$tree/include/config/kernel.release"
row "newer than the range" "7.2 to 7.3" sh -c "echo 7.10.0 >$tree/include/config/kernel.release"
row "no loadable modules" "CONFIG_MODULES off" without MODULES
row "Rust off" "CONFIG_RUST off" without RUST
row "no netfilter" "CONFIG_NETFILTER off" without NETFILTER
row "no AES-GCM library" "lacks the AES-GCM library" without CRYPTO_LIB_AES_GCM
row "no SHA-512 library" "CONFIG_CRYPTO_LIB_SHA512 off" without CRYPTO_LIB_SHA512
row "no ChaCha20 library" "CONFIG_CRYPTO_LIB_CHACHA off" without CRYPTO_LIB_CHACHA
row "no Poly1305 library" "CONFIG_CRYPTO_LIB_POLY1305 off" without CRYPTO_LIB_POLY1305
row "no list of symbols" "lacks Module.symvers" rm "$tree/Module.symvers"
row "no Rust metadata" "lacks the Rust metadata (rust/libkernel.rmeta)" rm "$tree/rust/libkernel.rmeta"
row "no macros" "lacks the Rust metadata (rust/libmacros.so)" rm "$tree/rust/libmacros.so"
row "another rustc" "was built with rustc 1.85.1 (built from a source tarball)" tool rustc 'rustc 1.85.1 (4eb161250 2025-03-15)'
row "rustc does not run" "does not run" sh -c "printf '#!/bin/sh\nexit 1\n' >$tools/rustc"
row "bindgen too old" "too old" tool bindgen 'bindgen 0.69.5'
row "bindgen without libclang" "libclang" sh -c "printf '#!/bin/sh\nexit 1\n' >$tools/bindgen"
row "bindgen, the tree's own minimum" "0.99.0" sh -c "echo 'echo 0.99.0' >$tree/scripts/min-tool-version.sh"
row "no such clang" "no C compiler clang" sh -c "echo CONFIG_CC_IS_CLANG=y >>$tree/include/config/auto.conf"
row "no objtool" "tools/objtool/objtool" rm "$tree/tools/objtool/objtool"
finished
