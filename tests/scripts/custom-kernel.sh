#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Kernels of our own: built when something is new, and never without an option that their lists name. The source is made
# up; no kernel is built here.
. "$(dirname "$0")/lib.bash"
kernels=${PDMV2_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pdmv2}/kernels
merge_config=$(ls -d "$kernels"/*/build/scripts/kconfig/merge_config.sh | head -n 1)
export PDMV2_CACHE=$SCRATCH/cache
unset PDMV2_KERNEL

lists=$SCRATCH/checkout/scripts/kernels
mkdir -p "$SCRATCH/checkout" "$PDMV2_CACHE"/{stamps,kernels/7.3.9-test}
cp -r "$TOP/scripts" "$SCRATCH/checkout"
echo "7.3.9-test 7.3.9-1" >"$PDMV2_CACHE/stamps/stock"
echo "the toolchain" >"$PDMV2_CACHE/stamps/packages"
printf 'CONFIG_ONE=y\nCONFIG_TWO=m\n' >"$lists/base.config"
printf '# make: LLVM=1\nCONFIG_THREE="a b"\n# CONFIG_TWO is not set\n' >"$lists/some.config"

# sourced CODE: runs it with the scripts' functions, without a Debian tree and with building told in $CACHE/told.
sourced() {
    bash -c ". '$SCRATCH/checkout/scripts/lib.sh'; . '$TOP/scripts/rootfs.sh'; . '$TOP/scripts/kernel.sh'; . '$TOP/scripts/custom-kernel.sh'
        in_rootfs() { while [ \"\$1\" = -b ]; do shift 2; done; \"\$@\"; }
        unpack_custom_source() { echo source >>\"\$CACHE/told\"; mkdir -p \"\$KERNELS/\$1/source\"; }
        build_custom() { echo build \"\$1\" >>\"\$CACHE/told\"; mkdir -p \"\$3\"; }
        need_space() { :; }
        told() { tr '\n' ' ' <\"\$CACHE/told\"; }
        $1"
}

check "it is built once, from a source unpacked once" sourced '
    ensure_custom_kernel some; ensure_custom_kernel some; [ "$(told)" = "source build some " ]
    [ "$(custom_kdir some)" = "$KERNELS/7.3.9-test/custom/some" ]'
check "again where its list is new" sourced 'echo "CONFIG_FOUR=y" >>"$TOP/scripts/kernels/some.config"
    ensure_custom_kernel some; [ "$(told)" = "source build some build some " ]'
check "or what all have" sourced 'echo "CONFIG_FIVE=y" >>"$TOP/scripts/kernels/base.config"; : >"$CACHE/told"
    ensure_custom_kernel some; [ "$(told)" = "build some " ]'
check "or the toolchain" sourced 'echo newer >"$CACHE/stamps/packages"; : >"$CACHE/told"; ensure_custom_kernel some; [ "$(told)" = "build some " ]'
check "or where it was removed" sourced 'rm -r "$(custom_kdir some)"; : >"$CACHE/told"; ensure_custom_kernel some; [ "$(told)" = "build some " ]'
check "there is no such kernel: it says so" sh -c 'said=$("$1/scripts/custom-kernel" nonsense 2>&1) && exit 1; case $said in *"usage"*bench*) ;; *) echo "$said"; exit 1 ;; esac' - "$TOP"

# A tree whose Kconfig takes what its file "known" has.
source=$SCRATCH/source
mkdir -p "$source/scripts/kconfig"
cp "$merge_config" "$source/scripts/kconfig"
cat >"$source/Makefile" <<'END'
allnoconfig:
	: >$(O)/.config
olddefconfig:
	grep -f known $(O)/.config >$(O)/.config.new; mv $(O)/.config.new $(O)/.config
	echo "LLVM=$(LLVM)" >$(O)/made
END
known() { printf '%s\n' "$@" >"$source/known"; }
configured() { rm -rf "$SCRATCH/out"; sourced "configure_custom some '$source' '$SCRATCH/out'"; }
known CONFIG_ONE= CONFIG_THREE= CONFIG_FOUR= CONFIG_FIVE= LOCALVERSION
check "a list of options is taken, over those that all have" configured
check "its last word counts" sh -c '! grep -q "^CONFIG_TWO" "$1" && grep -qx "CONFIG_THREE=\"a b\"" "$1" && grep -qx "CONFIG_LOCALVERSION=\"-pdmv2-some\"" "$1"' - "$SCRATCH/out/.config"
check "make is told what the list says" grep -qx LLVM=1 "$SCRATCH/out/made"
known CONFIG_ONE= CONFIG_THREE= CONFIG_FIVE= LOCALVERSION
check "an option that Kconfig does not take is named, and fails" sh -c '! "$@" >"$0/said" 2>&1; cat "$0/said"; grep -qx CONFIG_FOUR=y "$0/said"' "$SCRATCH" bash -c "$(declare -f sourced configured); SCRATCH='$SCRATCH' TOP='$TOP' source='$source'; configured"
finished
