# SPDX-License-Identifier: GPL-2.0-only OR MIT
# For the scripts' own tests: a scratch directory, and one line per check.
set -uo pipefail
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
bad=0

# check NAME COMMAND...: the command must succeed.
check() {
    local name=$1
    shift
    if "$@" >"$SCRATCH/check.log" 2>&1; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        sed 's/^/    /' "$SCRATCH/check.log"
        bad=1
    fi
}
# The last line of a test.
finished() { exit $bad; }
