# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The Debian trixie tree: made once by debootstrap, entered through private mounts that vanish with the command.

SUITE=trixie
# Compilers of the kernel's own distribution (the Rust symbol names of a module carry the compiler's version) ...
BUILD_PACKAGES="rustc rust-src rustfmt bindgen clang gcc make bc bison flex libelf-dev libssl-dev cpio xz-utils dwarves python3"
# ... and what the guest boots, runs and is tested with.
GUEST_PACKAGES="virtiofsd qemu-system-x86 qemu-utils busybox-static iproute2 kmod procps iputils-ping tshark tcpdump
 ethtool iperf3 nftables conntrack python3-yaml python3-jsonschema python3-cryptography python3-scapy
 python3-pytest python3-pytest-timeout wireguard-tools strace linux-perf bpftrace"

# The archive this machine already uses, asked of apt itself.
apt_archive() {
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $3 !~ /security|updates|backports/ { print $1; exit }'
}

# in_rootfs [-b SRC:DST]... COMMAND...: runs a command inside the tree, with the kernels at the path they have on
# the host. The mounts live in a mount namespace of their own, so that nothing is left mounted however it ends,
# and killing it kills all it started. READ_ONLY=yes keeps the command from changing the tree.
in_rootfs() {
    local binds=("$KERNELS:$KERNELS")
    mkdir -p "$KERNELS"
    while [ "${1:-}" = -b ]; do binds+=("$2"); shift 2; done
    ROOTFS=$ROOTFS BINDS="${binds[*]:-}" unshare --mount --pid --fork --kill-child --propagation private bash -euc '
        mount --bind "$ROOTFS" "$ROOTFS"
        mount -t proc proc "$ROOTFS/proc"
        mount --rbind /sys "$ROOTFS/sys"
        mount --rbind /dev "$ROOTFS/dev"
        mount -t tmpfs tmpfs "$ROOTFS/tmp"
        mount -t tmpfs tmpfs "$ROOTFS/run"
        for b in $BINDS; do
            mkdir -p "$ROOTFS${b#*:}"
            mount --bind "${b%%:*}" "$ROOTFS${b#*:}"
        done
        [ -z "${READ_ONLY:-}" ] || mount -o remount,bind,ro "$ROOTFS"
        exec chroot "$ROOTFS" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive TERM="${TERM:-dumb}" "$@"' in_rootfs "$@"
}

make_tree() {
    rm -rf "$ROOTFS.partial" "$CACHE/stamps/packages"*
    # debootstrap does not read apt's settings.
    local proxy=''
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    [ -z "$proxy" ] || export http_proxy="${http_proxy:-$proxy}"
    debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$ROOTFS.partial" "$(apt_archive)"
    rm -rf "$ROOTFS"
    mv "$ROOTFS.partial" "$ROOTFS"
}

configure_apt() {
    local archive
    archive=$(apt_archive)
    printf 'deb %s %s main\ndeb %s %s-backports main\n' "$archive" "$SUITE" "$archive" "$SUITE" >"$ROOTFS/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::.*(Proxy|Verify|CaInfo|Check-)' >"$ROOTFS/etc/apt/apt.conf.d/50host" || true
    cp -L /etc/resolv.conf "$ROOTFS/etc/resolv.conf"
    # Without a sync for each file; install_packages does one for all, before the step counts as done.
    printf 'force-unsafe-io\npath-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' \
        >"$ROOTFS/etc/dpkg/dpkg.cfg.d/lean"
    in_rootfs apt-get update
}

# install_packages PACKAGE...
install_packages() {
    in_rootfs dpkg --configure -a # an interrupted run may have left packages half configured
    configure_apt
    in_rootfs apt-get install -y --no-install-recommends "$@"
    in_rootfs apt-get clean
    sync --file-system "$ROOTFS"
}

ensure_rootfs() {
    local packages
    packages="$SUITE $BUILD_PACKAGES $GUEST_PACKAGES"
    [ -x "$ROOTFS/usr/bin/env" ] || rm -f "$CACHE/stamps/rootfs"
    [ "$(cat "$CACHE/stamps/packages" 2>/dev/null)" = "$packages" ] && [ -f "$CACHE/stamps/rootfs" ] && return 0
    need_space 8
    [ -n "$(apt_archive)" ] || step "Fetching the package lists" apt-get update
    [ -n "$(apt_archive)" ] || die "apt knows no Debian archive; add one to /etc/apt/sources.list and run apt-get update"
    command -v debootstrap >/dev/null && command -v cc >/dev/null ||
        step "Installing debootstrap and a C compiler on this machine" sh -c 'apt-get update && apt-get install -y --no-install-recommends debootstrap gcc libc6-dev'
    once rootfs "$SUITE" "Making a Debian $SUITE tree" make_tree
    # shellcheck disable=SC2086
    once packages "$packages" "Installing the module's toolchain and the guest's tools in it" install_packages $BUILD_PACKAGES $GUEST_PACKAGES
}
