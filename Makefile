# Rollcall. `make help` lists the targets; the README says the rest.
#
# VARIANT = release | debug | asan | fuzz     COMPILER = gcc | clang     V=1 shows the commands

VARIANT  ?= release
COMPILER ?= gcc
PREFIX   ?= /usr/local
DESTDIR  ?=
VERSION  := 0.1.0

# make run: so many nodes (if not said: what DIR has, else 3), this port, and where users live
# (`make clean` leaves them alone)
NODES ?=
PORT  ?= 8080
DIR   ?= build/state
# make fuzz: seconds for each fuzzer; make failover: trials of each kind
SECONDS := 60
TRIALS  := 50
# make sim: from this seed on, so many runs
SEED  ?= 1
N     ?= 100

B := build/$(VARIANT)$(if $(filter clang,$(COMPILER)),-clang)

MAKEFLAGS += --no-print-directory $(if $(filter 0,$(MAKELEVEL)),-j$(shell nproc))

# --- flags ---------------------------------------------------------------------------------------

CC := $(COMPILER)
CPPFLAGS_OWN := -I. -D_GNU_SOURCE -DROLLCALL_VERSION='"$(VERSION)"'
WARNINGS := -Wall -Wextra -Wpedantic -Wswitch-enum -Wconversion -Wshadow -Wvla -Wundef -Wformat=2 \
            -Wmissing-prototypes -Wstrict-prototypes -Wcast-align -Wwrite-strings -Werror
ifeq ($(COMPILER),clang)
WARNINGS += -Wcovered-switch-default -Wno-gnu-zero-variadic-macro-arguments
endif
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fPIE
# Programs are optimised across files. Tests are not, linking them would take longer than running
# most of them: objects hold both.
ifeq ($(VARIANT)-$(COMPILER),release-gcc)
CFLAGS_release += -flto=auto -ffat-lto-objects
NO_LTO := -fno-lto
endif
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
CFLAGS_debug   := -O0 -g3
CFLAGS_asan    := -O1 -g $(SANITIZE)
CFLAGS_fuzz    := -O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link
CFLAGS_VARIANT := $(CFLAGS_$(VARIANT))
ifeq ($(CFLAGS_VARIANT),)
$(error unknown VARIANT "$(VARIANT)": release, debug, asan or fuzz)
endif
ifeq ($(filter gcc clang,$(COMPILER)),)
$(error unknown COMPILER "$(COMPILER)": gcc or clang)
endif
CFLAGS_ALL  := -std=c17 $(CPPFLAGS_OWN) $(WARNINGS) $(CFLAGS_VARIANT) $(CPPFLAGS) $(CFLAGS)
LDFLAGS_ALL := $(CFLAGS_VARIANT) $(LDFLAGS_$(VARIANT)) $(LDFLAGS)

Q := $(if $(V),,@)

# --- what there is -------------------------------------------------------------------------------

src = $(sort $(wildcard $(addsuffix /*.c,$(1))))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

PURE := $(call src,$(addprefix raft/,base core users wire))
CALL := $(call src,raft/base) $(addprefix raft/users/,command.c condition.c email.c user.c user_json.c) \
        raft/wire/frame.c raft/wire/call.c
PROCESS := $(addprefix raft/node/,main.c boot.c boot_members.c boot_restore.c)
WAL  := $(call src,raft/wal)
# The driver and what it stands on: all of a node that knows no libuv and no sockets.
DRIVER := $(filter-out raft/wal/disk_posix.c,$(WAL)) $(call src,raft/snapshots raft/replica)
NODE := $(sort $(WAL) $(DRIVER) $(filter-out $(PROCESS),$(call src,raft/node)))
CTL  := $(filter-out raft/ctl/main.c,$(call src,raft/ctl))
APP  := $(filter-out app/main.c,$(call src,app))
OURS := $(PURE) $(call src,$(addprefix raft/,wal snapshots replica node ctl) app)

UNIT_TESTS := $(filter-out tests/core/seeds_main.c,$(call src,$(addprefix tests/,base core users wire wal snapshots replica node ctl app)))
CLUSTER    := $(filter-out %_test.c,$(wildcard tests/core/cluster*.c))
E2E_TESTS  := $(call src,tests/e2e)
SIM        := $(call src,tests/sim) tests/wal/fake_disk.c tests/snapshots/fake_store.c tests/snapshots/fake_db.c \
              tests/users/model.c
CRASH      := $(call src,tests/crash) tests/wal/fake_disk.c
FUZZERS    := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
C_FILES     = $(shell find app raft tests -name '*.[ch]')

NODE_LIBS := -luv -lhiredis -lpthread
APP_LIBS  := -luv -lfcgi -ljson-c -lcrypto -lpthread
PROGRAMS  := $(addprefix $(B)/,rollcall-node rollcall-app rollcallctl)
LINK       = @echo "  LD    $@" && $(if $(V),set -x;) $(CC) $(LDFLAGS_ALL) $(if $(filter-out $(PROGRAMS),$@),$(NO_LTO)) -o $@ $^

.DEFAULT_GOAL := all
.PHONY: all
all: $(PROGRAMS) ## build the programs (the default)

$(B)/rollcall-node: $(call obj,$(PROCESS) $(PURE) $(NODE))
	$(LINK) $(NODE_LIBS)

$(B)/rollcallctl: $(call obj,raft/ctl/main.c $(CTL) $(PURE) $(NODE))
	$(LINK) $(NODE_LIBS) -lcrypto

$(B)/rollcall-app: $(call obj,app/main.c $(CALL) $(APP))
	$(LINK) $(APP_LIBS)

$(B)/test-unit: $(call obj,tests/runner.c $(UNIT_TESTS) $(PURE) $(NODE) $(CTL) $(APP))
	$(LINK) $(sort $(NODE_LIBS) $(APP_LIBS)) -lcriterion

$(B)/test-e2e: $(call obj,tests/runner.c $(E2E_TESTS) raft/base/bytes.c)
	$(LINK) -lcurl -ljson-c -lcriterion

# Runs a test program, and ends what it leaves behind.
$(B)/reap: $(call obj,tests/reap.c)
	$(LINK)

$(B)/test-core: $(call obj,tests/runner.c $(filter tests/core/%,$(UNIT_TESTS)) $(call src,raft/base raft/core))
	$(LINK) -lcriterion

$(B)/seeds: $(call obj,tests/core/seeds_main.c $(CLUSTER) $(call src,raft/base raft/core))
	$(LINK)

# The simulator looks on at every apply of every state (tests/sim/rules.c). --wrap does not reach into
# what was optimised across files.
$(B)/sim: $(call obj,$(SIM) $(PURE) $(DRIVER))
	$(LINK) -Wl,--wrap=users_apply,--wrap=users_skip

# The same with its own main: the simulator's nodes, and every damage to their files.
ROT := $(filter-out tests/sim/main.c tests/sim/run.c tests/sim/scenario%,$(SIM)) $(call src,tests/rot)
$(B)/rot: $(call obj,$(ROT) $(PURE) $(DRIVER))
	$(LINK) -Wl,--wrap=users_apply,--wrap=users_skip

$(B)/crash: $(call obj,$(CRASH) $(PURE) $(filter-out raft/wal/disk_posix.c,$(WAL)))
	$(LINK)

$(B)/%-fuzz: $(B)/obj/tests/fuzz/%_fuzz.o $(call obj,$(PURE) $(NODE))
	$(LINK) $(NODE_LIBS) -ljson-c -fsanitize=fuzzer

# Objects depend on the flags: changed flags rebuild, and nothing else does.
$(B)/flags: FORCE
	@mkdir -p $(B)
	@echo '$(CC) $(CFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL)' > $@

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS_FILE) -MMD -MP -c -o $@ $<

# The compiler does not see that this one takes in a file, nor the optimiser across files its names.
$(B)/obj/app/documents.o: app/openapi.json
$(B)/obj/app/documents.o: CFLAGS_FILE := -fno-lto

# Criterion's macros convert and shadow as they like.
NOT_CRITERIONS := -Wno-conversion -Wno-shadow -Wno-pedantic -Wno-missing-prototypes -Wno-write-strings
$(B)/obj/tests/%.o: CFLAGS_FILE := $(NOT_CRITERIONS) $(NO_LTO)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- the two commands ----------------------------------------------------------------------------

.PHONY: deps
deps: ## install, as root, what building, running, testing and checking need
	@deploy/packages build run test check

.PHONY: run test tests sim rot crash schema mutants soak failover bench bench-peers fuzz
run: ## start a cluster behind nginx until Ctrl-C: NODES=, PORT=, DIR=
	@deploy/packages build run
	@$(MAKE) all
	@ROLLCALL_ALLOW_ROOT=$${ROLLCALL_ALLOW_ROOT-yes} ROLLCALL_BIN=$(abspath $(B)) exec deploy/local run $(if $(NODES),--nodes $(NODES)) --port $(PORT) --dir $(DIR)

test: ## set up, build and run every test: VARIANT=asan, T='suite/test' for some
	@deploy/packages build run test
	@$(MAKE) all tests
	@ROLLCALL_BIN=$(abspath $(B)) tests/run $(if $(T),--filter '$(T)') $(B)/test-unit $(B)/crash $(B)/rot $(B)/sim $(B)/test-e2e

tests: $(B)/test-unit $(B)/test-e2e $(B)/sim $(B)/rot $(B)/crash $(B)/reap ; @:

sim: $(B)/sim ## whole clusters on pretended machines: SEED=, N= runs, ARGS='--story'
	@$(B)/sim --seed $(SEED) --runs $(N) $(ARGS)

rot: $(B)/rot ## every damage to the files of a log, for one node and a member of three: ARGS='--stride 8'
	@$(B)/rot $(ARGS)

crash: $(B)/crash ## every state of the disk that a loss of power may leave, recovered: ARGS='--all 16'
	@$(B)/crash $(ARGS)

soak: ## the long way: a node killed 200 times under load, 40 storms over three nodes
	@deploy/packages build run test
	@$(MAKE) all tests
	@E2E_JOBS=1 E2E_KILLS=200 E2E_STORMS=40 ROLLCALL_BIN=$(abspath $(B)) tests/run --filter '@(crash|storm)/*' $(B)/test-e2e

failover: ## 50 failovers of each kind, by the clock: TRIALS=
	@deploy/packages build run test
	@$(MAKE) all tests
	@E2E_JOBS=1 E2E_TRIALS=$(TRIALS) ROLLCALL_BIN=$(abspath $(B)) tests/run --filter 'failover/*' $(B)/test-e2e

bench: ## side by side with the ceilings and the peers, as ratios
	@deploy/packages build run bench
	@$(MAKE) all
	@ROLLCALL_BIN=$(abspath $(B)) tests/bench/run

bench-peers: ## three nodes side by side with three of Debian's etcd
	@deploy/packages build run bench peers
	@$(MAKE) all
	@ROLLCALL_BIN=$(abspath $(B)) tests/bench/run peers

schema: ## a user gets another text, by one row, and everything carries it
	@deploy/packages build run test
	@tests/schema/run

mutants: ## put bugs back that others had: a test must notice each
	@deploy/packages build run test
	@tests/mutants/run

fuzz: ## each fuzzer for SECONDS=60, from its seeds
	@deploy/packages build check
	@$(MAKE) VARIANT=fuzz COMPILER=clang $(FUZZERS:%=build/fuzz-clang/%-fuzz)
	@tests/fuzz/run $(SECONDS) $(FUZZERS:%=build/fuzz-clang/%-fuzz)

# --- checks --------------------------------------------------------------------------------------

.PHONY: check check-tree check-format check-install format lint tidy compdb
check: ## both compilers without a warning, the rules of the house, format, nginx.conf
	@deploy/packages build run test check
	@$(MAKE) all tests
	@$(MAKE) check-clang check-tree check-format check-mutants check-install

check-tree: ## ladder of includes, purity, headers, sizes, banned calls
	@tests/check build/release

# What the other compiler warns of; that what it makes works is no question of this project's.
check-clang:
	@$(MAKE) VARIANT=debug COMPILER=clang check-syntax
check-syntax:
	@printf '%s\n' $(OURS) | xargs -P $(shell nproc) -n 8 $(CC) $(CFLAGS_ALL) -fsyntax-only
	@find tests -name '*.c' ! -path 'tests/bench/*' ! -path 'tests/fuzz/*' | \
	  xargs -P $(shell nproc) -n 8 $(CC) $(CFLAGS_ALL) $(NOT_CRITERIONS) -fsyntax-only
	@echo "  OK    $(COMPILER) warns of nothing"

check-format:
	@clang-format --dry-run -Werror $(C_FILES) && echo "  OK    format"

check-mutants: # each still fits the tree
	@tests/mutants/run --check && echo "  OK    mutants fit the tree"

check-install: # nginx judges its configuration as it is when installed
	@rm -rf build/check && $(MAKE) install DESTDIR=build/check PREFIX=/usr >/dev/null
	@build/check/usr/share/rollcall/deploy/node config --dir $(abspath build/check/D) >/dev/null
	@build/check/usr/share/rollcall/deploy/local config --dir $(abspath build/check/D) >/dev/null
	@echo "  OK    install, nginx.conf, front.conf"

format: ## clang-format on every C file
	clang-format -i $(C_FILES)

# Left out: what asks for Annex K; what -Wconversion judges better; known false alarms; that a chain of
# refusals refuses for one reason at two places; that members stand as one reads them, not as they pack.
NOT_TIDY := bugprone-easily-swappable-parameters bugprone-reserved-identifier bugprone-sizeof-expression \
            bugprone-implicit-widening-of-multiplication-result bugprone-narrowing-conversions \
            clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling \
            clang-analyzer-valist.Uninitialized bugprone-branch-clone \
            clang-analyzer-optin.performance.Padding
comma := ,
TIDY := -*,bugprone-*,clang-analyzer-*$(subst $() ,,$(NOT_TIDY:%=$(comma)-%))

# Left to clang-tidy, which follows a value into functions and knows that a loop runs: what is
# initialised, and what is nought.
NOT_CPPCHECK := uninitvar legacyUninitvar zerodivcond

lint: ## clang-tidy and cppcheck
	@deploy/packages build check
	@$(MAKE) all tidy
	@cppcheck -j$(shell nproc) --quiet --error-exitcode=1 --inline-suppr $(NOT_CPPCHECK:%=--suppress=%) \
	  --enable=warning,performance,portability --std=c11 -I. -D_GNU_SOURCE $(OURS)
	@echo "  OK    clang-tidy, cppcheck"

# A file is judged again when its object had to be made again.
tidy: $(OURS:%.c=build/lint/%) ; @:

build/lint/%: $(B)/obj/%.o
	@mkdir -p $(@D)
	@echo "  TIDY  $*.c"
	$(Q)clang-tidy --quiet --warnings-as-errors='*' --checks='$(TIDY)' $*.c -- -std=c17 $(CPPFLAGS_OWN) \
	  2>$@.log || { cat $@.log; exit 1; }
	@touch $@

compdb: ## compile_commands.json for editors
	bear -- $(MAKE) -B VARIANT=debug all tests

# --- install, clean, help ------------------------------------------------------------------------

SHARE := $(DESTDIR)$(PREFIX)/share/rollcall
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system

.PHONY: install clean help
install: all ## into DESTDIR and PREFIX
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(PROGRAMS)
	install -D -m 755 -t $(SHARE)/deploy deploy/local deploy/node deploy/rotate deploy/packages
	install -D -m 644 -t $(SHARE)/deploy deploy/parts.sh $(wildcard deploy/*.conf) \
	  deploy/alerts.yml deploy/grafana.json
	install -D -m 644 -t $(SHARE) nginx.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/rollcall README.md LICENSE app/openapi.json
	install -D -m 644 deploy/README.md $(DESTDIR)$(PREFIX)/share/doc/rollcall/RUNBOOK.md
	install -d $(UNITS)
	for unit in deploy/units/*; do \
	  sed 's|/usr/local|$(PREFIX)|g' $$unit > $(UNITS)/$${unit##*/} || exit; done

clean: ## remove what was built, and no users
	rm -rf $(wildcard build/release* build/debug* build/asan* build/fuzz* build/bench* build/check* build/lint build/mutants build/schema)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

FORCE:
.PHONY: FORCE
.SECONDARY:
