#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# scripts/into-kernel puts the module into a kernel tree, brings it up to date and takes it out again; what it put there
# is known to Kconfig and builds, as a module and built in.
. "$(dirname "$0")/lib.bash"
. "$TOP/scripts/lib.sh"
. "$TOP/scripts/rootfs.sh"
. "$TOP/scripts/kernel.sh"
set +e

kdir=$(stock_kdir)
tree=$SCRATCH/tree net=$SCRATCH/tree/net/ipv6 pristine=$SCRATCH/pristine
into() { "$TOP/scripts/into-kernel" "$@"; }
# The little of a tree that the script looks at.
fresh() {
    rm -rf "$tree"
    mkdir -p "$net" "$tree/rust"
    cp -p "$kdir"/{Makefile,Kbuild} "$tree"
    cp -p "$kdir/rust/Makefile" "$tree/rust"
    cp -p "$kdir"/net/ipv6/{Kconfig,Makefile} "$net"
}
same() { diff -r "$1" "$2"; }
fresh; cp -a "$tree" "$pristine"

check "it puts the module into a tree" into "$tree"
check "the whole module" sh -c 'cd "$1" && for part in module proto/src; do diff -r $part "$2/$part" || exit 1; done' - "$TOP" "$net/pdmv2"
check "where IPv6's options are, behind its objects" sh -c '
    [ "$(tail -n 2 "$1/Kconfig" | head -n 1)" = "source \"net/ipv6/pdmv2/Kconfig\"" ] && tail -n 1 "$1/Makefile" | grep -qF pdmv2/' - "$net"
cp -a "$tree" "$SCRATCH/complete"
touch -d 2001-01-01 "$net"/{Kconfig,Makefile}
check "again: it says so" sh -c '"$1/scripts/into-kernel" "$2" 2>&1 | grep -q already' - "$TOP" "$tree"
check "and touches nothing" sh -c '[ -z "$(find "$1" -newermt 2001-01-02 -name "[KM]*file*" -o -newermt 2001-01-02 -path "$1/Kconfig")" ] && diff -r "$2" "$3"' \
    - "$net" "$SCRATCH/complete" "$tree"
echo '// old' >>"$net/pdmv2/module/main.rs"; touch "$net/pdmv2/module/gone.rs"
check "an older copy is brought up to date" into "$tree"
check "with nothing left of it" same "$SCRATCH/complete" "$tree"
check "it takes the module out" into --remove "$tree"
check "as if it had never been there" same "$pristine" "$tree"
check "again: nothing to do" sh -c '"$1/scripts/into-kernel" --remove "$2" 2>&1 | grep -q "nothing to remove"' - "$TOP" "$tree"

# refuses NAME WANTED COMMAND...: after the command has spoiled the tree, one line says WANTED and nothing has changed.
refuses() {
    local name=$1 wanted=$2
    shift 2
    fresh
    "$@"
    cp -a "$tree" "$SCRATCH/spoiled"
    check "$name" sh -c 'said=$("$1/scripts/into-kernel" "$2" 2>&1) && { echo "it passed"; exit 1; }
        [ "$(echo "$said" | wc -l)" = 1 ] && case $said in *"$3"*) ;; *) echo "said: $said"; exit 1 ;; esac
        diff -r "$4" "$2"' - "$TOP" "$tree" "$wanted" "$SCRATCH/spoiled"
    rm -rf "$SCRATCH/spoiled"
}
refuses "what is no kernel tree is refused" "not a kernel source tree" rm "$tree/rust/Makefile"
refuses "an older kernel" "Linux 6.12; PDMv2 needs 7.2 to 7.3" sed -i 's/^VERSION =.*/VERSION = 6/; s/^PATCHLEVEL =.*/PATCHLEVEL = 12/' "$tree/Makefile"
refuses "a newer kernel" "Linux 7.10; PDMv2 needs 7.2 to 7.3" sed -i 's/^PATCHLEVEL =.*/PATCHLEVEL = 10/' "$tree/Makefile"
refuses "options that end otherwise" "does not end its options" sed -i 's/^endif # IPV6/endif/' "$net/Kconfig"
check "arguments that it does not know" sh -c '! "$1/scripts/into-kernel" --nonsense "$2" && ! "$1/scripts/into-kernel"' - "$TOP" "$tree"

# A move is when the tree changes: killed before or after each one of them, the script leaves the module whole or none.
mkdir "$SCRATCH/bin"
cat >"$SCRATCH/bin/mv" <<'END'
#!/bin/sh
echo >>"$MOVES"
moves=$(wc -l <"$MOVES")
[ "$moves" != "$KILL_BEFORE" ] || { kill -9 $PPID; exit 1; }
exec /bin/mv "$@"
END
chmod +x "$SCRATCH/bin/mv"
whole_or_none() {
    if grep -qF pdmv2 "$net/Kconfig"; then
        [ -f "$net/pdmv2/Kconfig" ] && grep -qF pdmv2/ "$net/Makefile" || { echo "named, but not there"; return 1; }
    fi
    if grep -qF pdmv2/ "$net/Makefile"; then [ -f "$net/pdmv2/Kbuild" ] || { echo "to be built, but not there"; return 1; }; fi
}
# killed NAME START RESULT ARGUMENT...: from the tree START, killed before each move in turn, then run to the end: RESULT.
killed() {
    local name=$1 start=$2 result=$3 at status=137
    shift 3
    for ((at = 1; status == 137; at++)); do
        rm -rf "$tree"
        cp -a "$start" "$tree"
        : >"$SCRATCH/moves"
        (exec env PATH="$SCRATCH/bin:$PATH" MOVES="$SCRATCH/moves" KILL_BEFORE=$at "$TOP/scripts/into-kernel" "$@" "$tree") 2>/dev/null
        status=$?
        whole_or_none || { echo "$name, before move $at"; return 1; }
        into "$@" "$tree" 2>/dev/null
        same "$result" "$tree" || { echo "$name, before move $at"; return 1; }
    done
    # At least the copy, Kconfig and Makefile are moved.
    [ "$status" = 0 ] && [ "$at" -ge 5 ] || { echo "$name: $status after $((at - 2)) moves"; return 1; }
}
cp -a "$SCRATCH/complete" "$SCRATCH/older"
echo '// old' >>"$SCRATCH/older/net/ipv6/pdmv2/module/main.rs"
check "killed at any moment while it puts it there, it goes on next time" killed put "$pristine" "$SCRATCH/complete"
check "while it brings it up to date" killed update "$SCRATCH/older" "$SCRATCH/complete"
check "while it takes it out" killed remove "$SCRATCH/complete" "$pristine" --remove

# Kconfig and Kbuild themselves, in a copy of the stock kernel's build tree, seen at the place of that one, whose paths
# its objects know. Whether m or y is told to make by its argument: a change of .config would compile the kernel crate anew.
copy=$TOP/target/test/kernel-tree
trap 'rm -rf "$SCRATCH" "$copy"' EXIT
mkdir -p "${copy%/*}"
rm -rf "$copy"
cp -a "$kdir" "$copy"
check "it puts the module into the stock kernel's source" into "$copy"
in_copy() {
    in_rootfs -b "$copy:$kdir" bash -euc '
        cd "$0"
        cc=$(sed -n "s/^CONFIG_CC_VERSION_TEXT=\"\([^ ]*\).*/\1/p" .config)
        export LOCALVERSION=
        "$@" CC="$cc"' "$kdir" "$@"
}
# configured VALUE WANTED...: with the option set so, and what it needs taken away, these are the lines of the configuration.
configured() {
    local value=$1
    shift
    sed '/CONFIG_CRYPTO_LIB_AES_\?GCM=/d; /CONFIG_CRYPTO_LIB_\(SHA256\|SHA512\|CHACHA\|POLY1305\)=/d' "$kdir/.config" >"$copy/.config.$value"
    echo "CONFIG_IPV6_PDMV2=$value" >>"$copy/.config.$value"
    in_copy make -s KCONFIG_CONFIG=".config.$value" olddefconfig
    grep -qx "CONFIG_IPV6_PDMV2=$value" "$copy/.config.$value" && grep -qxE "CONFIG_CRYPTO_LIB_AES_?GCM=[my]" "$copy/.config.$value" &&
        [ "$(grep -cxE "CONFIG_CRYPTO_LIB_(SHA256|SHA512|CHACHA|POLY1305)=[my]" "$copy/.config.$value")" = 4 ]
}
check "Kconfig takes m, and selects what it needs" configured m
check "and y" configured y
# builds VALUE RESULT: without a warning.
builds() {
    in_copy make CONFIG_IPV6_PDMV2="$1" net/ipv6/pdmv2/ >"$SCRATCH/build.log" 2>&1 || { cat "$SCRATCH/build.log"; return 1; }
    ! grep -i warning "$SCRATCH/build.log" && [ -s "$copy/net/ipv6/pdmv2/$2" ]
}
check "the tree builds it as a module" builds m pdmv2.o
check "and built in" builds y built-in.a
check "built in, it has no way out, and its parameter is on the command line" sh -c '
    ! nm "$1/main.o" | grep -q cleanup_module && strings "$1/main.o" | grep -q "pdmv2.parmtype=option_type\|pdmv2.option_type"' - "$copy/net/ipv6/pdmv2/module"
finished
