# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Shared by every script: where things are, how progress and errors are told.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Everything that set-up makes lives here, outside the checkout, so that a fresh clone finds it again.
CACHE=${PDMV2_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pdmv2}
ROOTFS=$CACHE/rootfs          # a Debian trixie: the module's toolchain and the guest's root
KERNELS=$CACHE/kernels        # one directory per packaged kernel: boot image, modules, build tree
LOGS=$CACHE/logs

# Both paths go to the guest's kernel command line and to lists of mounts.
case $TOP$CACHE in *[[:space:]:]*) echo "pdmv2: error: no spaces or colons, please, in the paths $TOP and $CACHE (PDMV2_CACHE sets the second)" >&2; exit 1 ;; esac

# The kernels the module is written for, as VERSION.PATCHLEVEL; the one home of this range.
KERNEL_MIN=7.2
KERNEL_MAX=7.3
# PDMV2_KERNEL=7.2 asks for the newest packaged kernel of that series, which is kept beside the newest of the range.
SERIES=${PDMV2_KERNEL:-}

say() { printf 'pdmv2: %s\n' "$*" >&2; }
die() { printf 'pdmv2: error: %s\n' "$*" >&2; exit 1; }

need_root() {
    [ "$(id -u)" = 0 ] || die "$1 needs root (it makes a Debian tree and boots a VM); run it with sudo"
}

# outlived_by_none: ends its process group when the script is gone without a word (kill -9), so that a step's work does
# not go on unseen, and hold the lock.
outlived_by_none() {
    local state
    exec 9>&-
    # Gone it is also as a zombie that its parent has not looked at.
    while read -r _ _ state _ 2>/dev/null </proc/$$/stat && [ "$state" != Z ]; do sleep 0.5; done
    kill -9 0
}

# step NAME COMMAND...: runs a long command with its output in a log, and shows that it is alive.
step() {
    local name=$1 log start pid shown=0
    shift
    mkdir -p "$LOGS"
    log=$LOGS/$(printf %s "$name" | tr -c 'A-Za-z0-9\n' -).log
    start=$SECONDS
    say "$name ..."
    set -m # a process group of its own, so that an interrupt ends the whole step
    ( outlived_by_none & trap "kill $! 2>/dev/null" EXIT; "$@" ) >"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    trap 'kill -- -'"$pid"' 2>/dev/null; say "interrupted; run the same command again to go on"; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        if [ $((SECONDS - start - shown)) -ge 15 ]; then
            shown=$((SECONDS - start))
            say "  ${shown} s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-100)"
        fi
    done
    trap - INT TERM
    if ! wait "$pid"; then
        tail -n 25 "$log" >&2
        die "$name failed; the whole log is $log. Mend what it names and run the same command again: finished steps are kept"
    fi
    say "  done in $((SECONDS - start)) s"
}

# once STAMP NAME COMMAND...: a step whose result is kept; it is repeated only when the stamp's text changes.
once() {
    local stamp=$CACHE/stamps/$1 key=$2
    shift 2
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && return 0
    # What a step of another key made is no longer whole from here on.
    rm -f "$stamp"
    step "$@"
    mkdir -p "$CACHE/stamps"
    printf '%s\n' "$key" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

# alone [WORK]: one set-up at a time in this cache, or one run of that work; another waits for the first.
alone() {
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock${1:+-$1}"
    flock --nonblock 9 && return 0
    say "another set-up is using $CACHE; waiting for it to end"
    flock 9
}

# need_space GIB: a full disk is told before the work, not after it.
need_space() {
    local free
    free=$(df --output=avail -k "$CACHE" | tail -n 1)
    [ "$free" -ge $(($1 * 1024 * 1024)) ] ||
        die "$CACHE has $((free / 1024)) MiB free and set-up needs $1 GiB; free some, or set PDMV2_CACHE to a directory on a larger disk"
}

# need_cargo: the helper's compiler, as rustup installs it; its path may not be root's.
need_cargo() {
    command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
    command -v cargo >/dev/null ||
        die "there is no cargo in PATH; install Rust 1.89 or newer with rustup, and keep its PATH when you use sudo (sudo env PATH=\"\$PATH\" make ...)"
}
