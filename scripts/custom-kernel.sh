# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Kernels of our own, for what the stock one lacks: built from the stock kernel's linux-source, by allnoconfig and two
# lists of options, kernels/base.config and kernels/NAME.config. Sourced after lib.sh, rootfs.sh and kernel.sh.

# $KERNELS/RELEASE/ also holds: source/ (linux-source, which the custom kernels share and which stays as it was),
# custom/NAME/ (the KDIR: what `make O=` writes; NAME/image/ has the modules, as installed).
custom_kdir() { echo "$KERNELS/$(stock_release)/custom/$1"; }

# custom_variables NAME: what its list says make must be told, in a line "# make: VARIABLE=VALUE...".
custom_variables() { sed -n 's/^# make: //p' "$TOP/scripts/kernels/$1.config"; }
# custom_packages NAME: what the tree needs to build it beside the module's toolchain, in a line "# packages: PACKAGE...".
custom_packages() { sed -n 's/^# packages: //p' "$TOP/scripts/kernels/$1.config"; }

# unpack_custom_source RELEASE: linux-source but for other machines and for drivers that no virtual machine has
# (of these the Kconfig files and Makefiles stay).
unpack_custom_source() {
    local dir=$KERNELS/$1
    local part excludes=()
    for part in sound drivers/{accel,gpu,iio,infiniband,media,mtd,scsi,staging,usb,net/ethernet,net/wireless}; do
        excludes+=("--exclude=$part/*.[ch]")
    done
    for part in "Documentation/*.rst" Documentation/devicetree tools/testing/selftests tools/perf; do
        excludes+=("--exclude=$part")
    done
    rm -rf "$dir/source"
    unpack_linux "$1" source.partial no_others "${excludes[@]}"
    mv "$dir/source.partial" "$dir/source"
}

# configure_custom NAME SOURCE OUT: a list says what must be so in the end; an option that Kconfig did not take is an error.
configure_custom() {
    in_rootfs -b "$TOP:$TOP" bash -euo pipefail -c '
        name=$0 source=$1 out=$2 lists=$3
        shift 3
        mkdir -p "$out"
        make -s -C "$source" O="$out" "$@" allnoconfig
        cat "$lists/base.config" "$lists/$name.config" >"$out/wanted"
        echo "CONFIG_LOCALVERSION=\"-pdmv2-$name\"" >>"$out/wanted"
        KCONFIG_CONFIG=$out/.config bash "$source/scripts/kconfig/merge_config.sh" -m -Q -O "$out" "$out/.config" "$out/wanted"
        make -C "$source" O="$out" "$@" olddefconfig
        # The last word on an option is the one that counts.
        lost=$(sed -n "s/^# \(CONFIG_[A-Za-z0-9_]*\) is not set/\1=n/p; /^CONFIG_/p" "$out/wanted" |
            awk -F= "{ word[\$1] = \$0 } END { for (option in word) print word[option] }" |
            while IFS= read -r wanted; do
                case $wanted in
                *=n) ! grep -q "^${wanted%=n}=" "$out/.config" || echo "$wanted" ;;
                *) grep -qxF -- "$wanted" "$out/.config" || echo "$wanted" ;;
                esac
            done | sort)
        [ -z "$lost" ] || { printf "Kconfig did not take these options:\n%s\n" "$lost"; exit 1; }
    ' "$1" "$2" "$3" "$TOP/scripts/kernels" $(custom_variables "$1")
}

# build_custom NAME SOURCE OUT: kernel, modules and what a module's build asks of a KDIR. Interrupted half way, make goes
# on from where it was. The guest finds the modules where modprobe looks, the list of what is built in among them.
build_custom() {
    configure_custom "$@"
    in_rootfs nice -n 10 bash -euo pipefail -c '
        source=$0 out=$1
        shift
        export KBUILD_BUILD_USER=pdmv2 KBUILD_BUILD_HOST=pdmv2
        make -C "$source" O="$out" "$@" -j"$(nproc)" bzImage modules
        rm -rf "$out/image"
        make -C "$source" O="$out" "$@" INSTALL_MOD_PATH="$out/image" INSTALL_MOD_STRIP=1 modules_install
        release=$(cat "$out/include/config/kernel.release")
        mkdir -p /lib/modules
        ln -sfn "$out/image/lib/modules/$release" "/lib/modules/$release"
        # scripts/vm and the tests read these of the KDIR.
        mkdir -p "$out/tools"
        ln -sfn "$source/tools/net" "$out/tools/net"
        ln -sfn "$source/Documentation" "$out/Documentation"
        ls -l "$out/arch/x86/boot/bzImage" "$out/rust/"*.rmeta
    ' "$2" "$3" $(custom_variables "$1")
}

# ensure_custom_kernel NAME: builds it where it, or what it is built from, is new. One build of a kernel at a time.
ensure_custom_kernel() {
    local name=$1 release version key packages
    [ -f "$TOP/scripts/kernels/$name.config" ] || die "there is no scripts/kernels/$name.config"
    read -r release version <"$CHOICE"
    key="$version $(sha256sum <<<"$(cat "$TOP/scripts/kernels/base.config" "$TOP/scripts/kernels/$name.config" "$CACHE/stamps/packages")" | cut -c 1-16)"
    [ -d "$KERNELS/$release/source" ] || rm -f "$CACHE/stamps/custom-source-$release"
    [ -d "$KERNELS/$release/custom/$name" ] || rm -f "$CACHE/stamps/custom-$name-$release"
    [ "$(cat "$CACHE/stamps/custom-$name-$release" 2>/dev/null)" != "$key" ] || return 0
    need_space 8
    packages=$(custom_packages "$name")
    if [ -n "$packages" ]; then
        alone
        # shellcheck disable=SC2086
        once "packages-$name" "$packages" "Installing what the $name kernel is built with" install_packages $packages
    fi
    alone custom-source
    once "custom-source-$release" "$version" "Unpacking the source of Linux $release for kernels of our own" unpack_custom_source "$release"
    alone "custom-$name"
    once "custom-$name-$release" "$key" "Building the $name kernel (10 minutes and more)" \
        build_custom "$name" "$KERNELS/$release/source" "$KERNELS/$release/custom/$name"
}
