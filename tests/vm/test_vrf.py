# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Two VRFs of one host, in which the same addresses are two peers.

     red  veth0 ---- veth0 \\
 fd00:1::2       fd00:1::1  client, veth0 in VRF red, veth1 in VRF blue
    blue  veth0 ---- veth1 /

"An association is bound to one scope: an interface for link-local addresses, a VRF otherwise."
"""

import contextlib
import errno
import socket

import module
import opener
import pytest
import traffic
from capture import UDP
from family import Family, error_of, rule
from helper import Helper, negotiated
from hosts import CLIENT, LINK, SERVER, Capture, Host, link
from measuring import new_secret

VRFS = {"red": (LINK, 10), "blue": ("veth1", 20)}


class Twins:
    """The client, and the host behind each of its VRFs, with families and secrets of their own."""

    def __init__(self, stack):
        self.client = self._host(stack, "client")
        self.servers = {name: self._host(stack, name) for name in VRFS}
        for name, (device, table) in VRFS.items():
            link(self.client, self.servers[name], CLIENT, SERVER, left_device=device)
            self.client.run("ip", "link", "add", name, "type", "vrf", "table", table)
            self.client.run("ip", "link", "set", name, "up")
            self.client.run("ip", "link", "set", device, "master", name)
            # Enslaving a device may take its addresses away.
            self.client.run("ip", "address", "replace", f"{CLIENT}/64", "dev", device, "nodad")
        self.families = {host.name: stack.enter_context(Family(host)) for host in (self.client, *self.servers.values())}
        self.secrets = {name: new_secret() for name in VRFS}
        for name, family in self.families.items():
            family.policy_set(rule("v2-encrypted", protocol=UDP))
            if name in VRFS:
                self.share(family, "peer", SERVER, CLIENT, self.secrets[name])

    @staticmethod
    def _host(stack, name):
        host = Host(name)
        stack.callback(host.close)
        return host

    @staticmethod
    def share(family, name, local, remote, secret, **settings):
        family.association_set(local, remote, name=name, key_mode="kernel", **settings)
        family.secret_add(secret, name=name, prk=True)
        family.secret_activate(secret.generation, name=name)

    def bound(self):
        """The client's associations, each with its VRF and the secret of the host behind it."""
        for name in VRFS:
            vrf = self.client.ifindex(name)
            self.share(self.families["client"], name, CLIENT, SERVER, self.secrets[name], vrf=vrf)

    def sock(self, name, port=0):
        """A socket of the client in one of the VRFs."""
        sock = self.client.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        sock.bind(("::", port))
        return sock

    def exchange(self, name, sock, count=5):
        """Requests, all answered; how many options were accepted at either end, and why packets went without."""
        client, server = self.families["client"], self.families[name]
        before = client.stats()["accepted"], server.stats()["accepted"], client.skipped()
        assert traffic.udp_exchange(self.client, SERVER, count, sock=sock) == count
        after = client.stats()["accepted"], server.stats()["accepted"], client.skipped()
        skipped = {reason: n - before[2].get(reason, 0) for reason, n in after[2].items() if n != before[2].get(reason, 0)}
        return after[0] - before[0], after[1] - before[1], skipped


@pytest.fixture
def twins(loaded):
    with contextlib.ExitStack() as stack:
        if not module.is_loaded():
            module.load()
        made = Twins(stack)
        for server in made.servers.values():
            stack.enter_context(traffic.UdpEcho(server))
        yield made


def test_each_vrf_has_its_own_peer_and_secret(twins):
    twins.bound()
    for name in (*VRFS, *VRFS):
        with twins.sock(name) as sock:
            assert twins.exchange(name, sock) == (5, 5, {})
            flow = twins.families["client"].flow(UDP, local_port=sock.getsockname()[1])
            assert flow["association"] == name
    assert all(family.refused() == {} for family in twins.families.values())
    vrfs = {a["name"]: a["vrf"] for a in twins.families["client"].associations()}
    assert vrfs == {name: twins.client.ifindex(name) for name in VRFS}


def test_an_association_of_no_vrf_covers_nothing_in_one(twins):
    client = twins.families["client"]
    twins.share(client, "main", CLIENT, SERVER, twins.secrets["red"])
    with twins.sock("red") as sock:
        # What the other side seals is refused, too.
        assert twins.exchange("red", sock) == (0, 0, {"no-association": 5})
        assert set(client.refused()) <= {"no-association"}
        # Bound to the VRF, it covers the flow that is there already.
        client.association_set(CLIENT, SERVER, name="main", key_mode="kernel", vrf=twins.client.ifindex("red"))
        assert twins.exchange("red", sock) == (5, 5, {})


def test_one_5_tuple_in_two_vrfs_repeats_no_key_and_nonce(twins, results):
    """Both share a flow, which belongs to the VRF it was first protected in: in the other, packets go without."""
    twins.bound()
    client, port = twins.families["client"], 6000
    taps = {
        name: Capture(twins.client, results(f"-{name}.pcap"), device, "udp or ip6 protochain 17")
        for name, (device, _) in VRFS.items()
    }
    with contextlib.ExitStack() as stack:
        for tap in taps.values():
            stack.enter_context(tap)
        red, blue = (stack.enter_context(twins.sock(name, port)) for name in ("red", "blue"))
        assert twins.exchange("red", red) == (5, 5, {})
        for _ in range(3):
            assert twins.exchange("blue", blue) == (0, 0, {"no-association": 5})
            assert twins.exchange("red", red) == (5, 5, {})
        # Once it is gone, it belongs to whichever comes first.
        client.flow_flush()
        assert twins.exchange("blue", blue) == (5, 5, {})
        assert twins.exchange("red", red) == (0, 0, {"no-association": 5})
        client.flow_flush()
        assert twins.exchange("red", red) == (5, 5, {})
        captures = {name: tap.stop() for name, tap in taps.items()}
    # A secret is sent under from one address once: another VRF does not get it a second time.
    client.association_set(CLIENT, SERVER, name="blue-again", key_mode="kernel", vrf=twins.client.ifindex("blue"))
    client.secret_add(twins.secrets["red"], name="blue-again", prk=True)
    assert error_of(client.secret_activate, 1, name="blue-again")[0] == errno.EALREADY
    options = []
    for name, capture in captures.items():
        log = results(f"-{name}.keys")
        log.unlink(missing_ok=True)
        opener.write_key_log(log, name, twins.secrets[name], CLIENT, SERVER)
        options += [o for o in opener.open_capture(capture, log) if o.key is not None]
    assert len(options) > 60 and opener.repeated_pairs(options) == []


def test_the_helper_dials_a_peer_in_a_vrf(twins, results):
    with contextlib.ExitStack() as stack:
        hosts = (twins.client, CLIENT), (twins.servers["blue"], SERVER)
        client, server = (Helper(host, results(f"-{host.name}"), address) for host, address in hosts)
        for helper in (client, server):
            stack.callback(helper.close)
        server.configure(client, dials=False)
        server.start()
        client.configure(server, extra='vrf = "blue"\n')
        # Its own address is in a VRF, where a socket of none cannot be.
        client.config.write_text(client.config.read_text().replace(f"[{CLIENT}]:4480", "[::]:4480"))
        client.start()
        negotiated(client, server)
        with twins.sock("blue") as sock:
            twins.exchange("blue", sock)
            accepted, _, skipped = twins.exchange("blue", sock)
            assert accepted > 0 and set(skipped) <= {"no-key"}
