# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Secrets that may be sent under in some epochs only, and what is told while they are used up."""

import errno
import time

import opener
import pytest
from family import Family, error_of, rule
from hosts import CLIENT, SERVER, Capture, Pair
from measuring import Measuring, new_secret

PORT = 7000
UDP_ONLY = "udp or ip6 protochain 17"
LAST = 4095  # epoch
OPTION_AN_EPOCH = {"epoch_packets": 1}


def told(listener, seconds=3):
    return {message["msg"]["event"] for message in listener.ynl.poll_ntf(duration=seconds) if message["name"] == "event"}


class Leased(Measuring):
    """As Measuring, where the client may send under its first secret in some epochs only."""

    def __init__(self, pair, first, last, **settings):
        self.epochs = {"epoch_first": first, "epoch_last": last}
        super().__init__(pair, **settings)

    def renew(self, secret):
        self.secrets[secret.generation] = secret
        for family in self.families:
            epochs = self.epochs if family is self.client and secret.generation == 1 else {}
            family.secret_add(secret, prk=self.mode == "kernel", **epochs)
            family.secret_activate(secret.generation)


def send(pair, sock, count):
    for _ in range(count):
        sock.sendto(b"x", (SERVER, PORT))


def epochs_sent(options):
    return [option.fields.epoch for option in options if option.direction == "out"]


def reach(pair, client, sock, epoch):
    """Sends until an epoch is the highest sent in."""
    for _ in range(4 * LAST):
        if client.secret(1)["highest-epoch"] >= epoch:
            return
        send(pair, sock, 1)
        # Where the helper gives the keys, an option waits for each.
        time.sleep(0.02)
    raise AssertionError(f"epoch {epoch} is never reached")


@pytest.mark.parametrize("mode", ("kernel", "helper"))
def test_nothing_is_sent_outside_of_the_epochs_that_were_leased(pair, results, mode):
    """"It therefore sends only within an epoch range [a, b) ...; it ... stops at b." """
    with (
        Leased(pair, 100, 119, mode=mode, **OPTION_AN_EPOCH) as leased,
        pair.server.udp(port=PORT),
        pair.client.udp() as sock,
        Capture(pair.server, results(".pcap"), expression=UDP_ONLY) as tap,
    ):
        client = leased.client
        reach(pair, client, sock, 119)
        client.secret_extend(1, 120)
        reach(pair, client, sock, 120)
        before = client.secret(1)["options-out"]
        send(pair, sock, 5)
        more = client.secret(1)["options-out"] - before
        # Where keys come from the helper an epoch ends early only once the next one's is there.
        assert more == (0 if mode == "kernel" else 5) and client.skipped().get("exhausted", 0) >= 5 - more
        assert (client.secret(1)["epoch-first"], client.secret(1)["epoch-last"]) == (100, 120)
        # More, and it goes on by itself; flows that start anew do not start below the first.
        client.secret_extend(1, 130)
        reach(pair, client, sock, 125)
        client.flow_flush()
        reach(pair, client, sock, 127)
        options = opener.open_capture(tap.stop(), leased.key_log(results(".keys")))
        assert client.secret(1)["options-out"] == len(epochs_sent(options)) == client.stats()["options-out"]
    sent = epochs_sent(options)
    assert sent == sorted(sent) and set(sent) == set(range(100, max(sent) + 1)) and max(sent) in (127, 128)
    assert opener.repeated_pairs(options) == []


def test_more_epochs_are_asked_for_at_three_quarters(pair):
    """"... asks for more at three quarters". It is repeated every 5 s; a rate leaves under two minutes only while it lasts."""
    first, last = 100, 139
    with (
        Family(pair.client) as listener,
        Leased(pair, first, last, **OPTION_AN_EPOCH) as leased,
        pair.server.udp(port=PORT),
        pair.client.udp() as sock,
    ):
        listener.ynl.ntf_subscribe("events")
        for epoch, asked in ((first + 26, False), (first + 27, True)):
            reach(pair, leased.client, sock, epoch)
            told(listener)
            assert told(listener, 7) == ({"epochs-low"} if asked else set()), epoch
        leased.client.secret_extend(1, last + 100)
        told(listener)
        assert told(listener, 7) == set()
        reach(pair, leased.client, sock, last + 100)
        send(pair, sock, 2)
        assert "exhausted" in told(listener)


def test_a_secret_is_sent_under_again_in_later_epochs_alone(pair):
    """A helper that restarts gets the same secret from its Primary, and other epochs."""
    table = (
        # first, last, refused as
        (0, 19, "sent under before"),
        (19, 30, "sent under before"),
        (None, None, "sent under before"),
        (20, 29, None),
        (20, 29, "sent under before"),
        (25, 60, "sent under before"),
        (30, 30, None),
        (31, None, None),
        (LAST, LAST, "sent under before"),
    )
    with Leased(pair, 10, 19) as leased:
        client, secret = leased.client, leased.secrets[1]
        for first, last, refused in table:
            epochs = {name: value for name, value in (("epoch_first", first), ("epoch_last", last)) if value is not None}
            client.secret_del(1)
            answer = client.secret_add(secret, prk=True, **epochs)
            assert ("may-send" in answer) == (refused is None), epochs
            assert client.secret(1).get("may-send", False) == (refused is None)
            if refused:
                number, message, _ = error_of(client.secret_activate, 1)
                assert number == errno.EALREADY and refused in message
            else:
                client.secret_activate(1)


def test_two_namespaces_never_share_an_epoch_of_a_secret(pair):
    """What is let be sent in is remembered for all namespaces: none extends into what another has."""
    with (
        Leased(pair, 10, 19) as leased,
        Pair(names=("twin", "peer")) as twins,
        Family(twins.client) as twin,
    ):
        twin.association_set(CLIENT, SERVER, key_mode="kernel")
        twin.secret_add(leased.secrets[1], prk=True, epoch_first=25, epoch_last=30)
        twin.secret_activate(1)
        number, message, attribute = error_of(leased.client.secret_extend, 1, 22)
        assert (number, attribute) == (errno.EALREADY, ".generation") and "elsewhere" in message
        assert leased.client.secret(1)["epoch-last"] == 19
        twin.secret_extend(1, 31)
        assert twin.secret(1)["epoch-last"] == 31


def test_what_cannot_be_leased_is_refused_and_changes_nothing(pair):
    with Leased(pair, 10, 19) as leased:
        client, secret = leased.client, new_secret(generation=2)
        for epochs, number in (
            ({"epoch_first": 20, "epoch_last": 19}, errno.EINVAL),
            ({"epoch_first": LAST + 1}, errno.EINVAL),
            ({"epoch_last": LAST + 1}, errno.EINVAL),
        ):
            assert error_of(client.secret_add, secret, prk=True, **epochs)[0] == number, epochs
        for generation, last, number in ((1, 18, errno.EINVAL), (1, LAST + 1, errno.EINVAL), (3, 30, errno.ENOENT)):
            assert error_of(client.secret_extend, generation, last)[0] == number, (generation, last)
        assert [s["epoch-last"] for s in client.associations()[0]["secret"]] == [19]
        client.secret_extend(1, 19)
        client.secret_add(secret, prk=True)
        assert "epoch-last" not in client.secret(2) and "epoch-first" not in client.secret(2)
        client.secret_activate(2)
        assert error_of(client.secret_extend, 1, 30)[0] == errno.EALREADY
        client.association_del()
        client.association_set(CLIENT, SERVER, key_mode="kernel", profile="v2-kri")
        assert error_of(client.secret_add, secret, prk=True, epoch_first=1)[0] == errno.EOPNOTSUPP


@pytest.mark.parametrize(("count", "low"), ((10, False), (200, True)))
def test_epochs_run_low_two_minutes_ahead(pair, count, low):
    """"... at half the epochs (or when the projected rate leaves under two minutes)": 10 a second leave over six."""
    with (
        Family(pair.client) as listener,
        Measuring(pair, **OPTION_AN_EPOCH) as measuring,
        pair.server.udp(port=PORT),
        pair.client.udp() as sock,
    ):
        listener.ynl.ntf_subscribe("events")
        # It is looked at once before there is a rate.
        told(listener)
        send(pair, sock, count)
        events = told(listener)
        assert measuring.client.secret(1)["highest-epoch"] == count - 1 < LAST // 2
        assert ("epochs-low" in events) == low, events


def test_options_are_counted_by_secret_and_told_when_there_are_as_many_as_the_association_lets_be(pair):
    """Renegotiation on a count."""
    most = 50
    with (
        Family(pair.client) as listener,
        Measuring(pair, renew_packets=most) as measuring,
        pair.server.udp(port=PORT),
        pair.client.udp() as sock,
    ):
        client = measuring.client
        listener.ynl.ntf_subscribe("events")
        assert client.associations()[0]["renew-packets"] == most
        client.policy_set(rule("v2-encrypted", protocol=17))
        send(pair, sock, most - 1)
        assert client.secret(1)["options-out"] == most - 1 and "packets-reached" not in told(listener)
        send(pair, sock, 1)
        assert client.secret(1)["options-out"] == most and "packets-reached" in told(listener)
        measuring.renew(new_secret(generation=2))
        send(pair, sock, 3)
        assert (client.secret(1)["options-out"], client.secret(2)["options-out"]) == (most, 3)
        told(listener)
        assert "packets-reached" not in told(listener)
        assert error_of(client.association_set, CLIENT, SERVER, renew_packets=0)[0] == errno.EINVAL
