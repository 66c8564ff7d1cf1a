# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""A daemon in everyday use: new secrets on an operator's word, another configuration, an unprivileged user, a service manager."""

import json
import os
import signal
import socket
import threading
from pathlib import Path

import module
import opener
import pytest
import traffic
from capture import UDP, read_pcap
from helper import RULE, negotiated, path
from hosts import PATIENCE, SERVER, Capture, wait_until
from measuring import MODES

NOBODY = 65534
# New secrets on an operator's word, from either end in turn.
ROUNDS = 4
# Nobody, with the one capability that the daemon needs.
UNPRIVILEGED = [
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs",
    "--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin", "--bounding-set=-all,+net_admin",
]  # fmt: skip


def start(client, server, mode="helper"):
    client.configure(server, mode)
    server.configure(client, mode, dials=False)
    for helper in (client, server):
        helper.start()
    # On a busy machine, an exchange of theirs may be given up and begun again.
    return negotiated(client, server, seconds=60)


class Traffic:
    """Datagrams of one flow there and back, until it is closed."""

    def __init__(self, pair):
        self._pair, self._ended, self.sent, self.answered = pair, threading.Event(), 0, 0
        self._socket, self._echo = pair.client.udp(), traffic.UdpEcho(pair.server)
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self):
        while not self._ended.is_set():
            self.sent += 20
            self.answered += traffic.udp_exchange(self._pair.client, SERVER, 20, interval=0.02, sock=self._socket)

    def more(self, count=40):
        """Waits until so many more have been answered."""
        wanted = self.answered + count
        wait_until(lambda: self.answered >= wanted, "no traffic", 60)

    def __enter__(self):
        # So that the flow has its keys, at both ends.
        self.more()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join(10 * PATIENCE)
        self._socket.close()
        self._echo.close()


def udp_flow(helper):
    [flow] = helper.command("flow", "--protocol", "udp")
    return flow


def without_option(capture):
    """Datagrams without an option after the first that had one, of each direction."""
    directions, bare = set(), []
    for packet in read_pcap(capture):
        if packet.flow.protocol != UDP:
            continue
        if packet.options:
            directions.add(packet.flow)
        elif packet.flow in directions:
            bare.append(packet)
    return bare


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", MODES)
def test_rekey_under_traffic_makes_before_it_breaks(pair, helpers, results, mode):
    """"Renegotiation on an operator's word: make before break." """
    client, server = helpers
    first = start(client, server, mode)
    with Capture(pair.client, results(".pcap")) as tap:
        with Traffic(pair) as flowing:
            # Of a flow that begins, the first options may come before their keys.
            before = [(flow["skipped"], flow["refused"]) for flow in map(udp_flow, helpers)]
            for step in range(1, ROUNDS + 1):
                helper = (client, server)[step % 2]
                [answer] = helper.ask("rekey", helper.command("show")["associations"][0]["name"])
                assert answer["generation"] == first + step
                # It was done when it said so: this host sends under it.
                assert helper.sends_under() == first + step
                assert negotiated(client, server) == first + step
                flowing.more()
        capture = tap.stop()
    assert without_option(capture) == []
    options = [o for o in opener.open_capture(capture, client.key_log) if o.flow.protocol == UDP]
    assert {o.generation for o in options} >= set(range(first + 1, first + ROUNDS + 1))
    assert opener.repeated_pairs(options) == []
    assert [(flow["skipped"], flow["refused"]) for flow in map(udp_flow, helpers)] == before
    for helper in helpers:
        # The generation before is accepted for a minute yet, those before it are gone.
        [association] = helper.command("show")["associations"]
        states = {s["generation"]: s["state"] for s in association["secrets"]}
        assert states.pop(first + ROUNDS) == "send" and states in ({}, {first + ROUNDS - 1: "retired"})


def test_rekey_fails_with_the_reason(pair, helpers):
    client, server = helpers
    start(client, server)
    server.kill()
    with pytest.raises(AssertionError, match="(?s)pdmv2: server: .*refused"):
        client.host.run(path(), "rekey", "--socket", client.control, "server")
    with pytest.raises(AssertionError, match="no peer is named `nobody`"):
        client.host.run(path(), "rekey", "--socket", client.control, "nobody")
    [status] = client.ask("status")["peers"]
    assert "refused" in status["last-error"] and status["session"] is None and status["generation"]
    with pytest.raises(AssertionError, match="cannot reach a daemon"):
        server.host.run(path(), "status", "--socket", server.control)


@pytest.mark.timeout(300)
def test_sync_adds_and_removes_peers_under_traffic_and_others_notice_nothing(pair, helpers, results):
    client, server = helpers
    generation = start(client, server, "kernel")
    old = client.peer(server, "kernel")
    other = f'[[peer]]\nname = "other"\npublic-key = "{"A" * 43}="\nlocal = ["{client.address}"]\nremote = ["fd00:9::/64"]\n'
    with Capture(pair.client, results(".pcap")) as tap:
        with Traffic(pair) as flowing:
            for peers, added, removed in [([other, old], ["other"], []), ([old], [], ["other"]), ([old, other], ["other"], [])]:
                client.write(*peers)
                report = client.command("sync", client.config)
                assert (report["added"], report["removed"], report["unchanged"]) == (added, removed, [server.host.name])
                flowing.more()
            # On SIGHUP likewise.
            client.write(old.replace("kernel", "kernel\"\non-failure = \"drop"))
            os.kill(client.process.pid, signal.SIGHUP)
            wait_until(lambda: "is in force" in client.said(), "nothing came into force")
            flowing.more()
            [association] = client.command("show")["associations"]
            assert (association["name"], association["on-failure"]) == (server.host.name, "drop")
            # What is wrong changes nothing, and says so.
            client.write(other, old, old)
            with pytest.raises(AssertionError, match=r"pdmv2.toml:\d+:\d+: peer\[3\].name: another peer is named"):
                client.host.run(path(), "sync", client.config)
            assert [a["name"] for a in client.command("show")["associations"]] == [server.host.name]
        capture = tap.stop()
    assert without_option(capture) == []
    assert client.sends_under() == server.sends_under() == generation
    assert udp_flow(client)["refused"] == udp_flow(server)["refused"] == {}

    # Removed: its session ends, its secrets are gone from the module, and it cannot come back.
    client.write()
    assert client.command("sync", client.config)["removed"] == [server.host.name]
    assert client.command("show")["associations"] == []
    wait_until(lambda: server.ask("status")["peers"][0]["session"] is None, "the session is still there")
    before = udp_flow(client)["options-out"]
    with traffic.UdpEcho(pair.server):
        assert traffic.udp_exchange(pair.client, SERVER, 5) == 5
    assert sorted(flow["options-out"] for flow in client.command("flow", "--protocol", "udp")) == [0, before]
    # And back.
    client.write(old)
    assert client.command("sync", client.config)["added"] == [server.host.name]
    negotiated(client, server, beyond=generation)


def test_what_the_module_refuses_halfway_is_put_back(pair, helpers):
    client, server = helpers
    start(client, server)
    others = [
        f'[[peer]]\nname = "n{n}"\npublic-key = "{chr(65 + n)}{"A" * 42}="\nlocal = ["{client.address}"]\nremote = ["fd00:9:{n}::/64"]\n'
        for n in range(3)
    ]
    in_force = lambda: (  # What does not change by itself.
        [(a["name"], a["remote"], [(s["id"], s["state"]) for s in a["secrets"]]) for a in client.command("show")["associations"]],
        [(rule["send"], rule["remote"]) for rule in client.command("policy")["rules"]],
        client.command("policy")["associations-max"],
    )
    before = in_force()
    client.write(client.peer(server), *others, rules=f"[policy]\nassociations-max = 3\n{RULE}")
    with pytest.raises(AssertionError, match="associations-max is 3, which is too little for 4 peers"):
        client.host.run(path(), "sync", client.config)
    assert in_force() == before
    # Room for what goes and what comes at once is made, and given back.
    client.write(client.peer(server), others[0], rules=f"[policy]\nassociations-max = 2\n{RULE}")
    client.command("sync", client.config)
    client.write(client.peer(server), others[1], rules=f"[policy]\nassociations-max = 2\n{RULE}")
    report = client.command("sync", client.config)
    assert (report["added"], report["removed"], client.command("policy")["associations-max"]) == (["n1"], ["n0"], 2)
    assert sorted(a["name"] for a in client.command("show")["associations"]) == ["n1", server.host.name]


def test_an_unprivileged_user_with_one_capability_suffices(pair, helpers, tmp_path):
    client, server = helpers
    for helper in helpers:
        helper.wrapper = UNPRIVILEGED
        helper.control = tmp_path / f"{helper.host.name}.sock"
        for file in (helper.key, helper.key_log):
            file.touch()
            os.chown(file, NOBODY, NOBODY)
            file.chmod(0o600)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    os.chown(tmp_path, NOBODY, NOBODY)
    generation = start(client, server)
    status = open(f"/proc/{client.process.pid}/status", encoding="ascii").read()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert fields["Uid"].split() == [str(NOBODY)] * 4
    assert {int(fields[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Bnd", "Amb")} == {1 << 12}
    # Whoever has not even its user's rights cannot look into it, nor have a dump of it.
    assert os.stat(f"/proc/{client.process.pid}/mem").st_uid == 0
    with Traffic(pair):
        assert client.ask("rekey")[0]["generation"] == generation + 1
        client.write(client.peer(server, extra='on-failure = "drop"'))
        assert client.command("sync", client.config)["changed"] == [{"peer": server.host.name, "keys": ["on-failure"]}]
    assert udp_flow(client)["accepted"] > 0
    # Its own user may ask it; another may not, whatever the mode of the socket.
    as_user = lambda uid: ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", path(), "status", "--socket", client.control]  # fmt: skip
    assert server.host.name in client.host.run(*as_user(NOBODY))
    with pytest.raises(AssertionError, match="Permission denied"):
        client.host.run(*as_user(1234))
    client.control.chmod(0o666)
    with pytest.raises(AssertionError, match="hung up without an answer"):
        client.host.run(*as_user(1234))
    # Without the capability it does not start, and says why.
    client.kill()
    client.wrapper = [word.replace(",+net_admin", "") for word in UNPRIVILEGED]
    client.start()
    assert client.process.wait(10 * PATIENCE) != 0
    client.process = None
    assert "CAP_NET_ADMIN" in client.said(), client.said()


def test_two_daemons_in_one_namespace_are_told(pair, helpers, tmp_path):
    client, server = helpers
    start(client, server)
    config = tmp_path / "second.toml"
    config.write_text(client.config.read_text().replace(str(client.control), str(tmp_path / "second.sock")).replace(":4480", ":4481"))
    with pytest.raises(AssertionError, match=f"another daemon runs in this network namespace: process {client.process.pid} "):
        client.host.run(path(), "daemon", "--config", config, timeout=10 * PATIENCE)
    # The first one is not disturbed, and after a kill nothing is in the way.
    assert client.ask("status")["peers"]
    client.kill(signal.SIGKILL)
    generation = client.sends_under()
    client.start()
    assert negotiated(client, server, beyond=generation)


class Manager:
    """What a service manager does: it is told, and hands a socket and a credential over."""

    def __init__(self, directory):
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(20 * PATIENCE)

    def told(self, helper):
        try:
            return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
        except TimeoutError as error:
            raise AssertionError(f"nothing was told: {helper.said()}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def test_a_service_manager_is_told_and_hands_over_socket_and_key(pair, helpers, tmp_path):
    client, server = helpers
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    key = credentials / "private-key"
    key.write_bytes(server.key.read_bytes())
    # As systemd leaves it, with an access control list whose mask shows as the group's bits.
    key.chmod(0o440)
    listening = server.host.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listening.bind(("::", 4480))
    listening.listen()
    client.configure(server)
    server.configure(client, dials=False)
    server.config.write_text(server.config.read_text().replace(str(server.key), "$CREDENTIALS_DIRECTORY/private-key"))
    with Manager(tmp_path) as manager:
        server.environment = {"NOTIFY_SOCKET": str(manager.path), "CREDENTIALS_DIRECTORY": str(credentials), "LISTEN_FDS": "1"}
        # The socket is descriptor 3, and meant for the process that is the daemon in the end.
        server.wrapper = ["bash", "-c", f'exec 3<&{listening.fileno()}; export LISTEN_PID=$$; exec "$@"', "bash"]
        server.start(pass_fds=[listening.fileno()])
        ready = manager.told(server)
        assert ready["READY"] == "1" and "listening on [::]:4480, 1 peers" in ready["STATUS"], ready
        listening.close()
        client.start()
        generation = negotiated(client, server)
        os.kill(server.process.pid, signal.SIGHUP)
        reloading = manager.told(server)
        assert reloading["RELOADING"] == "1" and int(reloading["MONOTONIC_USEC"]) > 0, reloading
        assert "is in force" in manager.told(server)["STATUS"]
        # The socket is the manager's: another address takes a restart.
        server.config.write_text(server.config.read_text().replace(":4480", ":4481"))
        with pytest.raises(AssertionError, match="host.listen .the socket is the service manager's. .* restart"):
            server.host.run(path(), "sync", server.config)
        assert server.kill() == 0 and manager.told(server) == {"STOPPING": "1"}
    assert client.sends_under() == generation


def test_another_namespaces_daemon_is_not_taken_for_ones_own(pair, helpers):
    client, server = helpers
    for helper, other in ((client, server), (server, client)):
        helper.configure(other)
        helper.config.write_text("".join(line for line in helper.config.read_text().splitlines(True) if "control-socket" not in line))
    client.start()
    wait_until(lambda: "listening" in client.said(), "the daemon does not start")
    server.start()
    # The second one finds the socket taken, says so, and does without.
    negotiated(client, server)
    assert "another daemon has it" in server.said()
    assert client.command("rekey")[0]["peer"] == server.host.name
    for command in (["rekey"], ["status"], ["sync", server.config]):
        with pytest.raises(AssertionError, match="another network namespace"):
            server.host.run(path(), *command)


def journal_entry(data):
    """The fields of a datagram in the journal's protocol: NAME=value, or NAME and a value with its length before it."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, has_value, value = line.partition(b"=")
        if not has_value:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


def test_the_journal_gets_fields(pair, helpers):
    client, server = helpers
    server.configure(client, dials=False)
    client.configure(server)
    journal = Path("/run/systemd/journal/socket")
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(journal))
        log.settimeout(20 * PATIENCE)
        server.start()
        command = (path(), "daemon", "--config", client.config, "--log-format", "journal")
        client.process = client.host.start(*command)
        entry = next(entry for entry in iter(lambda: journal_entry(log.recv(65536)), None) if "PEER" in entry)
        assert entry["PEER"] == server.host.name and entry["PRIORITY"], entry
    journal.unlink()


def test_a_log_of_objects_keeps_its_fields(pair, helpers):
    client, server = helpers
    server.configure(client, dials=False)
    client.configure(server)
    server.start()
    with open(client.log, "w", encoding="utf-8") as log:
        client.process = client.host.start(path(), "daemon", "--config", client.config, "--log-format", "json", stderr=log)
    generation = negotiated(client, server)
    lines = [json.loads(line) for line in client.said().splitlines()]
    [line] = [line["fields"] for line in lines if line["fields"]["message"].startswith("negotiated")]
    assert (line["peer"], line["generation"]) == (server.host.name, generation)


def test_what_is_loaded_anew_is_told_what_was_synced_last(pair, helpers):
    """A configuration that came later is the one that a module loaded anew gets."""
    client, server = helpers
    generation = start(client, server)
    client.write(client.peer(server, extra='on-failure = "drop"'))
    client.command("sync", client.config)
    module.unload()
    module.load()
    negotiated(client, server, beyond=generation)
    [association] = client.command("show")["associations"]
    assert association["on-failure"] == "drop"
