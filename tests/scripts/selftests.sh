#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# scripts/selftests: what a selftest said is read right, and no difference between its runs is overlooked.
. "$(dirname "$0")/lib.bash"
SELFTESTS=$TOP/tests/selftests

# read_as NAME STATUS PRINTED WANTED
read_as() {
    local said
    printf '%s\n' "$3" >"$SCRATCH/log"
    said=$("$SELFTESTS/normalise" "$2" "$SCRATCH/log" | tr '\t\n' ' ,')
    check "read: $1" sh -c '[ "$1" = "$2" ] || { echo "$1"; exit 1; }' - "$said" "$4"
}
read_as "TEST: lines" 1 $'TEST: IPv6 no xfrm policy      [ OK ]\nTEST: other   [FAIL]\n\twhy\nTEST: third [SKIP]' \
    "PASS IPv6 no xfrm policy,FAIL other,SKIP third,PASS ran to its end,"
read_as "TEST: lines of other tests" 0 $' - TEST: Full trace   [ OK ]\nTEST 01: bind, Y [PASS]\nTEST 02: nobind, N [FAIL]\nTEST: mtu   [ FAIL ]  mtu_ipv6' \
    "PASS Full trace,PASS 01: bind, Y,FAIL 02: nobind, N,FAIL mtu,PASS ran to its end,"
read_as "words in front, made-up names of namespaces" 0 $'PASS: ns1-a7XbQ2 has it\nFAIL: no: way\nSKIP: not here\nOK' \
    "PASS ns1 has it,FAIL no: way,SKIP not here,PASS ,PASS ran to its end,"
read_as "a word alone, under a heading" 0 $'ipv6 defrag\nPASS\nseed = 17\nipv6 overlaps\nFAIL' \
    "PASS ipv6 defrag,FAIL ipv6 overlaps,PASS ran to its end,"
read_as "words behind" 1 $'ipv6\n no GRO      ok\n GRO     failed' "PASS ipv6: no GRO,FAIL ipv6: GRO,PASS ran to its end,"
read_as "TAP" 0 $'1..4\nok 1 one\nnot ok 2 - two\nok 3 three # SKIP no device\n# ok 4 four' \
    "PASS one,FAIL two,SKIP three,PASS four,PASS ran to its end,"
read_as "a name twice" 0 $'PASS: it\nFAIL: it' "PASS it,FAIL it #2,PASS ran to its end,"
read_as "colours" 0 $'\e[32mPASS: it\e[0m' "PASS it,PASS ran to its end,"
read_as "a failure without a word" 1 $'PASS: it' "PASS it,FAIL ran to its end,"
read_as "a hang" 124 $'FAIL: it' "FAIL it,FAIL ran to its end,"
read_as "a whole test skipped" 4 '' "SKIP ran to its end,"

# compared NAME WANTED NONE LOADED MEASURED [DIFFERENCES [UNAVAILABLE]]: results are "RESULT name,RESULT name".
compared() {
    local run said
    for run in none loaded measured; do
        printf %s "${3:+$3,}" | tr ',' '\n' | sed 's/ /\t/' >"$SCRATCH/$run.results"
        set -- "$1" "$2" "${@:4}"
    done
    printf '%b' "${3:-}" >"$SCRATCH/differences"
    printf '%b' "${4:-}" >"$SCRATCH/unavailable"
    said=$("$SELFTESTS/compare" net/it.sh "$SCRATCH" "$SCRATCH/differences" "$SCRATCH/unavailable") || said+=" and failed"
    check "compared: $1" sh -c '[ "$(echo "$1" | tail -n 1)" = "$2" ] || { echo "$1"; exit 1; }' - "$said" "$2"
}
listed='net/it.sh\n    FAIL b c\n        GRO merges\n        no such thing\n'
compared "identical" "4 passed, 0 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a,PASS b c"
compared "a difference that is listed" "4 passed, 0 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a,FAIL b c" "$listed"
compared "one that is not" "3 passed, 1 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a,FAIL b c"
compared "one that is listed for another test" "3 passed, 1 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a,FAIL b c" "net/other.sh\n    FAIL b c\n        x\n"
compared "one that is listed with another result" "3 passed, 1 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a,SKIP b c" "$listed"
compared "one that is listed and gone" "3 passed, 1 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a,PASS b c" "$listed"
compared "one that is listed of a sub-test there is none of" "2 passed, 1 failed" "PASS a" "PASS a" "PASS a" "$listed"
compared "one that is listed without a reason" "4 passed, 1 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a,FAIL b c" 'net/it.sh\n    FAIL b c\n'
compared "a sub-test that vanished" "3 passed, 1 failed" "PASS a,PASS b c" "PASS a,PASS b c" "PASS a"
compared "a sub-test that came" "2 passed, 2 failed" "PASS a" "PASS a" "PASS a,PASS b c"
compared "with the module loaded no difference is allowed" "3 passed, 1 failed" "PASS a,PASS b c" "PASS a,FAIL b c" "PASS a,FAIL b c" "$listed"
compared "a run without results" "2 passed, 3 failed" "PASS a,PASS b c" "PASS a,PASS b c" ""
compared "what fails without the module counts for nothing" "2 passed, 0 failed" "PASS a,SKIP b" "PASS a,SKIP b" "PASS a,SKIP b" \
    '' 'net/it.sh\n    SKIP b\n        no tool\n'
compared "and must be listed with its reason" "2 passed, 1 failed" "PASS a,SKIP b" "PASS a,SKIP b" "PASS a,SKIP b"
compared "and must fail alike" "2 passed, 2 failed" "PASS a,SKIP b" "PASS a,PASS b" "PASS a,FAIL b" '' 'net/it.sh\n    SKIP b\n        no tool\n'
compared "and is not listed when it passes" "4 passed, 1 failed" "PASS a,PASS b" "PASS a,PASS b" "PASS a,PASS b" '' 'net/it.sh\n    SKIP b\n        no tool\n'
finished
