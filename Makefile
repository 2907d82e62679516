# SPDX-License-Identifier: GPL-2.0-or-later
# The commands are listed by `make help`; what gets compiled stands in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build

# Where to find what is not found by itself; see `make help`.
export KDIR MD_HEADERS MD_MOD VMLINUX

kbuild = $(MAKE) -C "$(KDIR)" M="$(CURDIR)"

.PHONY: all modules install modules_install clean help \
	test demo bench machine

all: modules

# The headers are looked for each time, since they follow from KDIR.

modules:
	@headers=$$(scripts/find-md-headers) && \
	$(kbuild) MD_HEADERS="$$headers" modules

install modules_install: modules
	$(kbuild) INSTALL_MOD_DIR=extra modules_install

clean:
	$(kbuild) clean
	rm -rf .md-headers

test:
	@tests/run $(T)

demo bench:
	@scripts/$@

machine:
	@scripts/machine shell
