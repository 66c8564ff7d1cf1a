# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The helper `pdmv2` on a host: keys, configuration, daemon."""

import json
import os
import shutil
import signal
from pathlib import Path

from hosts import PATIENCE, run, wait_until

RULE = '[[rule]]\nsend = "v2-encrypted"\nexpiry = 0\n'


def path():
    found = shutil.which("pdmv2")
    assert found, "pdmv2 is not built: scripts/helper"
    return found


class Helper:
    """A daemon on a host, with its files in a directory of its own."""

    def __init__(self, host, directory, address):
        self.host, self.directory, self.address = host, Path(directory), address
        self.directory.mkdir(parents=True, exist_ok=True)
        self.key, self.config = self.directory / "private-key", self.directory / "pdmv2.toml"
        self.key_log, self.log = self.directory / "key-log", self.directory / "daemon.log"
        for file in (self.key, self.key_log, self.log):
            file.unlink(missing_ok=True)
        run(path(), "genkey", "--output", self.key)
        self.public = run(path(), "pubkey", "--key", self.key).strip()
        self.process, self.verbosity = None, "info"

    def configure(self, other, mode="helper", rules=RULE, dials=True, public=None, extra="", host=""):
        """Writes the configuration of this host with one peer; `extra` is of the peer, `host` of this host."""
        endpoint = f'endpoint = "[{other.address}]:4480"\n' if dials else ""
        self.config.write_text(
            f'[host]\nprivate-key-file = "{self.key}"\nlisten = "[{self.address}]:4480"\nkey-log = "{self.key_log}"\n{host}\n'
            f'[[peer]]\nname = "{other.host.name}"\npublic-key = "{public or other.public}"\n{endpoint}'
            f'local = ["{self.address}"]\nremote = ["{other.address}"]\nkey-mode = "{mode}"\n{extra}\n{rules}'
        )

    def start(self):
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = self.host.start(path(), "daemon", "--config", self.config, "--log", self.verbosity, stderr=log, stdout=log)

    def said(self):
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def kill(self, number=signal.SIGTERM):
        """Ends the daemon; returns its exit status."""
        if self.process is None:
            return None
        os.kill(self.process.pid, number)
        status, self.process = self.process.wait(10 * PATIENCE), None
        return status

    def command(self, *arguments, **options):
        """What a subcommand prints, from JSON."""
        return json.loads(self.host.run(path(), "--json", *arguments, **options))

    def sends_under(self):
        """The generation this host sends under, or None."""
        secrets = [s for a in self.command("show")["associations"] for s in a["secrets"]]
        return next((s["generation"] for s in secrets if s["state"] == "send"), None)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill(signal.SIGKILL)


def negotiated(*helpers, beyond=0, seconds=30):
    """Waits until all send under one generation, newer than `beyond`; returns it."""

    def same():
        generations = {helper.sends_under() for helper in helpers}
        [generation] = generations if len(generations) == 1 else [None]
        return generation if generation and generation > beyond else None

    try:
        return wait_until(same, "no negotiation", seconds, 0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}\n" + "\n".join(f"{h.host.name}:\n{h.said()}" for h in helpers)) from error
