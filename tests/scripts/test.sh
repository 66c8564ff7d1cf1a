#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# scripts/test counts, in a made-up checkout whose cargo and VM do as each row says.
. "$(dirname "$0")/lib.bash"
checkout=$SCRATCH/checkout
mkdir -p "$checkout/tests" "$SCRATCH/bin"
cp -r "$TOP/scripts" "$checkout/scripts"

stub() { printf '#!/bin/bash\n%s\n' "$2" >"$1"; chmod +x "$1"; }
# row [-ARGUMENT] NAME LAST-LINE CARGO VM [SETUP [MODULE]]: shell code each; the status must agree with the count.
row() {
    local said status=0 wanted=1 argument=()
    case $1 in -*) argument=("$1"); shift ;; esac
    stub "$SCRATCH/bin/cargo" "$3"
    stub "$checkout/scripts/vm" "$4"
    stub "$checkout/scripts/setup" "${5:-}"
    stub "$checkout/scripts/module" "${6:-}"
    stub "$checkout/scripts/helper" ''
    stub "$checkout/scripts/custom-kernel" "${5:-echo /kdir}"
    rm -rf "$checkout/target"
    case $2 in *", 0 failed") wanted=0 ;; esac
    said=$(PATH=$SCRATCH/bin:$PATH "$checkout/scripts/test" "${argument[@]}" 2>"$SCRATCH/said") || status=$?
    check "$1: $2" test "$(tail -n 1 <<<"$said") $status" = "$2 $wanted"
}
cargo() { echo "echo 'test result: ok. $1 passed; $2 failed; $3 ignored; 0 measured'; [ $2 = 0 ]"; }
# vm TESTS ERRORS FAILURES SKIPPED STATUS: what comes of the first of the two VMs; the other one, in virtual time or with the
# second half of the tests, has none here.
vm() {
    local suite="<testsuites><testsuite name=\"pytest\" errors=\"$2\" failures=\"$3\" skipped=\"$4\" tests=\"$1\" time=\"1\"/></testsuites>"
    echo "for word in \"\$@\"; do case \$word in --virtual-time | --part=2/2) v=1 ;; --junitxml=*) xml=\${word#*=} ;; esac; done
        if [ \$v ]; then echo '<testsuite tests=\"0\">' >\"\$xml\"; exit 0; fi
        echo '$suite' >\"\$xml\"; exit $5"
}

row "all is well" "7 passed, 0 failed" "$(cargo 3 0 0)" "$(vm 4 0 0 0 0)"
row "several cargo results add up" "9 passed, 0 failed" "$(cargo 3 0 0); $(cargo 2 0 0)" "$(vm 4 0 0 0 0)"
row "a cargo test fails" "6 passed, 1 failed" "$(cargo 2 1 0)" "$(vm 4 0 0 0 0)"
row "an ignored test" "6 passed, 1 failed" "$(cargo 2 0 1)" "$(vm 4 0 0 0 0)"
row "the Rust does not compile" "4 passed, 1 failed" "echo 'error: no'; exit 101" "$(vm 4 0 0 0 0)"
row "errors, failures and skips in the VM" "4 passed, 6 failed" "$(cargo 3 0 0)" "$(vm 7 1 2 3 1)"
row "a splat after all tests passed" "7 passed, 1 failed" "$(cargo 3 0 0)" "$(vm 4 0 0 0 70)"
row "both VMs die" "3 passed, 2 failed" "$(cargo 3 0 0)" "exit 71"
row "pytest finds no test" "3 passed, 1 failed" "$(cargo 3 0 0)" "$(vm 0 0 0 0 5)"
row "the module does not build" "3 passed, 1 failed" "$(cargo 3 0 0)" "$(vm 4 0 0 0 0)" '' 'exit 2'
row "set-up fails" "0 passed, 1 failed" "$(cargo 3 0 0)" "$(vm 4 0 0 0 0)" 'exit 1'
# On the debug kernel: its own tests, of which the checkout has one, and the VM's.
mkdir "$checkout/tests/debug-kernel"
echo 'echo "ok - one"' >"$checkout/tests/debug-kernel/own.sh"
on_debug='[[ " $* " = *" --kernel debug "* ]] || exit 99'
row --debug-kernel "on the debug kernel" "5 passed, 0 failed" "$(cargo 3 0 0)" "$on_debug; $(vm 4 0 0 0 0)"
row --debug-kernel "there: a splat, or something left behind" "5 passed, 1 failed" "$(cargo 3 0 0)" "$on_debug; $(vm 4 0 0 0 70)"
row --debug-kernel "there: the tests in two halves" "2 passed, 1 failed" "$(cargo 3 0 0)" \
    'case " $* " in *" --part=2/2 "*) exit 71 ;; esac;'" $(vm 1 0 0 0 0)"
row --debug-kernel "the debug kernel does not build" "0 passed, 1 failed" "$(cargo 3 0 0)" "$(vm 4 0 0 0 0)" 'exit 1'
echo 'echo "ok - one"; echo "not ok - two"; exit 1' >"$checkout/tests/debug-kernel/own.sh"
row --debug-kernel "a test of its own fails" "5 passed, 1 failed" "$(cargo 3 0 0)" "$on_debug; $(vm 4 0 0 0 0)"
row "nothing runs" "0 passed, 1 failed" "true" "$(vm 0 0 0 0 0)"
check "it does not count the tests of one that was not asked for" test \
    "$(PATH=$SCRATCH/bin:$PATH "$checkout/scripts/test" --only nothing 2>/dev/null)" = "0 passed, 1 failed"
finished
