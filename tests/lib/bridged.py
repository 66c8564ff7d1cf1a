# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Two hosts with a bridge between them that loses, doubles and reorders what the client sends.

    +-- client ---------+      +-- middle ------------------------------+      +-- server ---------+
    |            veth0  |      |  to-client  --- br0 ---  to-server     |      |  veth0            |
    |   fd00:1::1/64    +------+  drops (nftables)        netem         +------+  fd00:1::2/64     |
    +-------------------+      +----------------------------------------+      +-------------------+

A capture on the client has what was sent, one on the server what arrived.
"""

from hosts import CLIENT, LINK, PATIENCE, SERVER, Pair

TO_CLIENT, TO_SERVER = "to-client", "to-server"


class Bridged(Pair):
    """The everyday pair, with a middle."""

    def __init__(self):
        self.hosts = []
        try:
            self.client, self.middle, self.server = (self._add(name) for name in ("client", "middle", "server"))
            self.middle.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            self.middle.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
            self.middle.ip("link add br0 type bridge mcast_snooping 0")
            for host, port, address in ((self.client, TO_CLIENT, CLIENT), (self.server, TO_SERVER, SERVER)):
                self.middle.ip(
                    f"link add {port} type veth peer {LINK} netns {host.name}", f"link set {port} master br0 up"
                )
                host.ip(f"link set {LINK} up", f"address add {address}/64 dev {LINK} nodad")
                host.sysctl(f"net.ipv6.neigh.{LINK}.delay_first_probe_time", 3600)
            self.middle.ip("link set br0 up")
            self.client.run("ping", "-c", 1, "-w", 5 * PATIENCE, SERVER)
        except BaseException:
            self.close()
            raise

    def netem(self, *words):
        """What netem does to packets on their way to the server; without words, nothing."""
        self.middle.run("tc", "qdisc", "del", "dev", TO_SERVER, "root", check=False)
        if words:
            self.middle.run("tc", "qdisc", "add", "dev", TO_SERVER, "root", "netem", *words)

    def drop_every(self, n):
        """Loses every nth packet of the client that has a Destination Options header; 0 ends that."""
        self.middle.run("nft", "flush", "ruleset")
        if n:
            chain = f'type filter hook ingress device "{TO_CLIENT}" priority 0;'
            rule = f"ip6 nexthdr 60 numgen inc mod {n} == {n - 1} drop;"
            self.middle.run("nft", f"table netdev impair {{ chain drops {{ {chain} {rule} }}; }}")
