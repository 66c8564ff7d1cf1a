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
        # Short, as the names of sockets are.
        self.control = Path("/run", f"pdmv2-{host.name}.sock")
        for file in (self.key, self.key_log, self.log):
            file.unlink(missing_ok=True)
        run(path(), "genkey", "--output", self.key)
        self.public = run(path(), "pubkey", "--key", self.key).strip()
        self.process, self.verbosity = None, "info"
        # What the daemon is started by, and what is in its environment.
        self.wrapper, self.environment = [], {}

    def peer(self, other, mode="helper", dials=True, public=None, extra="", remote=None):
        """The table of a peer."""
        endpoint = f'endpoint = "[{other.address}]:4480"\n' if dials else ""
        return (
            f'[[peer]]\nname = "{other.host.name}"\npublic-key = "{public or other.public}"\n{endpoint}'
            f'local = ["{self.address}"]\nremote = ["{remote or other.address}"]\nkey-mode = "{mode}"\n{extra}\n'
        )

    def write(self, *peers, rules=RULE, host=""):
        """Writes the configuration of this host; `host` is more of its table."""
        self.config.write_text(
            f'[host]\nprivate-key-file = "{self.key}"\nlisten = "[{self.address}]:4480"\nkey-log = "{self.key_log}"\n'
            f'control-socket = "{self.control}"\n{host}\n{"".join(peers)}{rules}'
        )

    def configure(self, other, mode="helper", rules=RULE, dials=True, public=None, extra="", host=""):
        """Writes the configuration of this host with one peer; `extra` is of the peer, `host` of this host."""
        self.write(self.peer(other, mode, dials, public, extra), rules=rules, host=host)

    def start(self, **options):
        command = [*self.wrapper, path(), "daemon", "--config", self.config, "--log-level", self.verbosity]
        environment = os.environ | self.environment
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = self.host.start(*command, stderr=log, stdout=log, env=environment, **options)

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

    def ask(self, command, *arguments, **options):
        """What the running daemon is asked for, and answers, from JSON."""
        return self.command(command, "--socket", self.control, *arguments, **options)

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
