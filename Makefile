# SPDX-License-Identifier: GPL-2.0-only OR MIT
# PDMv2 for Linux. `make help` says what there is.
SHELL := /bin/bash

# Without KDIR the module is built for the newest packaged Debian kernel in range, which set-up fetches.
# A person's own kernel is named by KDIR, the directory it was built in; RUSTC, BINDGEN, CC, LLVM and V are the caller's,
# and make hands on what was set, nothing else.

.PHONY: all module helper setup demo test test-debug test-built-in bench selftests clean distclean help
all: module

module:
ifdef KDIR
	@scripts/module '$(KDIR)'
else
	@scripts/setup
	@scripts/module
endif

helper:
	@scripts/helper

setup:
	@scripts/setup

demo: setup
	@scripts/module
	@scripts/helper
	@scripts/vm --virtual-time -- tests/demo/run

test:
	@scripts/test

test-debug:
	@scripts/test --debug-kernel

test-built-in:
	@scripts/test-built-in

bench:
	@scripts/bench

selftests:
	@scripts/selftests

clean:
	@scripts/clean

distclean:
	@scripts/clean --all

help:
	@echo 'make                 pdmv2.ko for the newest packaged Debian kernel (sets up what it needs; root)'
	@echo 'make KDIR=DIRECTORY  pdmv2.ko for the kernel built in DIRECTORY, with the tools of this machine'
	@echo 'make helper          the pdmv2 helper, in target/release'
	@echo 'make demo            two hosts measure each other in a VM (root); leaves its files in target/demo'
	@echo 'make test            every test there is (root); the last line is "N passed, N failed"'
	@echo 'make test-debug      the tests in the VM once more, on a kernel that watches memory, locks and references (root)'
	@echo 'make test-built-in   the module built in a kernel tree, as a module and built in, and seen at work (root; long the first time)'
	@echo 'make bench           what packets cost in executed instructions, as a table (root; docs/performance.md)'
	@echo 'make selftests       the kernel'"'"'s own network selftests without the module, with it, and measured (root; an hour and more)'
	@echo 'make setup           only what the above need, in $${PDMV2_CACHE:-~/.cache/pdmv2}; scripts/setup --newest looks for a newer kernel'
	@echo 'make clean           removes target/'
	@echo 'make distclean       removes target/ and the cache directory'
	@echo 'PDMV2_KERNEL=7.2 before any of these takes the newest packaged kernel of that series.'
	@echo 'Also: scripts/vm -- COMMAND runs anything in the VM, scripts/vm alone gives a shell in it.'
