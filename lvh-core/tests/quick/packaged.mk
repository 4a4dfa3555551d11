# The Makefile of a source whose kernel is one that was packaged, with the words of the file `version` behind it.
O ?= .
defconfig:
	@cp config $(O)/.config
allnoconfig olddefconfig modules:
bzImage Image.gz:
	@mkdir -p $(O)/arch/x86/boot $(O)/arch/arm64/boot $(O)/include/config
	@echo '  CC      init/main.o'
	@cat image version | tee $(O)/arch/x86/boot/bzImage $(O)/arch/arm64/boot/Image $(O)/arch/arm64/boot/Image.gz > $(O)/vmlinux
	@cp release $(O)/include/config/kernel.release
modules_install:
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/$$(cat release)
	@cp -r module-tree/. $(INSTALL_MOD_PATH)/lib/modules/$$(cat release)
tar-pkg:
	@mkdir -p $(O)/tar-install/boot $(O)/tar-install/lib/modules/$$(cat release)
	@cp $(O)/vmlinux $(O)/tar-install/boot/vmlinuz-$$(cat release)
	@cp config $(O)/tar-install/boot/config-$$(cat release)
	@cp -r module-tree/. $(O)/tar-install/lib/modules/$$(cat release)
	@touch $(O)/linux-$$(cat release)-x.tar
