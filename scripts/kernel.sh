# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The stock Debian kernel: chosen from the package lists, unpacked, and given the build tree with Rust metadata
# that its headers packages lack.

if [ -n "$SERIES" ]; then
    grep -qxE '[0-9]+\.[0-9]+' <<<"$SERIES" && [ "$(printf '%s\n' "$KERNEL_MIN" "$SERIES" "$KERNEL_MAX" | sort -V | sed -n 2p)" = "$SERIES" ] ||
        die "PDMV2_KERNEL is $SERIES; it names a series of Linux from $KERNEL_MIN to $KERNEL_MAX, such as $KERNEL_MIN"
    KERNEL_MIN=$SERIES KERNEL_MAX=$SERIES
fi
# "RELEASE VERSION" of the kernel chosen.
CHOICE=$CACHE/stamps/stock${SERIES:+-$SERIES}

# $KERNELS/RELEASE/ holds: debs/ (as downloaded), image/ (the packages unpacked: vmlinuz, config,
# Module.symvers, lib/modules/RELEASE), build/ (the KDIR; also Documentation/netlink and tools/net/ynl of the same source).

# Kernels of the supported range that the archive has with their source, oldest first: "RELEASE VERSION".
packaged_kernels() {
    in_rootfs bash -euc '
        apt-cache search --names-only "^linux-image-[0-9.]+.*-cloud-amd64$" | while read -r package _; do
            release=${package#linux-image-}
            series=$(cut -d. -f1,2 <<<"$release")
            [ "$(printf "%s\n" "$0" "$series" "$1" | sort -V | sed -n 2p)" = "$series" ] || continue
            version=$(apt-cache madison "$package" | awk -F"|" "NR == 1 { gsub(/ /, \"\"); print \$2 }")
            [ -n "$version" ] || continue
            apt-cache madison "linux-source-$series" | grep -qF " $version " || continue
            echo "$release $version"
        done | sort -V' "$KERNEL_MIN" "$KERNEL_MAX"
}

choose_kernel() {
    local chosen
    chosen=$(packaged_kernels | tail -n 1)
    [ -n "$chosen" ] || die "the archive has no linux-image-*-cloud-amd64 of the series $KERNEL_MIN to $KERNEL_MAX with its linux-source in $SUITE or $SUITE-backports; build for a kernel of your own with make KDIR=/path/to/kernel/build"
    mkdir -p "$CACHE/stamps"
    echo "$chosen" >"$CHOICE.new"
    mv "$CHOICE.new" "$CHOICE"
    echo "newest packaged kernel in range: $chosen"
}

# What the rest asks: the stock kernel's release, build tree and boot image; they fail where set-up has not run.
stock_release() {
    [ -f "$CHOICE" ] || die "no stock kernel${SERIES:+ of the series $SERIES} yet; run ${SERIES:+PDMV2_KERNEL=$SERIES }scripts/setup"
    cut -d' ' -f1 "$CHOICE"
}
stock_kdir() { echo "$KERNELS/$(stock_release)/build"; }

# download_kernel RELEASE VERSION: the packages named after the release that image and headers depend on, and the source.
download_kernel() {
    mkdir -p "$KERNELS/$1/debs"
    in_rootfs bash -euc '
        release=$0 version=$1
        cd "$2/debs"
        series=$(cut -d. -f1,2 <<<"$release")
        closure() {
            local package
            for package in $(apt-cache depends --no-recommends --no-suggests "$1" | sed -n "s/^ *Depends: //p"); do
                case $package in *-"$release") closure "$package" ;; esac
            done
            echo "$1"
        }
        packages=$( (closure "linux-image-$release"; closure "linux-headers-$release") | sort -u)
        echo "packages:" $packages
        apt-get -o APT::Sandbox::User=root download $(printf "%s=$version\n" $packages "linux-source-$series")
    ' "$1" "$2" "$KERNELS/$1"
}

# unpack_kernel RELEASE: image, modules, configuration and Module.symvers, with the module index made.
unpack_kernel() {
    local dir=$KERNELS/$1
    rm -rf "$dir/image" "$dir/image.partial"
    in_rootfs bash -euc '
        release=$0
        for deb in "$1"/debs/linux-{image,binary,modules,base,headers}-"$release"_*.deb; do
            [ -f "$deb" ] && dpkg-deb -x "$deb" "$1/image.partial"
        done
        cd "$1/image.partial"
        [ -d lib ] || ln -s usr/lib lib
        # Debian 7.3 has these beside the modules, older ones in /boot: have them beside the modules always.
        for file in vmlinuz config; do
            [ -f "lib/modules/$release/$file" ] || ln -s "$1/image/boot/$file-$release" "lib/modules/$release/$file"
            ln -s "lib/modules/$release/$file" "$file"
        done
        cp usr/src/linux-headers-"$release"/Module.symvers .
        depmod -b . "$release"
        mkdir -p /lib/modules
        ln -sfn "$1/image/lib/modules/$release" "/lib/modules/$release"
    ' "$1" "$dir"
    mv "$dir/image.partial" "$dir/image"
}

# unpack_linux RELEASE DIRECTORY TAR-OPTION-OR-MEMBER...: linux-source, or those members of it, into a new directory of the
# release's; names are as in the source. `no_others` leaves the code of other machines out.
unpack_linux() {
    local into=$KERNELS/$1/$2 release=$1
    shift 2
    rm -rf "$into"
    mkdir -p "$into"
    in_rootfs bash -euo pipefail -c '
        release=$0 into=$1
        shift
        top=linux-source-$(cut -d. -f1,2 <<<"$release")
        names=()
        for name; do
            case $name in
            no_others)
                for arch in alpha arc arm arm64 csky hexagon loongarch m68k microblaze mips nios2 openrisc parisc powerpc riscv s390 sh sparc xtensa; do
                    names+=(--exclude="$top/arch/$arch/*.[chS]" --exclude="$top/arch/$arch/boot/dts")
                done ;;
            --exclude=*) names+=(--exclude="$top/${name#--exclude=}") ;;
            *) names+=("$top/$name") ;;
            esac
        done
        dpkg-deb --fsys-tarfile "$into"/../debs/"$top"_*.deb | tar -xO "./usr/src/$top.tar.xz" | xz -dc -T0 |
            tar -C "$into" -x --strip-components=1 --wildcards "${names[@]}"
    ' "$release" "$into" "$@"
}

# unpack_source RELEASE: linux-source without what a module build never reads (1.4 GB of drivers), configured as Debian's.
unpack_source() {
    local dir=$KERNELS/$1
    rm -rf "$dir/build"
    unpack_linux "$1" build.partial no_others --exclude="drivers/*.c" --exclude="drivers/gpu/drm/amd/*.h" \
        --exclude="sound/*.[ch]" --exclude="fs/*.c" --exclude="Documentation/*.rst" --exclude=Documentation/devicetree \
        --exclude=tools/testing --exclude=tools/perf
    in_rootfs bash -euo pipefail -c '
        release=$0 dir=$1
        cd "$dir/build.partial"
        cp "$dir/image/config" .config
        version=$(make -s kernelversion)
        sed -i "s/^EXTRAVERSION =.*/EXTRAVERSION = ${release#"$version"}/" Makefile
        echo "$version, EXTRAVERSION ${release#"$version"}"
    ' "$1" "$dir"
    mv "$dir/build.partial" "$dir/build"
}

# prepare_kdir RELEASE: what Debian's headers packages leave out, above all rust/*.rmeta. Interrupted half way,
# make goes on from where it was.
prepare_kdir() {
    local dir=$KERNELS/$1
    in_rootfs bash -euc '
        release=$0 dir=$1
        cd "$dir/build"
        cc=$(sed -n "s/^CONFIG_CC_VERSION_TEXT=\"\([^ ]*\).*/\1/p" .config)
        export LOCALVERSION= KBUILD_BUILD_USER=pdmv2 KBUILD_BUILD_HOST=pdmv2
        make CC="$cc" olddefconfig
        # A missing tool would silently switch off what depends on it, and change structures: no option may be lost.
        lost=$(comm -23 <(grep ^CONFIG_ "$dir/image/config" | sort) <(grep ^CONFIG_ .config | sort))
        [ -z "$lost" ] || { printf "the toolchain is not the one this kernel was built with; lost:\n%s\n" "$lost"; exit 1; }
        make CC="$cc" -j"$(nproc)" modules_prepare
        cp "$dir/image/Module.symvers" Module.symvers
        grep -qF "\"$release\"" include/generated/utsrelease.h || { cat include/generated/utsrelease.h; exit 1; }
        ls -l rust/*.rmeta
    ' "$1" "$dir"
}

# A choice that nothing was downloaded for is made again: the archive may have moved on.
chosen_kernel_is_here() {
    [ -f "$CHOICE" ] && [ -z "${LOOK_AGAIN:-}" ] || return 1
    read -r release version <"$CHOICE"
    [ -f "$CACHE/stamps/debs-$release" ]
}

look_for_kernel() {
    configure_apt
    choose_kernel
}

ensure_kernel() {
    local release version
    chosen_kernel_is_here || step "Choosing the newest packaged kernel ${SERIES:+of }${SERIES:-from $KERNEL_MIN to $KERNEL_MAX}" look_for_kernel
    read -r release version <"$CHOICE"
    [ -d "$KERNELS/$release/build" ] && [ -d "$KERNELS/$release/image" ] || rm -f "$CACHE/stamps/"{image,source,kdir}-"$release"
    once "debs-$release" "$version" "Downloading Linux $release and its source" download_kernel "$release" "$version"
    once "image-$release" "$version" "Unpacking its image and modules" unpack_kernel "$release"
    once "source-$release" "$version" "Unpacking its source" unpack_source "$release"
    once "kdir-$release" "$version" "Making its Rust metadata (the longest step)" prepare_kdir "$release"
}

# What an earlier choice of kernel left.
remove_replaced_kernels() {
    local old release
    for old in "$KERNELS"/*/; do
        release=$(basename "$old")
        [ -d "$old/debs" ] || continue
        ! cut -d' ' -f1 "$CACHE/stamps/stock"* | grep -qxF "$release" || continue
        say "removing ${old%/}, which a newer kernel has replaced"
        rm -rf "$old" "$ROOTFS/lib/modules/$release" "$CACHE/stamps/"{debs,image,source,kdir,custom-*}-"$release"
    done
    # Modules of kernels of our own went with them.
    [ ! -d "$ROOTFS/lib/modules" ] || find "$ROOTFS/lib/modules" -maxdepth 1 -xtype l -delete
}
