#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# tcp_mmap is a program without a script. Two hosts whose frames hold just one page of payload; zero copy on both sides.
set -u
ip netns add server
ip netns add client
ip link add veth0 netns server type veth peer name veth0 netns client
for host in server:1 client:2; do
    # A page, the TCP header with timestamps, the IPv6 header.
    ip -n "${host%:*}" link set veth0 mtu $((4096 + 32 + 40)) up
    ip -n "${host%:*}" addr add "fd00:9::${host#*:}/64" dev veth0 nodad
done
ip netns exec server stdbuf -oL ./tcp_mmap -6 -s -z -i >/run/tcp_mmap &
server=$!
until ip netns exec server ss -6lnt | grep -q :8787; do sleep 0.1; done
ip netns exec client ./tcp_mmap -6 -H fd00:9::1 -z -i
for _ in {1..100}; do
    grep -q received /run/tcp_mmap && break
    sleep 0.1
done
kill $server
cat /run/tcp_mmap
told() { if "${@:2}"; then echo "PASS: $1"; else echo "FAIL: $1"; fi; }
told "all of it arrived" grep -q 'received 128 MB' /run/tcp_mmap
told "its digest is right" grep -q 'SHA256 is correct' /run/tcp_mmap
told "pages were mapped, not copied" grep -qE "\((9[0-9]|100).* mmap'ed\)" /run/tcp_mmap
ip netns del server
ip netns del client
