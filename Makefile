# nvmegw: `make demo` shows it at work, `make check` proves it, `make help` lists the rest.
#
# Out-of-tree builds, one folder per flavour: build/release, build/asan, build/tsan.
# A folder's sources become what the folder is for:
#   transport/*.c multipath/*.c  the library parts, linked into everything
#   gateway/*.c                  nvmegwd (all but main.c also into the unit tests)
#   cli/*.c                      nvmegw
#   cli/bench/*.c                nvmegw-bench; cli/relay/*.c nvmegw-relay, its yardstick
#   tests/unit/test_*.c          one cmocka program each, with the others there and all of the above
#   tests/unit/test_mp_*.c       the same of multipath/ alone on the simulator's clock, with mp_*.c
#   tests/vm/*.c                 one program each, with the raw_*.c there; preload_*.c: a library each
#   tests/sim/*.c                nvmegw-sim: multipath/ on virtual time, without the rest
FLAVOUR ?= release
B       := build/$(FLAVOUR)
CC      := gcc
JOBS    := $(shell nproc)
PKGS    := libevent_core libevent_pthreads libevent_extra jansson liburing libisal libcrypto libsystemd uuid \
           libibverbs librdmacm

CFLAGS_release := -O2 -g -fno-omit-frame-pointer
CFLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
# For the package: hardened as Debian does it, without the path of the build.
CFLAGS_deb     := $(CFLAGS_release) -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
                  -ffile-prefix-map=$(CURDIR)=. -Wl,-z,relro,-z,now
CFLAGS_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
CFLAGS  := -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter -Wshadow -Wstrict-prototypes \
           -Wmissing-prototypes -pthread $(CFLAGS_$(FLAVOUR)) $(EXTRA_CFLAGS)
CPPFLAGS = -I. -MMD -MP $(shell pkg-config --cflags $(PKGS))
LDLIBS   = -pthread -Wl,--as-needed $(shell pkg-config --libs $(PKGS)) -lnvme -lm

lib_src   := $(wildcard transport/*.c multipath/*.c)
gw_src    := $(wildcard gateway/*.c)
cli_src   := $(wildcard cli/*.c)
bench_src := $(wildcard cli/bench/*.c)
relay_src := $(wildcard cli/relay/*.c)
unit_src  := $(wildcard tests/unit/test_*.c)
sim_src   := $(wildcard tests/sim/*.c)
mp_help   := $(wildcard tests/unit/mp_*.c)
unit_help := $(filter-out $(unit_src) $(mp_help),$(wildcard tests/unit/*.c))
vm_help   := $(wildcard tests/vm/raw_*.c)
vm_libs   := $(wildcard tests/vm/preload_*.c)
vm_src    := $(filter-out $(vm_help) $(vm_libs),$(wildcard tests/vm/*.c))
# What goes with loops, logs and transports that are not the real ones.
sim_lib   := $(wildcard multipath/*.c) transport/pool.c transport/segments.c transport/request.c transport/addr.c

obj = $(patsubst %.c,$(B)/%.o,$(1))
lib_obj := $(call obj,$(lib_src))
gw_obj  := $(call obj,$(filter-out gateway/main.c,$(gw_src)))
all_src := $(lib_src) $(gw_src) $(cli_src) $(bench_src) $(relay_src) $(unit_src) $(unit_help) \
           $(mp_help) $(sim_src) $(vm_src) $(vm_help)
bins    := $(B)/nvmegwd $(B)/nvmegw $(B)/nvmegw-bench $(B)/nvmegw-relay
units   := $(patsubst tests/unit/%.c,$(B)/unit/%,$(unit_src))

# Programs for the guests of tests/vm, and libraries that change what others see
vm_bins := $(patsubst tests/vm/%.c,$(B)/vm/%,$(vm_src)) $(patsubst tests/vm/%.c,$(B)/vm/%.so,$(vm_libs))

.PHONY: all
all: $(bins) $(vm_bins) ## build the programs (FLAVOUR=release, asan or tsan)

$(B)/nvmegwd: $(B)/gateway/main.o $(gw_obj) $(lib_obj)
$(B)/nvmegw: $(call obj,$(cli_src)) $(lib_obj)
$(B)/nvmegw-bench: $(call obj,$(bench_src)) $(lib_obj)
$(B)/nvmegw-relay: $(call obj,$(relay_src))
$(bins):
	@echo "  LD  $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(B)/vm/%: $(B)/tests/vm/%.o $(call obj,$(vm_help)) $(lib_obj)
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# Never with a sanitizer, which wants to be the first to be loaded.
$(B)/vm/%.so: tests/vm/%.c Makefile
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(filter-out -fsanitize=%,$(CFLAGS)) -shared -fPIC -o $@ $<

$(B)/unit/%: $(B)/tests/unit/%.o $(call obj,$(unit_help)) $(gw_obj) $(lib_obj)
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(B)/unit/test_mp_%: $(B)/tests/unit/test_mp_%.o \
		$(call obj,$(mp_help) tests/unit/fake_upstream.c tests/sim/sim_loop.c $(sim_lib))
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

# What .incbin brings is no include that -MMD sees.
$(B)/gateway/http_page.o: gateway/http_page.html
$(B)/gateway/rpc_schema.o: gateway/rpc_schema.json

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC  $@"
	@$(CC) $(CFLAGS) $(CPPFLAGS) -c -o $@ $<

$(B)/nvmegw-sim: $(call obj,$(sim_src) $(sim_lib))
	@echo "  LD  $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: units
units: $(units) ## build the unit tests

.PHONY: deps
deps: ## install the Debian packages of etc/packages.txt that are missing
	@etc/deps.sh

# They take what is built from $(B), and leave nothing running or lying about.
.PHONY: demo bench bench-rdma failover
demo: deps ## show the main job: a path dies under verified I/O (KEEP=1 stays up)
	$(MAKE) -j$(JOBS) all
	B=$(B) python3 tests/demo/demo.py

bench: deps ## measure against a bare TCP relay, into docs/performance.md
	$(MAKE) -j$(JOBS) all
	B=$(B) python3 tests/bench/bench.py --write

bench-rdma: deps ## compare with the kernel over soft-RoCE, in a guest, into docs/performance.md
	$(MAKE) -j$(JOBS) all
	B=$(B) python3 tests/bench/bench_rdma.py --write

failover: deps ## measure what each kind of failure costs a host, into docs/failover.md
	$(MAKE) -j$(JOBS) all
	B=$(B) python3 tests/failover/failover.py --write

.PHONY: check check-vm
check: deps ## build all flavours and run all tests (T="word word": only those named so)
	$(MAKE) -j$(JOBS) FLAVOUR=release all build/release/nvmegw-sim
	$(MAKE) -j$(JOBS) FLAVOUR=asan all units build/asan/nvmegw-sim
	$(MAKE) -j$(JOBS) FLAVOUR=tsan all units
	$(MAKE) deb
	@tests/run.py $(T)

check-vm: deps ## only the tests with real Linux hosts, in virtual machines
	$(MAKE) -j$(JOBS) FLAVOUR=release all
	$(MAKE) deb
	@tests/run.py vm

SEEDS ?= 10000
.PHONY: sim
sim: deps ## simulate failures of every kind (SEEDS=n, or SEED=x to repeat one, with a trace)
	$(MAKE) -j$(JOBS) $(B)/nvmegw-sim
	$(B)/nvmegw-sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(SIMFLAGS)

mans := $(patsubst docs/man/%.scd,build/man/%,$(wildcard docs/man/*.scd))
.PHONY: man
man: $(mans) ## build the man pages

build/man/%: docs/man/%.scd
	@mkdir -p $(@D)
	scdoc <$< >$@.tmp && mv $@.tmp $@

c_files = $(shell find transport multipath gateway cli tests -name '*.[ch]')
.PHONY: format format-check
format: ## lay out the C files by .clang-format
	clang-format -i $(c_files)

format-check:
	clang-format --dry-run --Werror $(c_files)

PREFIX   ?= /usr/local
UNITDIR  ?= $(PREFIX)/lib/systemd/system
ZSHDIR   ?= $(PREFIX)/share/zsh/site-functions
mandir   := $(DESTDIR)$(PREFIX)/share/man
bashdir  := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
fishdir  := $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
data     := install -D -m 644
.PHONY: install
install: all man ## install programs, man pages, units, completion (PREFIX, DESTDIR)
	install -D -t $(DESTDIR)$(PREFIX)/sbin $(B)/nvmegwd
	install -D -t $(DESTDIR)$(PREFIX)/bin $(B)/nvmegw $(B)/nvmegw-bench
	for m in $(mans); do $(data) -t $(mandir)/man$${m##*.} $$m || exit; done
	$(data) -t $(DESTDIR)$(UNITDIR) etc/systemd/nvmegwd.service etc/systemd/nvmegwd.socket
	sed -i 's|@sbindir@|$(PREFIX)/sbin|; s|@bindir@|$(PREFIX)/bin|' $(DESTDIR)$(UNITDIR)/nvmegwd.service
	$(data) etc/systemd/nvmegw.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/nvmegw.conf
	$(data) etc/systemd/nvmegw.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/nvmegw.conf
	$(data) etc/completion/nvmegw.bash $(bashdir)/nvmegw
	$(data) -t $(DESTDIR)$(ZSHDIR) etc/completion/_nvmegw
	$(data) -t $(fishdir) etc/completion/nvmegw.fish

deb_made := $(wildcard debian etc/debian/.debhelper etc/debian/debhelper-build-stamp etc/debian/files \
            etc/debian/nvmegw etc/debian/*.substvars etc/debian/*.debhelper etc/debian/*.debhelper.log)
.PHONY: deb
deb: deps ## build the Debian package into build/deb
	$(MAKE) -j$(JOBS) FLAVOUR=deb all man
	ln -sfn etc/debian debian # where Debian's tools look for it
	debian/rules binary

.PHONY: clean
clean: ## remove all that was built, but the downloaded kernel in build/vm
	rm -rf $(filter-out build/vm,$(wildcard build/*)) $(deb_made)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

-include $(patsubst %.o,%.d,$(call obj,$(all_src)))
.SECONDARY:
