# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Hosts that know each other by certificates of a private CA (docs/protocol.md, section 9): daemons, module and traffic."""

import signal

import opener
import pytest
import traffic
from certificates import Authority
from helper import negotiated
from hosts import SERVER, Capture, wait_until

NAMES = ["client.example", "spiffe://example/server"]
ENOUGH = 5


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "CA")


def certified(helpers, authorities, names=NAMES):
    """Configures both hosts, each certified by a CA; returns their certificates' serial numbers."""
    (client, server), serials = helpers, []
    for helper, other, authority, name, theirs in (
        (client, server, authorities[0], names[0], NAMES[1]),
        (server, client, authorities[1], names[1], NAMES[0]),
    ):
        tables, serial = authority.certify(helper, name)
        helper.configure(other, host=tables, dials=helper is client)
        pinned, named = f'public-key = "{other.public}"', f'subject = "{theirs}"'
        helper.config.write_text(helper.config.read_text().replace(pinned, named))
        serials.append(serial)
    for helper in helpers:
        helper.start()
    return serials


def test_certified_hosts_negotiate_and_measure_each_other(pair, helpers, authority, results):
    client, server = helpers
    certified(helpers, [authority, authority])
    assert negotiated(*helpers) == 1
    with Capture(pair.client, results(".pcap")) as tap:

        def exchanged():
            traffic.ping(pair.client, SERVER, ENOUGH)
            pings = [f for f in client.command("show")["flows"] if f["protocol"] == 58]
            return any(flow["accepted"] >= ENOUGH for flow in pings)

        wait_until(exchanged, "options are not accepted", 30)
        capture = tap.stop()
    options = [o for o in opener.open_capture(capture, server.key_log) if o.mechanism == "v2-encrypted"]
    assert len(options) >= 2 * ENOUGH and opener.repeated_pairs(options) == []


def test_whoever_was_revoked_is_refused_until_it_no_longer_is(helpers, authority):
    client, server = helpers
    serials = certified(helpers, [authority, authority])
    assert negotiated(*helpers) == 1
    # The list is read by the daemon that runs; what is in force goes on.
    authority.revoke(serials[0])
    wait_until(lambda: "have changed" in server.said(), "the list was not read", 30)
    assert server.sends_under() == 1
    client.kill(signal.SIGKILL)
    client.start()
    wait_until(lambda: "was revoked" in server.said(), "it was not refused", 60)
    assert server.sends_under() == 1 and server.said().count("sending under it") == 1
    assert [s["generation"] for a in server.command("show")["associations"] for s in a["secrets"]] == [1]
    authority.revoke()
    assert negotiated(*helpers, seconds=120, beyond=1) == 2


@pytest.mark.parametrize("who", ["another name", "another CA"])
def test_whoever_is_not_certified_as_the_peer_gets_no_secret(helpers, authority, tmp_path, who):
    client, server = helpers
    impostor = Authority(tmp_path / "impostor")
    if who == "another name":
        certified(helpers, [authority, authority], ["other.example", NAMES[1]])
        refusal = "no peer"
    else:
        # It trusts the CA that certified the server, so that the server is who refuses.
        impostor.file.write_bytes(authority.file.read_bytes())
        impostor.list.write_bytes(authority.list.read_bytes())
        certified(helpers, [impostor, authority])
        refusal = "refused"
    wait_until(lambda: refusal in server.said(), "it was not refused", 60)
    for helper in helpers:
        assert [s for a in helper.command("show")["associations"] for s in a["secrets"]] == []
    assert "negotiated" not in client.said() + server.said().replace("not negotiated", "")
