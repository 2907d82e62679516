# SPDX-License-Identifier: GPL-2.0-or-later
# `make help` lists what can be made; what the module consists of is in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build

# The scripts look for the other files by themselves, if these are empty.
export KDIR MD_HEADERS MD_MOD VMLINUX INSTALL_MOD_PATH

# The kernel of the test machines: see scripts/machine.
on = $(if $(KERNEL),-k $(KERNEL))

kbuild = $(MAKE) -C "$(KDIR)" M="$(CURDIR)"

.PHONY: modules check install modules_install uninstall clean help test test-long test-debug fuzz model demo bench machine

modules:
	@command -v python3 >/dev/null || \
	{ echo 'The command python3 is missing, so install python3.' >&2; exit 1; }
	@headers=$$(scripts/find-md-headers) && \
	scripts/check-layout "$$headers" && \
	scripts/check-inlines "$$headers" && \
	$(kbuild) MD_HEADERS="$$headers" modules

check:
	@scripts/check

# Not by kbuild, which would look for the key that Debian signs with, and leave
# out depmod, as the packages lack what it wants for that.
install modules_install:
	@scripts/install --check
	@$(MAKE) -s modules
	@scripts/install

uninstall:
	@scripts/install --remove $(if $(RELEASE),"$(RELEASE)")

clean:
	rm -f *.o .*.o *.ko *.mod *.mod.c .*.cmd .*.d modules.order Module.symvers compat-config.h layout-sums.h
	rm -f tests/*.o tests/.*.o tests/*.ko tests/*.mod tests/*.mod.c tests/.*.cmd tests/.*.d
	rm -rf .md-headers

test:
	@tests/run $(on) $(T)

test-long:
	@tests/run $(on) --long $(T)

test-debug:
	@tests/run --debug $(T)

fuzz:
	@tests/fuzz/run $(SECONDS)

model:
	@tests/model/run $(DEPTH)

demo bench:
	@scripts/$@

machine:
	@scripts/machine shell

help:
	@echo 'make                  build md-raid1.ko'
	@echo 'make check            the same with all warnings, and check the style'
	@echo 'make install          install it, to serve RAID-1 from the next boot on'
	@echo 'make uninstall        take it away again (RELEASE=... from one kernel only)'
	@echo 'make clean            remove what was built'
	@echo 'make test [T=NAME]    run the tests, or one of them, in test machines'
	@echo 'make test-long        run those that take long, or one of them (T=NAME)'
	@echo 'make test-debug       run them on kernels that look for mistakes; takes hours'
	@echo 'make fuzz [SECONDS=N]  feed damaged members to what reads them'
	@echo 'make model [DEPTH=N]  check the protocol exhaustively, and break it in all known ways'
	@echo 'make demo             show the module at work in a test machine'
	@echo 'make bench            measure it in a test machine'
	@echo 'make machine          open a shell in a test machine'
	@echo
	@echo 'KERNEL=NAME           for make test, test-long: which kernel the machines have;'
	@echo '                      scripts/machine -h tells what there is to choose from'
	@echo
	@echo 'Where things are, if not where they are looked for:'
	@echo 'KDIR=DIR              build directory of the kernel to build for'
	@echo '                      ($(KDIR))'
	@echo 'MD_HEADERS=DIR        drivers/md of the source of that kernel'
	@echo 'MD_MOD=FILE           its md-mod.ko'
	@echo 'VMLINUX=FILE          its vmlinux, or the types (BTF) in it'
