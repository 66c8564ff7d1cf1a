# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The netlink family, driven by the kernel's own YNL client from docs/netlink/pdmv2.yaml."""

import contextlib
import errno
import os
import socket
import struct

import pytest
import traffic
from capture import UDP
from family import Family, Netlink, NlError, error_of, prefix, rule
from hosts import CLIENT, PATIENCE, SERVER, wait_until
from measuring import Measuring, new_secret

EINVAL, ENOENT, EPERM = errno.EINVAL, errno.ENOENT, errno.EPERM
NOBODY = 65534


@pytest.fixture
def client(pair):
    with Family(pair.client) as family:
        yield family


@pytest.fixture
def associated(client):
    """A policy, an association with a secret, in key mode helper; and one in key mode kernel."""
    client.association_set(CLIENT, SERVER, key_mode="helper", on_failure="drop", peer_idle=77)
    client.association_set("fd00:9::/64", ["fd00:a::/64", "fd00:b::1"], name="derived", key_mode="kernel")
    client.secret_add(new_secret(generation=3))
    client.policy_set(rule("v2-encrypted"))
    return client


def everything(family):
    """All that a request could have changed."""
    policy = family.policy_get()
    for r in policy.get("rule", []):
        r.pop("hits")
    associations = family.associations()
    for secret in (s for a in associations for s in a.get("secret", [])):
        secret.pop("lifetime")
    return policy, associations


def test_a_policy_reads_back_as_it_was_set(client):
    rules = [
        rule(
            "v2-encrypted", local="fd00:1::/64", remote=f"{SERVER}/128", protocol=6, local_port_first=1, local_port_last=2,
            remote_port_first=443, remote_port_last=444, direction={"outbound"}, accept={"v2", "v2-encrypted"}, sample=7,
            mirror=True,
        ),
        {"send": "none", "expiry": 500},
        {"send": "pdm"},
    ]  # fmt: skip
    client.policy_set(*rules, forbid_plain=True, flows_max=99, idle=55)
    policy = client.policy_get()
    assert (policy["forbid-plain"], policy["flows-max"], policy["idle"]) == (True, 99, 55)
    first, second, third = policy["rule"]
    for name, value in rules[0].items():
        if name not in ("local", "remote", "expiry"):
            assert first[name] == value, name
    assert (first["local"], first["remote"]) == (prefix("fd00:1::/64"), prefix(SERVER))
    assert "expiry" not in first or first["expiry"] == 0
    # "expiry (monitoring stops by itself; 1 hour for rules made without one)"
    assert 490 < second["expiry"] <= 500 and 3590 < third["expiry"] <= 3600
    assert (third["send"], third["accept"], third["sample"]) == ("pdm", {"pdm"}, 1)
    client.policy_set()
    assert "rule" not in client.policy_get() and "forbid-plain" not in client.policy_get()


def test_a_rule_stops_by_itself(pair):
    with Measuring(pair, "v2") as measuring:
        measuring.client.policy_set({"send": "v2", "expiry": PATIENCE})
        traffic.ping(pair.client, SERVER, 1)
        assert measuring.client.stats()["options-out"] == 1
        wait_until(lambda: measuring.client.policy_get()["rule"][0].get("expiry") == 0, "the rule never expires", 3)
        traffic.ping(pair.client, SERVER, 2)
        assert measuring.client.stats()["options-out"] == 1


def test_the_first_rule_that_matches_decides(pair):
    # The first names the server, as listener reports are ICMPv6 too.
    rules = [rule("none", protocol=58, remote=f"{SERVER}/128"), rule("pdm", remote_port_first=7000, remote_port_last=7000), rule("v2")]
    with Measuring(pair, "v2", rules=rules) as measuring, traffic.UdpEcho(pair.server), traffic.TcpEcho(pair.server, 7005):
        measuring.server.policy_set(rule("none", accept={"pdm", "v2"}))
        traffic.ping(pair.client, SERVER, 3)
        traffic.udp_exchange(pair.client, SERVER, 3)
        traffic.tcp_exchange(pair.client, SERVER, 2, port=7005)
        flows = {f["id"]["protocol"]: f["mechanism"] for f in measuring.client.flows()}
        hits = [r["hits"] for r in measuring.client.policy_get()["rule"]]
        assert measuring.server.stats()["options-out"] == 0
    assert flows == {17: "pdm", 6: "v2"}
    assert hits[0] == 3 and hits[1] == 3 and hits[2] > 4


def test_mirror_answers_with_what_the_peer_used(pair):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server):
        measuring.server.policy_set(rule("none", accept={"pdm", "v2"}, mirror=True))
        for mechanism in ("pdm", "v2"):
            measuring.client.policy_set(rule(mechanism))
            sock = pair.client.udp()
            traffic.udp_exchange(pair.client, SERVER, 3, sock=sock)
            flow = measuring.client.flow(UDP, local_port=sock.getsockname()[1])
            sock.close()
            assert flow["received-mechanism"] == mechanism and flow["accepted"] == 3


def test_an_association_reads_back_without_any_key(associated):
    secret = associated.associations()[0]["secret"][0]
    named = {a["name"]: a for a in associated.associations()}
    assert named["peer"]["local"] == [prefix(CLIENT)] and named["peer"]["remote"] == [prefix(SERVER)]
    assert (named["peer"]["key-mode"], named["peer"]["on-failure"], named["peer"]["peer-idle"]) == ("helper", "drop", 77)
    assert named["derived"]["remote"] == [prefix("fd00:a::/64"), prefix("fd00:b::1")]
    assert named["derived"]["profile"] == "v2" and "secret" not in named["derived"]
    assert (secret["generation"], secret["state"], secret["may-send"]) == (3, "receive", True)
    assert (secret["kem"], secret["kdf"], secret["aead"], secret["highest-epoch"]) == (0x20, 1, 1, 0)
    associated.secret_activate(3)
    secret = associated.associations()[0]["secret"][0]
    assert secret["state"] == "send" and "may-send" not in secret
    associated.secret_del(3)
    associated.association_del("peer")
    assert [a["name"] for a in associated.associations()] == ["derived"]


def test_no_answer_holds_a_key(pair):
    """"Keys are write-only: no command returns one." Every byte of every dump is searched."""
    with Measuring(pair, mode="kernel") as measuring:
        traffic.ping(pair.client, SERVER, 2)
        secret = measuring.secrets[1]
        received = bytearray()
        ynl = measuring.client.ynl
        original = ynl._recvmsg
        ynl._recvmsg = lambda flags=0: _kept(original(flags), received)
        measuring.client.policy_get(), measuring.client.associations(), measuring.client.flows(), measuring.client.stats()
        keys = [secret.prk, secret.shared_secret]
        from schedule import Tuple5

        for flow in (Tuple5(58, CLIENT, 0, SERVER, 0), Tuple5(58, SERVER, 0, CLIENT, 0)):
            keys += secret.flow_key(0, flow)
        assert len(received) > 500 and secret.id in received
        for key in keys:
            assert key not in received and key[:8] not in received


def _kept(answer, received):
    received += answer[0]
    return answer


# What is wrong, as a change to a good request: (command, request, errno, what the message says).
GOOD_KEY = {
    "association": "peer", "generation": 3, "direction": "send", "epoch": 0, "key": bytes(16), "base-nonce": bytes(12),
    "flow": {"local-address": CLIENT, "local-port": 1, "remote-address": SERVER, "remote-port": 2, "protocol": 17},
}  # fmt: skip
GOOD_ASSOCIATION = {"name": "new", "local": [prefix("fd00:5::1")], "remote": [prefix("fd00:6::1")]}
GOOD_SECRET = {
    "association": "peer", "generation": 4, "id": bytes(8), "kem": 0x20, "kdf": 1, "aead": 1, "lifetime": 100
}  # fmt: skip


def without(request, *names):
    return {name: value for name, value in request.items() if name not in names}


def flow_without(name):
    return GOOD_KEY | {"flow": without(GOOD_KEY["flow"], name)}


WRONG = {
    "rule without send": ("policy-set", {"rule": [{"protocol": 6}]}, EINVAL, "send"),
    "rule among limits": ("limits-set", {"rest": 9, "rule": [{"send": "v2"}]}, EINVAL, "rule"),
    "limit out of bounds": ("limits-set", {"rest": 0}, EINVAL, "rest"),
    "second rule without send": ("policy-set", {"rule": [{"send": "v2"}, {"protocol": 6}]}, EINVAL, "send"),
    "unknown mechanism": ("policy-set", {"rule": [{"send": 4}]}, EINVAL, "send"),
    "prefix of 129 bits": ("policy-set", {"rule": [{"send": 1, "local": prefix("::/129")}]}, EINVAL, "length"),
    "bits behind the prefix": ("policy-set", {"rule": [{"send": 1, "remote": prefix("fd00::1/64")}]}, EINVAL, "length"),
    "address of 15 bytes": ("policy-set", {"rule": [{"send": 1, "local": {"address": bytes(15), "length": 1}}]}, EINVAL, "address"),
    "prefix without length": ("policy-set", {"rule": [{"send": 1, "local": {"address": "::"}}]}, EINVAL, "length"),
    "ports in the wrong order": ("policy-set", {"rule": [{"send": 1, "local-port-first": 2, "local-port-last": 1}]}, EINVAL, "local-port-last"),
    "direction 0": ("policy-set", {"rule": [{"send": 1, "direction": 0}]}, EINVAL, "direction"),
    "accept with an unknown bit": ("policy-set", {"rule": [{"send": 1, "accept": 16}]}, EINVAL, "accept"),
    "sample 0": ("policy-set", {"rule": [{"send": 1, "sample": 0}]}, EINVAL, "sample"),
    "no flows": ("policy-set", {"rule": [{"send": 1}], "flows-max": 0}, EINVAL, "flows-max"),
    "too many flows": ("policy-set", {"rule": [{"send": 1}], "flows-max": 1048577}, EINVAL, "flows-max"),
    "idle 0": ("policy-set", {"rule": [{"send": 1}], "idle": 0}, EINVAL, "idle"),
    "too many rules": ("policy-set", {"rule": [{"send": 1}] * 513}, EINVAL, "rule"),
    "association without name": ("association-set", without(GOOD_ASSOCIATION, "name"), EINVAL, "name"),
    "association with an empty name": ("association-set", GOOD_ASSOCIATION | {"name": ""}, EINVAL, "name"),
    "association with a long name": ("association-set", GOOD_ASSOCIATION | {"name": "n" * 64}, (EINVAL, errno.ERANGE), "name"),
    "association without local": ("association-set", without(GOOD_ASSOCIATION, "local"), EINVAL, "local"),
    "association without remote": ("association-set", without(GOOD_ASSOCIATION, "remote"), EINVAL, "remote"),
    "too many prefixes": ("association-set", GOOD_ASSOCIATION | {"remote": [prefix(f"fd00::{n:x}") for n in range(33)]}, EINVAL, "remote"),
    "profile 1": ("association-set", GOOD_ASSOCIATION | {"profile": 1}, EINVAL, "profile"),
    "profile 4": ("association-set", GOOD_ASSOCIATION | {"profile": 4}, EINVAL, "profile"),
    "a rule of profile 4": ("policy-set", {"rule": [{"send": 2, "profile": 4}]}, EINVAL, "profile"),
    "key mode 2": ("association-set", GOOD_ASSOCIATION | {"key-mode": 2}, EINVAL, "key-mode"),
    "on-failure 2": ("association-set", GOOD_ASSOCIATION | {"on-failure": 2}, EINVAL, "on-failure"),
    "peer idle for more than a day": ("association-set", GOOD_ASSOCIATION | {"peer-idle": 86401}, EINVAL, "peer-idle"),
    "no such association": ("association-del", {"name": "nobody"}, ENOENT, "name"),
    "secret of no association": ("secret-add", GOOD_SECRET | {"association": "nobody"}, ENOENT, "association"),
    "secret without id": ("secret-add", without(GOOD_SECRET, "id"), EINVAL, "id"),
    "secret without lifetime": ("secret-add", without(GOOD_SECRET, "lifetime"), EINVAL, "lifetime"),
    "secret with lifetime 0": ("secret-add", GOOD_SECRET | {"lifetime": 0}, EINVAL, "lifetime"),
    "secret with an id of 7 bytes": ("secret-add", GOOD_SECRET | {"id": bytes(7)}, EINVAL, "id"),
    "generation 0": ("secret-add", GOOD_SECRET | {"generation": 0}, EINVAL, "generation"),
    "an older generation": ("secret-add", GOOD_SECRET | {"generation": 2}, errno.EEXIST, "generation"),
    "the same generation": ("secret-add", GOOD_SECRET | {"generation": 3}, errno.EEXIST, "generation"),
    "an AEAD that the module lacks": ("secret-add", GOOD_SECRET | {"aead": 4}, errno.EOPNOTSUPP, "aead"),
    "the AEAD that only exports": ("secret-add", GOOD_SECRET | {"aead": 0xFFFF}, errno.EOPNOTSUPP, "aead"),
    "a KDF that no key schedule here has": ("secret-add", GOOD_SECRET | {"kdf": 2}, errno.EOPNOTSUPP, "kdf"),
    "the reserved KEM": ("secret-add", GOOD_SECRET | {"kem": 0}, EINVAL, "kem"),
    "a prk where the helper derives": ("secret-add", GOOD_SECRET | {"prk": bytes(32)}, EINVAL, "prk"),
    "no prk where the kernel derives": ("secret-add", GOOD_SECRET | {"association": "derived"}, EINVAL, "prk"),
    "a short prk": ("secret-add", GOOD_SECRET | {"association": "derived", "prk": bytes(31)}, EINVAL, "prk"),
    "an id of another prk": ("secret-add", GOOD_SECRET | {"association": "derived", "prk": bytes(32)}, EINVAL, "id"),
    "a KDF that the module lacks": ("secret-add", GOOD_SECRET | {"association": "derived", "kdf": 2, "prk": bytes(48)}, errno.EOPNOTSUPP, "kdf"),
    "a prk as long as another KDF's": ("secret-add", GOOD_SECRET | {"association": "derived", "kdf": 3, "prk": bytes(32)}, EINVAL, "prk"),
    "an id of another prk of SHA-512": ("secret-add", GOOD_SECRET | {"association": "derived", "kdf": 3, "prk": bytes(64)}, EINVAL, "id"),
    "activating no such generation": ("secret-activate", {"association": "peer", "generation": 9}, ENOENT, "generation"),
    "extending no such generation": ("secret-extend", {"association": "peer", "generation": 9, "epoch-last": 9}, ENOENT, "generation"),
    "extending to no epoch": ("secret-extend", {"association": "peer", "generation": 3}, EINVAL, "epoch-last"),
    "deleting no such generation": ("secret-del", {"association": "peer", "generation": 9}, ENOENT, "generation"),
    "key of 15 bytes": ("key-add", GOOD_KEY | {"key": bytes(15)}, EINVAL, "key"),
    "key of 32 bytes for AES-128": ("key-add", GOOD_KEY | {"key": bytes(32)}, EINVAL, "key"),
    "key of 33 bytes": ("key-add", GOOD_KEY | {"key": bytes(33)}, (EINVAL, errno.ERANGE), "key"),
    "nonce of 11 bytes": ("key-add", GOOD_KEY | {"base-nonce": bytes(11)}, EINVAL, "base-nonce"),
    "epoch 4096": ("key-add", GOOD_KEY | {"epoch": 4096}, EINVAL, "epoch"),
    "direction 2": ("key-add", GOOD_KEY | {"direction": 2}, EINVAL, "direction"),
    "key of no generation": ("key-add", GOOD_KEY | {"generation": 9}, ENOENT, "generation"),
    "key where the kernel derives": ("key-add", GOOD_KEY | {"association": "derived"}, EINVAL, "association"),
    "key of no flow": ("key-add", GOOD_KEY, ENOENT, "flow"),
    "flow without protocol": ("key-add", flow_without("protocol"), EINVAL, "protocol"),
    "flow without an address": ("key-add", flow_without("remote-address"), EINVAL, "remote-address"),
}  # fmt: skip


@pytest.mark.timeout(180)
def test_a_malformed_request_names_the_field_and_changes_nothing(associated):
    before = everything(associated)
    bad = []
    for name, (command, request, number, field) in WRONG.items():
        try:
            got, message, attribute = error_of(associated.ynl.do, command, request)
        except AssertionError as accepted:
            bad.append((name, str(accepted)))
            continue
        numbers = number if isinstance(number, tuple) else (number,)
        if got not in numbers or not (field in message or attribute.endswith("." + field)):
            bad.append((name, os.strerror(got), message, attribute))
        if everything(associated) != before:
            bad.append((name, "something changed"))
            before = everything(associated)
    assert bad == []


def raw(family, command, payload, flags=0, length=None):
    """Sends attributes as bytes; returns the errno and the message of the answer."""
    op = family.ynl.ops[command]
    body = struct.pack("BBH", op.req_value, 1, 0) + payload
    header = struct.pack("=IHHII", 16 + len(body) if length is None else length, family.ynl.nlproto.family_id, 5 | flags, 77, 0)
    family.ynl.sock.send(header + body)
    answer = family.ynl.sock.recv(65536)
    size, kind, answer_flags, _, _ = struct.unpack_from("=IHHII", answer)
    assert kind == Netlink.NLMSG_ERROR
    number = -struct.unpack_from("=i", answer, 16)[0]
    return number, answer[36:size]


def attribute(number, value=b"", length=None):
    pad = bytes(-len(value) % 4)
    return struct.pack("=HH", 4 + len(value) if length is None else length, number) + value + pad


# Attributes that no client library would write.
DAMAGED = {
    "an attribute beyond the last": ("policy-set", attribute(200, b"1234")),
    "an attribute of no number": ("policy-set", attribute(0, b"1234")),
    "an attribute shorter than its header": ("policy-set", attribute(4, b"1234", length=3)),
    "an attribute longer than the message": ("policy-set", attribute(4, b"1234", length=4000)),
    "trailing bytes": ("policy-set", attribute(4, struct.pack("=I", 5)) + b"x"),
    "an integer of 3 bytes": ("policy-set", attribute(4, b"123")),
    "an integer of 8 bytes": ("policy-set", attribute(4, b"12345678")),
    "an empty rule": ("policy-set", attribute(2 | 0x8000)),
    "a rule with an unknown attribute": ("policy-set", attribute(2 | 0x8000, attribute(60, b"abcd"))),
    "a rule that overruns": ("policy-set", attribute(2 | 0x8000, attribute(10, b"\x01", length=60))),
    "a name without its zero": ("association-del", attribute(1, b"peer")),
    "a flag with a value": ("policy-set", attribute(1, b"1") + attribute(2 | 0x8000, attribute(10, b"\x02"))),
    "no attribute at all": ("association-set", b""),
    "an attribute that the command does not take": ("flow-flush", attribute(200, b"1234")),
}  # fmt: skip


def test_damaged_messages_are_refused_and_change_nothing(associated):
    before = everything(associated)
    accepted = []
    for name, (command, payload) in DAMAGED.items():
        number, _ = raw(associated, command, payload)
        if number == 0:
            accepted.append(name)
        if everything(associated) != before:
            accepted.append((name, "something changed"))
            before = everything(associated)
    assert accepted == []


def test_an_unknown_command_is_refused(associated):
    op = associated.ynl.ops["stats-get"]
    body = struct.pack("BBH", 200, 1, 0)
    header = struct.pack("=IHHII", 16 + len(body), associated.ynl.nlproto.family_id, 5, 77, 0)
    associated.ynl.sock.send(header + body)
    answer = associated.ynl.sock.recv(65536)
    assert op and struct.unpack_from("=i", answer, 16)[0] == -errno.EOPNOTSUPP


COMMANDS = {
    "policy-set": {"rule": [{"send": "v2"}]}, "policy-get": {}, "association-set": GOOD_ASSOCIATION,
    "association-del": {"name": "peer"}, "association-get": None, "secret-add": GOOD_SECRET,
    "secret-activate": {"association": "peer", "generation": 3}, "secret-del": {"association": "peer", "generation": 3},
    "key-add": GOOD_KEY, "flow-get": None, "flow-flush": {}, "stats-get": None, "limits-set": {"idle": 77},
    "secret-extend": {"association": "peer", "generation": 3, "epoch-last": 4095},
}  # fmt: skip


def test_every_command_is_tried_by_an_unprivileged_user(associated):
    """The table above covers the specification."""
    asked = {name for name, op in associated.ynl.ops.items() if "do" in op.yaml or "dump" in op.yaml}
    assert asked == set(COMMANDS)


def as_nobody(host, what):
    """Calls something in a process without privileges; returns the errno it ended in, 0 for none."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        number = 255
        with contextlib.suppress(BaseException):
            with host.inside():
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                try:
                    what()
                    number = 0
                except NlError as error:
                    number = error.error
                except OSError as error:
                    number = error.errno
        os.write(write, bytes([number]))
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        return int.from_bytes(pipe.read(), "big")


def fresh_socket(family):
    """A socket of the caller's own: what counts is who opened it."""
    family.ynl.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, Netlink.NETLINK_GENERIC)
    family.ynl.sock.setsockopt(Netlink.SOL_NETLINK, Netlink.NETLINK_EXT_ACK, 1)
    return family.ynl


def test_an_unprivileged_user_may_do_nothing(pair, associated):
    before = everything(associated)
    allowed = {}
    for command, request in COMMANDS.items():
        def ask(command=command, request=request):
            ynl = fresh_socket(associated)
            ynl.dump(command, {}) if request is None else ynl.do(command, request)

        if (number := as_nobody(pair.client, ask)) != EPERM:
            allowed[command] = number
    for group in ("keys", "events"):
        if (number := as_nobody(pair.client, lambda group=group: fresh_socket(associated).ntf_subscribe(group))) != EPERM:
            allowed[group] = number
    assert allowed == {}
    assert everything(associated) == before


def test_root_may_join_both_groups(pair):
    for group in ("keys", "events"):
        with Family(pair.client) as family:
            family.ynl.ntf_subscribe(group)


def test_a_refusal_under_another_policy_is_told_as_an_event(pair):
    """"Anomaly events ...: bursts of failures; rate limited, counted, sent to netlink listeners." """
    with Measuring(pair, "v2") as measuring, Family(pair.server) as listener, traffic.UdpEcho(pair.server):
        listener.ynl.ntf_subscribe("events")
        measuring.server.policy_set(rule("pdm"))
        sock = pair.client.udp()
        traffic.udp_exchange(pair.client, SERVER, 400, interval=0, sock=sock, timeout=0.5)
        events = [m["msg"] for m in listener.ynl.poll_ntf(duration=0.5)]
        sock.close()
    assert events and {e["event"] for e in events} == {"refused"}
    assert events[0]["reason"] == "policy" and events[0]["flow"]["protocol"] == UDP
    assert len(events) <= 400
