# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The helper and the module together: negotiation, key log, restarts, refusals, and that no secret is told."""

import base64
import re
import signal
import time

import module
import opener
import pytest
import traffic
from capture import TCP, UDP
from helper import RULE, Helper, negotiated, path
from hosts import CLIENT, PATIENCE, SERVER, Capture, delay, run, wait_until
from measuring import MODES
from test_plain import mixed_traffic

HELPER_PORT = 4480


def start(helpers, mode="helper"):
    client, server = helpers
    client.configure(server, mode)
    server.configure(client, mode)
    for helper in helpers:
        helper.start()
    return negotiated(*helpers)


def own(flows):
    """Flows that are not the helpers' own."""
    return {f["protocol"]: f for f in flows if HELPER_PORT not in (f["local-port"], f["remote-port"])}


@pytest.mark.parametrize("mode", MODES)
def test_two_hosts_negotiate_and_measure_each_other(pair, helpers, results, mode):
    client, server = helpers
    with Capture(pair.client, results(".pcap")) as tap:
        assert start(helpers, mode) >= 1
        for host in pair.hosts:
            delay(host, 5)
        # A flow that ends before its key is there goes without: on a slow machine it takes some more until each kind has one.
        measured = lambda: own(f for f in client.command("show")["flows"] if f["options-out"] and f["accepted"])  # fmt: skip
        wait_until(lambda: mixed_traffic(pair) or set(measured()) == {TCP, UDP, 58}, "flows stay without keys", 60)
        flows = measured()
        capture = tap.stop()
    for flow in flows.values():
        assert flow["mechanism"] == flow["received-mechanism"] == "v2-encrypted" and flow["accepted"] > 0
        # Bounds from above are for virtual time.
        assert 10 <= flow["rtt"]["smoothed"] / 1e6
    # Either host's key log opens everything.
    for helper in helpers:
        assert helper.key_log.stat().st_mode & 0o777 == 0o600
        options = opener.open_capture(capture, helper.key_log)
        assert len([o for o in options if o.mechanism == "v2-encrypted"]) > 60
        assert opener.repeated_pairs(options) == []
    assert server.kill() == client.kill() == 0


def secrets_of(helper):
    """Every secret a host knows, in every spelling a log could have it in."""
    known = [base64.b64decode(helper.key.read_text())]
    for entry in opener.read_key_log(helper.key_log):
        known += [entry.secret.shared_secret, entry.secret.prk]
    return [text for s in known for text in (s.hex(), s.hex().upper(), base64.b64encode(s).decode(), str(list(s))[1:40])]


def test_no_secret_is_in_any_log(pair, helpers):
    for helper in helpers:
        helper.verbosity = "trace"
    start(helpers)
    mixed_traffic(pair, 5)
    shown = [helper.host.run(path(), *j, c) for helper in helpers for j in ([], ["--json"]) for c in ("show", "policy", "flow")]
    logs = [run("dmesg"), *shown, *(helper.said() for helper in helpers)]
    # Threads, arguments and environment are public too.
    logs += [open(f"/proc/{h.process.pid}/{f}", "rb").read().decode(errors="replace") for h in helpers for f in ("cmdline", "environ")]
    told = [text for helper in helpers for text in secrets_of(helper) for log in logs if text in log]
    assert told == []
    assert all(len(helper.said()) > 200 for helper in helpers), "the logs are empty"


def test_an_unknown_peer_is_refused(pair, helpers, results):
    """"A stranger gets nothing beyond what TLS itself sends." """
    client, server = helpers
    stranger = Helper(pair.client, results("-stranger"), CLIENT)
    client.configure(server)
    server.configure(client, public=stranger.public, dials=False)
    for helper in helpers:
        helper.start()
    wait_until(lambda: "again in" in client.said(), "the client is not refused", 15)
    time.sleep(1)
    assert client.sends_under() is None and server.sends_under() is None
    assert traffic.ping(pair.client, SERVER, 3) == 3
    assert [f["options-out"] for f in own(client.command("flow")).values()] == [0]
    assert not server.key_log.exists() or server.key_log.read_text() == ""


def echoed(capture, *helpers):
    """Every option of the UDP traffic in a capture."""
    options = opener.open_capture(capture, *(helper.key_log for helper in helpers))
    return [o for o in options if o.flow.protocol == UDP]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("killed", ["client", "server"])
def test_kill_9_and_restart_heal_with_a_new_generation_and_repeat_no_nonce(pair, helpers, results, mode, killed):
    victim = helpers[0] if killed == "client" else helpers[1]
    with Capture(pair.client, results(".pcap")) as tap:
        first = start(helpers, mode)
        sock = pair.client.udp()
        with traffic.UdpEcho(pair.server):
            assert traffic.udp_exchange(pair.client, SERVER, 20, sock=sock) == 20
            victim.kill(signal.SIGKILL)
            # "traffic goes on without options or with the old keys"
            assert traffic.udp_exchange(pair.client, SERVER, 20, sock=sock) == 20
            victim.start()
            second = negotiated(*helpers, beyond=first)
            assert traffic.udp_exchange(pair.client, SERVER, 40, sock=sock) == 40
        sock.close()
        capture = tap.stop()
    options = echoed(capture, *helpers)
    assert second > first and {o.generation for o in options} == {first, second}
    assert opener.repeated_pairs(options) == []
    assert {o.generation for o in options[-10:]} == {second}


def test_flush_while_the_daemon_runs_repeats_no_nonce(pair, helpers, results):
    with Capture(pair.client, results(".pcap")) as tap:
        start(helpers)
        sock = pair.client.udp()
        with traffic.UdpEcho(pair.server):
            for _ in range(3):
                # Until both have the keys of the epoch that the last flush led to.
                sends = lambda: all(any(f["options-out"] for f in h.command("flow", "--protocol", "udp")) for h in helpers)  # fmt: skip
                wait_until(
                    lambda: traffic.udp_exchange(pair.client, SERVER, 20, sock=sock) == 20 and sends(), "no options", 30
                )
                for helper in helpers:
                    helper.host.run(path(), "flow", "flush")
        sock.close()
        options = echoed(tap.stop(), *helpers)
    assert {o.fields.epoch for o in options} >= {0, 1, 2} and opener.repeated_pairs(options) == []


@pytest.mark.parametrize("which", ["private key", "key log"])
def test_a_file_that_others_may_read_is_refused(pair, helpers, which):
    client, server = helpers
    client.configure(server)
    file = client.key if which == "private key" else client.key_log
    file.touch()
    file.chmod(0o644)
    client.start()
    assert client.process.wait(10 * PATIENCE) != 0
    client.process = None
    assert str(file) in client.said() and "0644" in client.said() and "chmod 600" in client.said()


# What is wrong: the place in the file, what it is replaced by, the line's key.
WRONG = {
    "an unknown key": ("listen", "lisen", "host.lisen"),
    "an unknown mechanism": ('send = "v2-encrypted"', 'send = "v3"', "rule[1].send"),
    "an address with bits behind the prefix": (f'remote = ["{SERVER}"]', 'remote = ["fd00::1/64"]', "peer[1].remote"),
    "a public key that is none": ("public-key = ", 'public-key = "abc" #', "peer[1].public-key"),
    "an unknown key mode": ('key-mode = "helper"', 'key-mode = "both"', "peer[1].key-mode"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_malformed_configuration_names_file_line_and_key_and_changes_nothing(pair, helpers, name):
    client, server = helpers
    old, new, key = WRONG[name]
    client.configure(server)
    text = client.config.read_text()
    assert old in text
    client.config.write_text(text.replace(old, new))
    line = text[: text.index(old)].count("\n") + 1
    client.start()
    assert client.process.wait(10 * PATIENCE) != 0
    client.process = None
    assert re.search(rf"{re.escape(str(client.config))}:{line}:\d+: {re.escape(key)}", client.said()), client.said()
    assert client.command("policy")["rules"] == [] and client.command("show")["associations"] == []


def test_policy_and_flow_commands(pair, helpers):
    client, _ = helpers
    client.config.write_text('[[rule]]\nsend = "v2"\nexpiry = 0\n\n[[rule]]\nremote = "fd00:7::/64"\nsend = "pdm"\nsample = 3\n')
    client.host.run(path(), "policy", "set", client.config)
    rules = client.command("policy")["rules"]
    assert [(r["send"], r["sample"], r["remote"]) for r in rules] == [("v2", 1, None), ("pdm", 3, "fd00:7::/64")]
    traffic.ping(pair.client, SERVER, 2)
    [flow] = client.command("flow", "--protocol", "icmpv6")
    assert (flow["mechanism"], flow["options-out"], flow["remote-address"]) == ("v2", 2, SERVER)
    assert client.command("flow", "--protocol", "tcp") == []
    text = client.host.run(path(), "flow")
    assert re.search(rf"{SERVER}\s+icmpv6\s+v2/none\s+2\s+2\s", text), text
    client.config.write_text('[[rule]]\nsend = "nonsense"\n')
    with pytest.raises(AssertionError, match=r"pdmv2.toml:2:8: rule\[1\].send"):
        client.host.run(path(), "policy", "set", client.config)
    assert len(client.command("policy")["rules"]) == 2
    client.host.run(path(), "flow", "flush")
    assert client.command("flow") == []
    limits = {
        "flows-max": 99, "memory": 1 << 33, "rest": 7, "pending-max": 77, "associations-max": 2, "acquire-rate": 3,
        "event-rate": 4, "stranger-rate": 5,
    }  # fmt: skip
    rules = client.directory / "limits.toml"
    rules.write_text("[policy]\n" + "".join(f"{name} = {value}\n" for name, value in limits.items()) + RULE)
    client.host.run(path(), "policy", "set", rules)
    assert limits.items() <= client.command("policy").items()
    client.host.run(path(), "policy", "clear")
    # Limits outlive the rules.
    assert client.command("policy")["rules"] == [] and limits.items() <= client.command("policy").items()
    assert "at most 99 flows in 8589934592 bytes" in client.host.run(path(), "policy")


def test_without_the_module_every_command_says_so(pair, helpers):
    module.unload()
    try:
        for command in ("show", "policy", "flow"):
            with pytest.raises(AssertionError, match="(?i)pdmv2.*(module|load)"):
                helpers[0].host.run(path(), command)
    finally:
        module.load()
