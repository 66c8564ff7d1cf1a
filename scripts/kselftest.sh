# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The kernel's own network selftests: taken from the source the stock kernel was built from, and built, in the cache.

# What the chosen tests run and are built with, besides the guest's other tools.
SELFTEST_PACKAGES="socat jq iptables ncat traceroute pkg-config libmnl-dev libssl-dev"
# What is packed into the guest's memory, beside what is installed for them: all that they call.
SELFTEST_TOOLS="bash bsdutils conntrack coreutils dash debianutils diffutils ethtool findutils grep hostname iperf3 iproute2
 iptables iputils-ping jq kmod libc-bin mawk ncat nftables mount procps sed socat tar tcpdump traceroute util-linux wireguard-tools"
# The programs they run; net/ and net/netfilter/ each have a Makefile of their own.
SELFTEST_NET_PROGRAMS="udpgso udpgso_bench_tx udpgso_bench_rx ip_defrag tcp_mmap msg_zerocopy nettest ioam6_parser
 ioam6_parser_measured sctp_hello ipv6_flowlabel ipv6_flowlabel_mgr cmsg_sender txtimestamp ipv6_fragmentation"
SELFTEST_NETFILTER_PROGRAMS="nf_queue connect_close conntrack_dump_flush"

# selftests_dir: where they are; beside the build tree of the stock kernel.
selftests_dir() { echo "$KERNELS/$(stock_release)/selftests"; }

selftests_root() { echo "$KERNELS/$(stock_release)/selftests.tar"; }

install_selftest_packages() {
    configure_apt
    # shellcheck disable=SC2086
    in_rootfs apt-get install -y --no-install-recommends $SELFTEST_PACKAGES
    in_rootfs apt-get clean
    sync --file-system "$ROOTFS"
}

# unpack_selftests RELEASE VERSION: what the kernel's build tree leaves out, and the headers for user space of that version.
unpack_selftests() {
    local dir=$KERNELS/$1
    rm -rf "$dir/selftests"
    unpack_linux "$1" selftests.partial "tools/testing/selftests/"{"*.h",lib.mk,"kselftest/*","net/*","wireguard/*"} "tools/include/*"
    in_rootfs bash -euo pipefail -c '
        dir=$0 version=$1
        cd /tmp
        apt-get -o APT::Sandbox::User=root download "linux-libc-dev=$version"
        dpkg-deb -x linux-libc-dev_*.deb headers
        mkdir -p "$dir/selftests.partial/usr"
        cp -r headers/usr/include "$dir/selftests.partial/usr/include"
        # Debian keeps the headers of an architecture in a directory of its own.
        [ -d "$dir/selftests.partial/usr/include/asm" ] ||
            cp -r headers/usr/include/x86_64-linux-gnu/asm "$dir/selftests.partial/usr/include/asm" ||
            { find headers -maxdepth 4; exit 1; }
    ' "$dir" "$2"
    mv "$dir/selftests.partial" "$dir/selftests"
}

# build_selftests RELEASE: the programs, by the selftests' own rules, with the compiler of the kernel.
build_selftests() {
    in_rootfs bash -euc '
        cd "$0/tools/testing/selftests"
        cc=$(sed -n "s/^CONFIG_CC_VERSION_TEXT=\"\([^ ]*\).*/\1/p" "$1/.config")
        # They send 32 GiB, and for 3 s thirty times: an emulated machine takes hours for that.
        sed -i "s/define FILE_SZ (1ULL << 35)/define FILE_SZ (1ULL << 27)/" net/tcp_mmap.c
        sed -i "s/iperf3 -Z -t 3 /iperf3 -Z -n 1M /" wireguard/netns.sh
        grep -q "FILE_SZ (1ULL << 27)" net/tcp_mmap.c
        [ "$(grep -c "iperf3 -Z -n 1M " wireguard/netns.sh)" = 5 ]
        # Taking single addresses away asks for a wg newer than that of Debian trixie.
        sed -i "/allowed-ips -192/,/^ip0 link del wg0/{/^ip0 link del wg0/!d}" wireguard/netns.sh
        # Its parser is to listen before the echo request is sent, and for longer than a busy machine holds up both.
        sed -i "s/^  sleep 0.1$/  sleep 0.5/; s/-c 1 -W 1 2001/-c 1 -W 10 2001/" net/ioam6.sh
        sed -i "s/timeout.tv_sec = 1;/timeout.tv_sec = 10;/" net/ioam6_parser.c
        grep -qx "  sleep 0.5" net/ioam6.sh
        grep -q -- "-c 1 -W 10 2001" net/ioam6.sh
        grep -q "timeout.tv_sec = 10;" net/ioam6_parser.c
        # Behind the header that it looks into, a measured echo request has its Destination Options: a parser of that.
        sed "s/IPPROTO_IPV6 : IPPROTO_ICMPV6)/IPPROTO_IPV6 : IPPROTO_DSTOPTS)/" net/ioam6_parser.c >net/ioam6_parser_measured.c
        ! cmp -s net/ioam6_parser.c net/ioam6_parser_measured.c
        build() { # DIRECTORY PROGRAM...
            local dir=$PWD/$1
            shift
            make -C "$dir" CC="$cc" "${@/#/$dir/}"
        }
        build net $2
        build net/netfilter $3
    ' "$KERNELS/$1/selftests" "$KERNELS/$1/build" "$(echo $SELFTEST_NET_PROGRAMS)" "$(echo $SELFTEST_NETFILTER_PROGRAMS)"
}

# pack_selftests RELEASE: a root for the guest's memory, with the selftests and what they run: reading files of the host
# takes the host's time, in which the clock of a guest in virtual time leaps on to its next timer, and tests' time limits
# run out. It is small, since it is unpacked for every run: programs, and the libraries that they name.
pack_selftests() {
    in_rootfs bash -euo pipefail -c '
        selftests=${0#/} archive=$1
        shift 2
        dpkg -L "$@" | sed -nE "s/^\/(usr\/)?((s?bin|libexec)\/.)/usr\/\2/p" >/tmp/tools
        # awk, iptables and others are links that no package has.
        find usr/bin usr/sbin -lname "/etc/alternatives/*" | while read -r link; do
            ! realpath --relative-to=/ "$link" | grep -qxF -f /tmp/tools || echo "$link"
        done >>/tmp/tools
        { cat /tmp/tools; find "$selftests"; } >/tmp/programs
        {
            cat /tmp/programs
            find usr/lib/x86_64-linux-gnu/xtables
            # Scripts name none, and ldd ends in an error for them.
            { xargs -a /tmp/programs ldd || true; ldd usr/lib/x86_64-linux-gnu/xtables/*.so; } 2>/dev/null |
                sed -nE "s|.* => /(usr/)?(lib[^ ]*) .*|usr/\2|p" | sort -u | while read -r library; do
                    echo "$library"
                    realpath --relative-to=/ "$library"
                done
            # Opened by name, not linked.
            ls usr/lib/x86_64-linux-gnu/libgcc_s.so*
            printf "%s\n" usr/lib64 usr/lib/x86_64-linux-gnu/ld-linux* bin sbin lib lib64 etc usr/share/iproute2 usr/lib/locale/C.utf8
        } | sort -u >/tmp/files
        tar -c -f "$archive.partial" --no-recursion -T <(while read -r path; do
            case $path in etc | usr/lib64 | usr/share/iproute2 | usr/lib/locale/C.utf8) find "$path" ;; *) echo "$path" ;; esac
        done </tmp/files)
        mv "$archive.partial" "$archive"
        ls -l "$archive"
    ' "$KERNELS/$1/selftests/tools/testing/selftests" "$(selftests_root)" - $SELFTEST_TOOLS
}

ensure_selftests() {
    local release version
    read -r release version <"$CHOICE"
    [ -x "$ROOTFS/usr/bin/socat" ] || rm -f "$CACHE/stamps/selftest-packages"
    [ -d "$KERNELS/$release/selftests" ] || rm -f "$CACHE/stamps/"{selftests,selftest-programs}-"$release"
    [ -f "$(selftests_root)" ] || rm -f "$CACHE/stamps/selftest-root-$release"
    once selftest-packages "$SUITE $(echo $SELFTEST_PACKAGES)" "Installing what the kernel's selftests run" install_selftest_packages
    once "selftests-$release" "$version" "Unpacking the kernel's selftests" unpack_selftests "$release" "$version"
    once "selftest-programs-$release" "$version 128M 1M old-wg 10s $(echo $SELFTEST_NET_PROGRAMS $SELFTEST_NETFILTER_PROGRAMS)" \
        "Building the kernel's selftests" build_selftests "$release"
    once "selftest-root-$release" "$version $(cksum <<<"$SELFTEST_TOOLS $(declare -f pack_selftests)") $(cat "$CACHE/stamps/selftest-"{packages,"programs-$release"} | tr '\n' ' ')" \
        "Packing the kernel's selftests and what they run" pack_selftests "$release"
}
