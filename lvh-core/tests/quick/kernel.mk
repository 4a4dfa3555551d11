# The Makefile of a kernel that takes no time. As the kernel's own it takes no output directory while the source tree has a
# `.config`; each goal notes its name.
O ?= .
ifneq ($(O),.)
ifneq ($(wildcard .config vmlinux),)
$(error The source tree is not clean)
endif
endif
$(shell echo $(MAKECMDGOALS) >> $(O)/goals)
defconfig:
	@printf 'CONFIG_A=y\nCONFIG_MODULES=y\n# CONFIG_B is not set\n' > $(O)/.config
allnoconfig:
	@cp $(KCONFIG_ALLCONFIG) $(O)/.config
olddefconfig:
	@sed -i '/NOSUCH/d' $(O)/.config
bzImage Image.gz: broken
	@mkdir -p $(O)/arch/x86/boot $(O)/arch/arm64/boot $(O)/include/config
	@echo '  CC      init/main.o'
	@cat version $(O)/.config | tee $(O)/arch/x86/boot/bzImage $(O)/arch/arm64/boot/Image $(O)/arch/arm64/boot/Image.gz > $(O)/vmlinux
	@echo "6.1-$(KBUILD_BUILD_USER)$(LOCALVERSION)" > $(O)/include/config/kernel.release
broken:
	@test ! -e broken.c || { echo 'broken.c:1: error: it is' >&2; exit 1; }
modules:
modules_install:
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/6.1-$(KBUILD_BUILD_USER)
tar-pkg:
	@mkdir -p $(O)/tar-install/boot && cp $(O)/vmlinux $(O)/tar-install/boot/vmlinuz-6.1
	@touch $(O)/linux-6.1-x.tar
mrproper:
	@rm -rf .config include
