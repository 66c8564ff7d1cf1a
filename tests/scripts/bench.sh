#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# scripts/bench counts: a table, figures that are there again in the profile, and names of the functions. On the stock
# kernel; that of the figures in docs/performance.md takes too long to build for a test.
. "$(dirname "$0")/lib.bash"

out=$TOP/target/test/bench
rm -rf "$out"
check "it counts, and makes a profile" "$TOP/scripts/bench" --kernel stock --out "$out" --profile loaded,v2
# json CODE: true of the results, `rows` by name.
json() { python3 -c 'import json, sys; rows = {row["name"]: row for row in json.load(open(sys.argv[1]))["rows"]}; sys.exit(not eval(sys.argv[2]))' "$out/results.json" "$1"; }
check "a packet costs thousands of instructions" json '1000 < rows["nothing"]["packet"] < 100000'
# Less by a few, too: what runs beside the packets is not the same number twice.
check "less than one in a hundred more where no policy is set" json 'abs(rows["loaded"]["adds"]) < rows["nothing"]["packet"] / 100'
check "and more where it is measured" json 'rows["v2"]["adds"] > 500'
check "the table has a line for each" sh -c '[ "$(grep -c "^| .*[0-9] |" "$1/table.md")" = 3 ]' - "$out"
check "the profile adds up to the row" sh -c '
    told=$(sed -n "s/^--- v2: \([0-9,]*\) instructions .*/\1/p" "$1/profile.txt" | tr -d ,)
    sum=$(sed -n "/^--- v2/,\$ s/^ *\(-\{0,1\}[0-9,.]*\)  .*/\1/p" "$1/profile.txt" | tr -d , | awk "{ n += \$1 } END { print int(n) }")
    adds=$(python3 -c "import json, sys; print(int([r for r in json.load(open(sys.argv[1] + \"/results.json\"))[\"rows\"] if r[\"name\"] == \"v2\"][0][\"adds\"]))" "$1")
    echo "told $told, sum $sum, row $adds"
    [ $((told - adds)) -lt $((adds / 20)) ] && [ $((adds - told)) -lt $((adds / 20)) ] && [ $((told - sum)) -lt $((told / 20)) ] && [ $((sum - told)) -lt $((told / 20)) ]' - "$out"
check "it names functions of the module, and who calls them" grep -qE "Namespace.*outgoing.* \[pdmv2\]  <- .*x " "$out/profile.txt"
check "a row that there is not is refused" sh -c '! "$1/scripts/bench" --kernel stock --out "$2" --rows nonsense --flows ""' - "$TOP" "$out"
finished
