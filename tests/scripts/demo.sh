#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# The demo: it shows what the link and the servers do, leaves what it says it leaves, and fails where they do something else.
. "$(dirname "$0")/lib.bash"
demo() { "$TOP/scripts/vm" --virtual-time --timeout 600 -- tests/demo/run "$@" <&- >"$SCRATCH/demo.log" 2>&1; }
shown() { demo "$@" || { cat "$SCRATCH/demo.log"; return 1; }; }
fails() { ! demo "$@" || { cat "$SCRATCH/demo.log"; return 1; }; grep -q "FAILED: $pattern" "$SCRATCH/demo.log" || { cat "$SCRATCH/demo.log"; return 1; }; }

check "the module builds" "$TOP/scripts/module"
check "the helper builds" "$TOP/scripts/helper"
pattern="TCP: server-delay" check "servers that think for 20 ms fail the demo" fails --think-ms 20
pattern="UDP: rtt" check "a link of 40 ms each way fails the demo" fails --one-way-ms 40
check "20 ms each way and 5 ms of thought are shown" shown
for file in capture.pcap client.keylog server.keylog table.json; do
    check "the demo leaves $file" test -s "$TOP/target/demo/$file"
done
check "no private key is left" sh -c '! ls "$1"/*.key' - "$TOP/target/demo"
finished
