# Rollcall. `make help` lists the targets; the README says the rest.
#
# VARIANT = release | debug | asan        COMPILER = gcc | clang        V=1 shows the commands

VARIANT  ?= release
COMPILER ?= gcc
PREFIX   ?= /usr/local
DESTDIR  ?=
VERSION  := 0.1.0

B := build/$(VARIANT)$(if $(filter clang,$(COMPILER)),-clang)

# --- flags ---------------------------------------------------------------------------------------

CC := $(COMPILER)
CPPFLAGS_OWN := -I. -D_GNU_SOURCE -DROLLCALL_VERSION='"$(VERSION)"'
WARNINGS := -Wall -Wextra -Wpedantic -Wswitch-enum -Wconversion -Wshadow -Wvla -Wundef -Wformat=2 \
            -Wmissing-prototypes -Wstrict-prototypes -Wcast-align -Wwrite-strings -Werror
ifeq ($(COMPILER),clang)
WARNINGS += -Wcovered-switch-default -Wno-gnu-zero-variadic-macro-arguments
endif
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS_debug   := -O0 -g3
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_VARIANT := $(CFLAGS_$(VARIANT))
ifeq ($(CFLAGS_VARIANT),)
$(error unknown VARIANT "$(VARIANT)": release, debug or asan)
endif
ifeq ($(filter gcc clang,$(COMPILER)),)
$(error unknown COMPILER "$(COMPILER)": gcc or clang)
endif
CFLAGS_ALL := -std=c17 $(CPPFLAGS_OWN) $(WARNINGS) $(CFLAGS_VARIANT) $(CPPFLAGS) $(CFLAGS)
LDFLAGS_ALL := $(CFLAGS_VARIANT) $(LDFLAGS)

Q := $(if $(V),,@)

# --- what there is -------------------------------------------------------------------------------

src = $(wildcard $(addsuffix /*.c,$(1)))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

BASE  := $(call src,raft/base)
CORE  := $(call src,raft/core)
USERS := $(call src,raft/users)
WIRE  := $(call src,raft/wire)
NODE  := $(filter-out raft/node/main.c,$(call src,raft/node))
APP   := $(filter-out app/main.c,$(call src,app))

UNIT_TESTS := $(call src,$(addprefix tests/,base core users wire node app))
E2E_TESTS  := $(call src,tests/e2e)

NODE_OBJS := $(call obj,$(BASE) $(CORE) $(USERS) $(WIRE) $(NODE))
APP_OBJS  := $(call obj,$(BASE) raft/users/command.c $(WIRE) $(APP))

NODE_LIBS := -luv -lhiredis -lpthread
APP_LIBS  := -luv -lfcgi -ljson-c -lpthread

PROGRAMS := $(B)/rollcall-node $(B)/rollcall-app

.DEFAULT_GOAL := all
.PHONY: all
all: $(PROGRAMS) ## both programs (the default)

$(B)/rollcall-node: $(call obj,raft/node/main.c) $(NODE_OBJS)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(NODE_LIBS)

$(B)/rollcall-app: $(call obj,app/main.c) $(APP_OBJS)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(APP_LIBS)

# --- objects: they depend on the flags, so that changed flags rebuild, and nothing else does ------

$(B)/flags: FORCE
	@mkdir -p $(B)
	@echo '$(CC) $(CFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL)' > $@

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS_FILE) -MMD -MP -c -o $@ $<

# Criterion's macros convert and shadow as they like.
$(B)/obj/tests/%.o: CFLAGS_FILE := -Wno-conversion -Wno-shadow -Wno-pedantic -Wno-missing-prototypes

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- tests ---------------------------------------------------------------------------------------

$(B)/test-unit: $(call obj,$(UNIT_TESTS)) $(NODE_OBJS) $(call obj,$(APP))
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(sort $(NODE_LIBS) $(APP_LIBS)) -lcriterion

FORCE:
.PHONY: FORCE
