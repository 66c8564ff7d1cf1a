# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The netlink family `pdmv2`, driven by the kernel's own YNL client from docs/netlink/pdmv2.yaml."""

import copy
import errno
import functools
import os
import queue
import socket
import struct
import sys
import threading

from hosts import PATIENCE, TOP

sys.path.insert(0, os.environ["YNL"])
from pyynl.lib import NlError, YnlFamily  # noqa: E402
from pyynl.lib.ynl import GenlProtocol, Netlink  # noqa: E402

SPEC = TOP / "docs" / "netlink" / "pdmv2.yaml"
DEFAULT_ASSOCIATION = "peer"
SO_RCVBUFFORCE = 33
GENL_HEADERS = 20  # bytes in front of a request's attributes


@functools.cache
def _family():
    """The family as the specification has it, checked against the kernel's schema. Reading YAML is slow: done once."""
    schema = os.path.join(os.environ["KDIR"], "Documentation", "netlink", "genetlink.yaml")
    return YnlFamily(str(SPEC), schema)


class Family:
    """The family in a host's namespace. Each command of the specification is a method of the same name."""

    def __init__(self, host):
        self.host = host
        spec = _family()
        # Its numbers change with every load of the module.
        GenlProtocol.genl_family_name_to_id = None
        self.ynl = copy.copy(spec)
        with host.inside():
            self.ynl.nlproto = GenlProtocol(spec.yaml["name"])
            self.ynl.mcast_groups = spec.mcast_groups
            self.ynl.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, Netlink.NETLINK_GENERIC)
        for option in (Netlink.NETLINK_CAP_ACK, Netlink.NETLINK_EXT_ACK, Netlink.NETLINK_GET_STRICT_CHK):
            self.ynl.sock.setsockopt(Netlink.SOL_NETLINK, option, 1)
        self.ynl.async_msg_queue = queue.Queue()
        # The library's own way to the attribute meant by an error fails where a list of nests lies in between.
        self.ynl._decode_extack = self._tell_attribute

    def close(self):
        self.ynl.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _tell_attribute(self, request, op, extack, _):
        """Turns the offset of an error into the path of names that leads there."""
        if "bad-attr-offs" in extack:
            target, at, end, attributes, path = extack["bad-attr-offs"], GENL_HEADERS, len(request), op.attr_set, ""
            while at < end:
                length, number = struct.unpack_from("=HH", request, at)
                spec = attributes.attrs_by_val.get(number & ~Netlink.NLA_TYPE_MASK)
                if at <= target < at + length and spec:
                    path += "." + spec.name
                    if at == target or spec["type"] != "nest":
                        break
                    at, end, attributes = at + 4, at + length, self.ynl.attr_sets[spec["nested-attributes"]]
                else:
                    at += max(4, (length + 3) & ~3)
            extack["bad-attr"] = path

    def policy_set(self, *rules, **settings):
        return self.ynl.do("policy-set", {"rule": list(rules), **dashed(settings)})

    def limits_set(self, **limits):
        return self.ynl.do("limits-set", dashed(limits))

    def policy_get(self):
        return self.ynl.do("policy-get", {}) or {}

    def association_set(self, local, remote, name=DEFAULT_ASSOCIATION, **settings):
        sides = {"local": [prefix(p) for p in as_list(local)], "remote": [prefix(p) for p in as_list(remote)]}
        return self.ynl.do("association-set", {"name": name, **sides, **dashed(settings)})

    def association_del(self, name=DEFAULT_ASSOCIATION):
        return self.ynl.do("association-del", {"name": name})

    def associations(self):
        return self.ynl.dump("association-get", {})

    def secret_add(self, secret, name=DEFAULT_ASSOCIATION, prk=False, lifetime=3600, **epochs):
        suite = {"kem": secret.suite.kem, "kdf": secret.suite.kdf, "aead": secret.suite.aead}
        request = {"association": name, "generation": secret.generation, "id": secret.id, "lifetime": lifetime, **suite}
        return self.ynl.do("secret-add", request | dashed(epochs) | ({"prk": secret.prk} if prk else {}))

    def secret_activate(self, generation, name=DEFAULT_ASSOCIATION):
        return self.ynl.do("secret-activate", {"association": name, "generation": generation})

    def secret_extend(self, generation, last, name=DEFAULT_ASSOCIATION):
        return self.ynl.do("secret-extend", {"association": name, "generation": generation, "epoch-last": last})

    def secret_del(self, generation, name=DEFAULT_ASSOCIATION):
        return self.ynl.do("secret-del", {"association": name, "generation": generation})

    def secret(self, generation, name=DEFAULT_ASSOCIATION):
        """What the module tells of a generation."""
        [association] = [a for a in self.associations() if a["name"] == name]
        [secret] = [s for s in association["secret"] if s["generation"] == generation]
        return secret

    def key_add(self, generation, direction, flow, epoch, key, base_nonce, name=DEFAULT_ASSOCIATION):
        request = {"association": name, "generation": generation, "direction": direction, "flow": flow, "epoch": epoch}
        return self.ynl.do("key-add", {**request, "key": key, "base-nonce": base_nonce})

    def flows(self):
        return self.ynl.dump("flow-get", {})

    def flow_flush(self):
        return self.ynl.do("flow-flush", {})

    def stats(self):
        [stats] = self.ynl.dump("stats-get", {})
        return stats

    def flow(self, protocol, remote_port=None, local_port=None, pending=False):
        """The one flow of this protocol and these ports."""
        found = [
            flow
            for flow in self.flows()
            if flow["id"]["protocol"] == protocol
            and remote_port in (None, flow["id"]["remote-port"])
            and local_port in (None, flow["id"]["local-port"])
            and flow.get("pending", False) == pending
        ]
        assert len(found) == 1, found
        return found[0]

    def skipped(self, icmpv6=False):
        """Packets without an option, by reason; neighbour discovery, which comes as it likes, only when asked for."""
        skipped = counts(self.stats(), "skipped", "packets")
        return skipped if icmpv6 else {reason: n for reason, n in skipped.items() if reason != "icmpv6"}

    def refused(self):
        """Options refused, by reason."""
        return counts(self.stats(), "refused", "options")


def counts(of, attribute, number):
    return {entry["reason"]: entry[number] for entry in of.get(attribute, [])}


def dashed(settings):
    return {name.replace("_", "-"): value for name, value in settings.items()}


def as_list(value):
    return value if isinstance(value, list) else [value]


def prefix(text):
    address, _, length = text.partition("/")
    return {"address": address, "length": int(length or 128)}


def rule(send, **settings):
    """A rule that never expires, and accepts what it sends unless told otherwise."""
    for side in ("local", "remote"):
        if side in settings:
            settings[side] = prefix(settings[side])
    return {"send": send, "expiry": 0, **dashed(settings)}


def flow_id(tuple5, direction):
    """The attribute set flow-id of a 5-tuple as sent, seen from the sender ('send') or the receiver ('receive')."""
    mine, theirs = ("s", "d") if direction == "send" else ("d", "s")
    side = lambda which, letter: {
        f"{which}-address": getattr(tuple5, letter + "addr"), f"{which}-port": getattr(tuple5, letter + "port")
    }  # fmt: skip
    return {**side("local", mine), **side("remote", theirs), "protocol": tuple5.protocol}


def error_of(call, *arguments, **settings):
    """The error a request ends in: (errno, message, attribute)."""
    try:
        call(*arguments, **settings)
    except NlError as error:
        extack = error.nl_msg.extack or {}
        return error.error, extack.get("msg", ""), extack.get("bad-attr", "")
    raise AssertionError("the request was accepted")


class Responder:
    """Answers ACQUIRE on one host, as the helper does: derives each key asked for and installs it."""

    def __init__(self, host, secrets, tuple5):
        """`secrets` by generation, may grow; `tuple5` makes a 5-tuple (protocol, saddr, sport, daddr, dport)."""
        self.secrets, self.tuple5 = secrets, tuple5
        self.answered = []
        self.errors = []
        self._ended = threading.Event()
        self._listener, self._sender = Family(host), Family(host)
        self._listener.ynl.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        self._listener.ynl.ntf_subscribe("keys")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self._ended.is_set():
            try:
                for message in self._listener.ynl.poll_ntf(duration=0.2):
                    self._answer(message["msg"])
            except OSError as error:
                # Lost messages are asked again.
                if error.errno != errno.ENOBUFS:
                    raise

    def _answer(self, asked):
        flow = asked["flow"]
        local, remote = ((flow[f"{side}-address"], flow[f"{side}-port"]) for side in ("local", "remote"))
        sender, receiver = (local, remote) if asked["direction"] == "send" else (remote, local)
        sent = self.tuple5(flow["protocol"], *sender, *receiver)
        key, base_nonce = self.secrets[asked["generation"]].flow_key(asked["epoch"], sent)
        try:
            self._sender.key_add(
                asked["generation"], asked["direction"], flow, asked["epoch"], key, base_nonce, asked["association"]
            )
            self.answered.append((asked["direction"], asked["epoch"]))
        except NlError as error:
            self.errors.append(error)

    def close(self):
        self._ended.set()
        self._thread.join(5 * PATIENCE)
        self._listener.close()
        self._sender.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
