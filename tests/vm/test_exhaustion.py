# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The end of a secret: every epoch is used up by one 5-tuple that comes back again and again."""

import opener
import pytest
from family import Family, rule
from hosts import CLIENT, SERVER, Capture
from measuring import Measuring, new_secret

EPOCHS = 4096
PORT = 7000


def told(listener):
    return {message["msg"]["event"] for message in listener.ynl.poll_ntf(duration=3) if message["name"] == "event"}


@pytest.mark.timeout(600)
def test_past_the_last_epoch_protection_stops_and_a_new_secret_starts_anew(pair, results):
    """"Past epoch 4095 protection stops for that flow or bucket, once said, and renegotiation starts."""
    with Family(pair.client) as listener, Family(pair.client) as early:
        listener.ynl.ntf_subscribe("events")
        # The first policy makes the table, and a small one is flushed sooner.
        early.policy_set(rule("v2-encrypted"), flows_max=256)
        with Measuring(pair) as measuring, pair.server.udp(port=PORT), pair.client.udp() as sock:
            with Capture(pair.client, results(".pcap"), expression="udp or ip6 protochain 17") as tap:
                events = set()
                for round_ in range(EPOCHS + 3):
                    sock.sendto(b"x", (SERVER, PORT))
                    if round_ == EPOCHS * 3 // 4:
                        events |= told(listener)
                        assert events == {"epochs-low"}
                    measuring.client.flow_flush()
                assert measuring.client.skipped() == {"exhausted": 3}
                events |= told(listener)
                measuring.renew(new_secret(generation=2))
                sock.sendto(b"x", (SERVER, PORT))
                options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
            [association] = measuring.client.associations()
    assert {"epochs-low", "exhausted"} <= events
    outward = [option for option in options if option.direction == "out"]
    assert opener.repeated_pairs(options) == []
    assert [option.fields.epoch for option in outward] == [*range(EPOCHS), 0]
    assert {secret["generation"]: secret["highest-epoch"] for secret in association["secret"]} == {1: EPOCHS - 1, 2: 0}
