# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""A process of its own, for each USER:NUMBER a child of it: that user sends, in a user and network namespace that it
makes, under as many secrets as it may, up to that number. A line of JSON for each."""

import errno
import json
import os
import sys
from types import SimpleNamespace

import elsewhere
from family import Family, NlError, _family
from schedule import Suite

PREFIXES = 32


def send_under(here, most):
    """The number of secrets sent under, and the error that was the end of it, if it was not the number asked for."""
    here.association_set([f"fd00:2::{n:x}" for n in range(PREFIXES)], "fd00:3::/64")
    for generation in range(1, most + 1):
        # The helper's keys are its own: the module sees the identifier alone.
        here.secret_add(SimpleNamespace(generation=generation, id=os.urandom(8), suite=Suite()))
        try:
            here.secret_activate(generation)
        except NlError as error:
            return generation - 1, error
        if generation > 1:
            here.secret_del(generation - 1)
    return most, None


def main(user, most):
    elsewhere.leave(user)
    with Family(elsewhere.Here()) as here:
        activated, refused = send_under(here, most)
        [association] = here.associations()
    newest = max(association["secret"], key=lambda secret: secret["generation"])
    said = {"activated": activated, "state": newest["state"], "may-send": "may-send" in newest}
    if refused:
        said |= {"errno": errno.errorcode[refused.error], "message": refused.nl_msg.extack["msg"]}
    print(json.dumps(said), flush=True)


# Reading the family is slow: done once.
_family()
for asked in sys.argv[1:]:
    if not (child := os.fork()):
        main(*map(int, asked.split(":")))
        sys.exit()
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(1)
