# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Two hosts that measure each other by one mechanism, with keys from the tests' own key schedule."""

import contextlib
import os

from family import Family, Responder, rule
from hosts import CLIENT, SERVER, wait_until
from opener import write_key_log
from schedule import Secret, Suite, Tuple5

MODES = ("kernel", "helper")


def new_secret(generation=1, suite=Suite(), **other):
    """As negotiated: SharedSecret as long as the suite's hash, a salt of 32 bytes."""
    return Secret(os.urandom(suite.hash.digest_size), os.urandom(32), suite, generation, **other)


class Measuring:
    """Associations, secrets, keys and policies on both hosts of a pair."""

    def __init__(self, pair, mechanism="v2-encrypted", mode="kernel", rules=None, secret=None, **association):
        self.pair, self.mode, self.mechanism = pair, mode, mechanism
        self.secrets = {}
        self.association = association
        self._stack = contextlib.ExitStack()
        self.client = self._stack.enter_context(Family(pair.client))
        self.server = self._stack.enter_context(Family(pair.server))
        self.families = (self.client, self.server)
        self.responders = []
        if mechanism == "v2-encrypted":
            self._associate()
            if mode == "helper":
                self.responders = [
                    self._stack.enter_context(Responder(host, self.secrets, Tuple5))
                    for host in (pair.client, pair.server)
                ]
            self.renew(secret or new_secret())
        for family in self.families:
            family.policy_set(*(rules or [rule(mechanism)]))

    def _associate(self):
        self.client.association_set(CLIENT, SERVER, key_mode=self.mode, **self.association)
        self.server.association_set(SERVER, CLIENT, key_mode=self.mode, **self.association)

    def renew(self, secret):
        """Both hosts send and receive under this secret from now on."""
        self.secrets[secret.generation] = secret
        for family in self.families:
            family.secret_add(secret, prk=self.mode == "kernel")
        for family in self.families:
            family.secret_activate(secret.generation)

    def key_log(self, path):
        """The client host's key log."""
        path.unlink(missing_ok=True)
        path.touch(0o600)
        for secret in self.secrets.values():
            write_key_log(path, "peer", secret, CLIENT, SERVER)
        return path

    def close(self):
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def consistent(family):
    """"Counters add up: options in = accepted + each kind of refusal", in all and on each flow. Returns the stats."""

    def sums():
        stats = family.stats()
        return stats if stats["options-in"] == stats["accepted"] + sum(family.refused().values()) else None

    stats = wait_until(sums, f"options in differ from accepted + refused: {family.stats()}", 2)
    for flow in family.flows():
        refused = sum(entry["options"] for entry in flow.get("refused", []))
        assert flow["options-in"] == flow["accepted"] + refused, flow
    return stats
