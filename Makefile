# SPDX-License-Identifier: GPL-2.0-or-later
# `make help` lists what can be made; what the module consists of is in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build

# The scripts look for the other files by themselves, if these are empty.
export KDIR MD_HEADERS MD_MOD VMLINUX

kbuild = $(MAKE) -C "$(KDIR)" M="$(CURDIR)"

.PHONY: modules check install modules_install clean help test demo bench machine

modules:
	@headers=$$(scripts/find-md-headers) && \
	scripts/check-layout "$$headers" && \
	$(kbuild) MD_HEADERS="$$headers" modules

check:
	@scripts/check

install modules_install: modules
	$(kbuild) INSTALL_MOD_DIR=extra modules_install

clean:
	rm -f *.o .*.o *.ko *.mod *.mod.c .*.cmd .*.d modules.order Module.symvers
	rm -rf .md-headers

test:
	@tests/run $(T)

demo bench:
	@scripts/$@

machine:
	@scripts/machine shell

help:
	@echo 'make                  build md-raid1.ko'
	@echo 'make check            the same with all warnings, and check the style'
	@echo 'make install          install it below /lib/modules, in extra/'
	@echo 'make clean            remove what was built'
	@echo 'make test [T=NAME]    run the tests, or one of them, in test machines'
	@echo 'make demo             show the module at work in a test machine'
	@echo 'make bench            measure it in a test machine'
	@echo 'make machine          open a shell in a test machine'
	@echo
	@echo 'Where things are, if not where they are looked for:'
	@echo 'KDIR=DIR              build directory of the kernel to build for'
	@echo '                      ($(KDIR))'
	@echo 'MD_HEADERS=DIR        drivers/md of the source of that kernel'
	@echo 'MD_MOD=FILE           its md-mod.ko'
	@echo 'VMLINUX=FILE          its vmlinux, or the types (BTF) in it'
