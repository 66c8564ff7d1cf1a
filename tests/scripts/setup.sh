#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Set-up's own machinery, without a network: steps are kept, resumed and locked; the kernel is looked up.
. "$(dirname "$0")/lib.bash"
export PDMV2_CACHE=$SCRATCH/cache
unset PDMV2_KERNEL
mkdir -p "$PDMV2_CACHE"

# sourced CODE: runs it with the scripts' functions.
sourced() { bash -c ". '$TOP/scripts/lib.sh'; . '$TOP/scripts/rootfs.sh'; . '$TOP/scripts/kernel.sh'; $1"; }

check "a finished step is not repeated" sourced '
    count() { echo x >>"$CACHE/count"; }
    once s 1 Step count; once s 1 Step count; [ "$(wc -l <"$CACHE/count")" = 1 ]
    once s 2 Step count; [ "$(wc -l <"$CACHE/count")" = 2 ]'
check "a failed step is repeated, and its log is shown" sourced '
    ! (once f 1 Failing sh -c "echo the reason; exit 3") 2>"$CACHE/said"
    grep -q "the reason" "$CACHE/said"; grep -q "finished steps are kept" "$CACHE/said"; [ ! -e "$CACHE/stamps/f" ]
    once f 1 Failing true; [ -e "$CACHE/stamps/f" ]'
check "a failed step of another key leaves nothing that counts as finished" sourced '
    once o 1 Step true; ! (once o 2 Failing false) 2>/dev/null; [ ! -e "$CACHE/stamps/o" ]'
check "a killed step is repeated" sourced '
    (once k 1 Killed sh -c "kill -9 \$PPID; sleep 1") 2>/dev/null || true; [ ! -e "$CACHE/stamps/k" ]'
check "the work of a killed script ends, and the lock is free" sourced '
    bash -c ". \"$TOP/scripts/lib.sh\"; alone; echo \$\$ >\"$CACHE/pid\"; step Long bash -c \"sleep 300; :\"" 2>/dev/null &
    until [ -s "$CACHE/pid" ] && pgrep -P "$(cat "$CACHE/pid")" >/dev/null; do sleep 0.1; done
    kill -9 "$(cat "$CACHE/pid")"; timeout 5 flock "$CACHE/lock" true'
check "a second run waits for the first and says so" sourced '
    (alone; : >"$CACHE/held"; sleep 2; echo first >>"$CACHE/order") & until [ -e "$CACHE/held" ]; do sleep 0.1; done
    (alone; echo second >>"$CACHE/order") 2>"$CACHE/said"; wait
    grep -q "waiting for it" "$CACHE/said"; [ "$(tr "\n" " " <"$CACHE/order")" = "first second " ]'
check "a full disk is told before the work" sourced '
    ! (need_space 99999999) 2>"$CACHE/said"; grep -q PDMV2_CACHE "$CACHE/said"'

# A made-up archive: packages, and what each is sold as.
mkdir -p "$SCRATCH/bin"
cat >"$SCRATCH/bin/apt-cache" <<'EOF'
#!/bin/sh
case $1 in
search) sed 's/ .*/ - Linux/' "$ARCHIVE" | grep '^linux-image' ;;
madison) awk -v p="$2" '$1 == p { print $1 " | " $2 " | somewhere" }' "$ARCHIVE" ;;
esac
EOF
chmod +x "$SCRATCH/bin/apt-cache"
export ARCHIVE=$SCRATCH/archive
archive() { printf '%s\n' "$@" >"$ARCHIVE"; }
chosen() { PATH=$SCRATCH/bin:$PATH sourced 'in_rootfs() { "$@"; }; choose_kernel >/dev/null; cat "$CHOICE"'; }

archive "linux-image-7.1.9-cloud-amd64 7.1.9-1" "linux-image-7.2.9-cloud-amd64 7.2.9-1" \
    "linux-image-7.3.10-cloud-amd64 7.3.10-1" "linux-image-7.3.9-cloud-amd64 7.3.9-1" "linux-image-7.4.1-cloud-amd64 7.4.1-1" \
    "linux-source-7.2 7.2.9-1" "linux-source-7.3 7.3.10-1" "linux-source-7.4 7.4.1-1"
check "the newest kernel of the range is chosen" test "$(chosen)" = "7.3.10-cloud-amd64 7.3.10-1"
check "another series can be asked for" test "$(PDMV2_KERNEL=7.2 chosen)" = "7.2.9-cloud-amd64 7.2.9-1"
check "a series out of range is refused" sh -c 'case $1 in *"from 7.2 to 7.3"*) ;; *) echo "$1"; exit 1 ;; esac' - "$(PDMV2_KERNEL=7.10 chosen 2>&1)"
mkdir -p "$PDMV2_CACHE/kernels"/{7.2.9,7.3.10,7.3.9}-cloud-amd64/debs
check "kernels that no choice names any more are removed" sourced 'remove_replaced_kernels
    [ "$(ls "$KERNELS" | tr "\n" " ")" = "7.2.9-cloud-amd64 7.3.10-cloud-amd64 " ]'
archive "linux-image-7.2.9-cloud-amd64 7.2.9-1" "linux-image-7.3.9-cloud-amd64 7.3.9-1" \
    "linux-source-7.2 7.2.9-1" "linux-source-7.3 7.3.10-1"
check "a kernel whose very source is not packaged is passed over" test "$(chosen)" = "7.2.9-cloud-amd64 7.2.9-1"
archive "linux-image-6.12.9-cloud-amd64 6.12.9-1" "linux-source-6.12 6.12.9-1"
check "no kernel in range: the error says so" sh -c 'case $1 in *"no linux-image"*"7.2 to 7.3"*) ;; *) echo "$1"; exit 1 ;; esac' - "$(chosen 2>&1)"
finished
