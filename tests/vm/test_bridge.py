# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Bridges with br_netfilter, which runs bridged packets through the hooks of IP: what passes is untouched, what the bridge's
own host sends and receives is measured (docs/protocol.md, section 5).

    client fd00:1::1 ---- veth0 [ br0 fd00:1::3, switch ] veth1 ---- fd00:1::2 server
"""

import pytest
import traffic
from capture import UDP, read_pcap
from family import Family, rule
from hosts import CLIENT, LINK, PATIENCE, SERVER, Capture, Pair, run
from measuring import Measuring

SWITCH = "fd00:1::3"
STATEFUL = """table ip6 t {
  counter forwarded { }
  chain f {
    type filter hook forward priority 0
    ct state invalid drop
    counter name forwarded
  }
}
"""


class Bridged(Pair):
    """Client and server on one link, through the bridge of a third host."""

    def __init__(self):
        self.hosts = []
        try:
            self.client, self.server, self.switch = (self._add(name) for name in ("client", "server", "switch"))
            self.switch.ip("link add br0 type bridge mcast_snooping 0")
            for host, port, address in ((self.client, "veth0", CLIENT), (self.server, "veth1", SERVER)):
                self.switch.ip(f"link add {port} type veth peer {LINK} netns {host.name}", f"link set {port} master br0 up")
                self._address(host, LINK, address)
            self._address(self.switch, "br0", SWITCH)
            self.switch.sysctl("net.bridge.bridge-nf-call-ip6tables", 1)
            self.switch.run("nft", "-f", "-", input=STATEFUL)
            for address in (SERVER, SWITCH):
                self.client.run("ping", "-c", 1, "-w", 5 * PATIENCE, address)
        except BaseException:
            self.close()
            raise

    def _address(self, host, device, address):
        host.ip(f"link set {device} up", f"address add {address}/64 dev {device} nodad")
        host.sysctl(f"net.ipv6.neigh.{device}.delay_first_probe_time", 3600)


@pytest.fixture
def bridged(loaded):
    run("modprobe", "-a", "bridge", "br_netfilter")
    with Bridged() as hosts:
        yield hosts


def test_bridged_packets_are_untouched_and_the_bridge_hosts_own_are_measured(bridged, results):
    with Measuring(bridged) as measuring, Family(bridged.switch) as switch, traffic.UdpEcho(bridged.server):
        switch.association_set(SWITCH, [CLIENT, SERVER], key_mode="kernel")
        switch.secret_add(measuring.secrets[1], prk=True)
        switch.secret_activate(1)
        measuring.client.association_set(CLIENT, [SERVER, SWITCH], key_mode="kernel")
        switch.policy_set(rule("v2-encrypted"))
        with Capture(bridged.server, results(".pcap")) as tap:
            assert traffic.udp_exchange(bridged.client, SERVER, 5) == 5
            passed = [p for p in read_pcap(tap.stop()) if p.protocol == UDP]
        # Both ends' options passed as they were, and the bridge's host neither counted nor added anything.
        assert [len(p.options) for p in passed] == [1] * 10
        assert measuring.server.stats()["accepted"] == measuring.client.stats()["accepted"] == 5
        counted = switch.stats()
        assert (counted["options-in"], counted["options-out"], counted["flows"]) == (0, 0, 0)
        assert "forwarded" in (said := bridged.switch.run("nft", "list", "counters")) and "packets 0 " not in said
        # What has no option goes without through it.
        for family in measuring.families:
            family.policy_set()
        with Capture(bridged.server, results("-bare.pcap")) as tap:
            assert traffic.udp_exchange(bridged.client, SERVER, 5) == 5
            assert not [p for p in read_pcap(tap.stop()) if p.options]
        assert switch.stats()["options-out"] == 0
        # Its own address, on the bridge itself.
        measuring.client.policy_set(rule("v2-encrypted"))
        with traffic.UdpEcho(bridged.switch):
            assert traffic.udp_exchange(bridged.client, SWITCH, 5) == 5
        stats = switch.stats()
        assert (stats["options-in"], stats["options-out"], stats["accepted"]) == (5, 5, 5)
        assert switch.skipped() == switch.refused() == measuring.client.refused() == {}
