/* Scenarios: what happens to disks, stores and clocks. */
#include "tests/sim/scenario_state.h"

#include "raft/users/users_state.h"
#include "raft/wire/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void scenario_disk(struct scenario *scenario, struct words *words)
{
    struct machine *machine = &scenario->world->machine[scenario_node(scenario, words)];
    struct fake_disk *disk = &machine->disk;
    uint64_t now_us = scenario->world->now_us;
    if (words_take(words, "ok")) {
        machine->disk_us = 200;
        machine->disk_stall_us = 0;
        disk->room = UINT64_MAX / 2;
        disk->fail_at = disk->crash_at = 0;
    } else if (words_take(words, "slow")) {
        machine->disk_us = (uint32_t)scenario_number(scenario, words) * 1000;
    } else if (words_take(words, "stall")) {
        machine->disk_stall_us = now_us + scenario_number(scenario, words) * 1000;
    } else if (words_take(words, "fail")) {
        disk->fail_at = disk->operations + 1;
        disk->fail_error = -EIO;
    } else if (words_take(words, "full")) {
        disk->room = 0;
    } else if (words_take(words, "copy")) {
        machine_copy(machine);
    } else if (words_take(words, "back")) {
        if (machine->phase == MACHINE_DOWN && machine->disk_past != NULL)
            machine_roll_back(machine);
        else
            scenario_fail(scenario, "there is no copy, or the node runs");
    } else if (words_take(words, "crash")) {
        disk->crash_at = disk->operations + scenario_number(scenario, words);
    } else {
        scenario_fail(scenario, "disk how?");
    }
}

/* The payload of this entry, in the segment that has it. */
static bool find_entry(struct machine *machine, uint64_t index, char name[32], uint64_t *ret_offset)
{
    for (int i = 0; i < machine->disk.durable_names; i++) {
        const struct fake_file *file = &machine->disk.file[machine->disk.durable_name[i].file];
        for (uint64_t at = 0; at + RECORD_HEADER_BYTES <= file->durable_size; at += 8) {
            struct record record;
            if (record_get(bytes_of(file->durable + at, (size_t)(file->durable_size - at)),
                           &record) != RECORD_OK ||
                record.type != RECORD_ENTRY || record.index.n != index)
                continue;
            memcpy(name, machine->disk.durable_name[i].name, 32);
            *ret_offset = at + RECORD_HEADER_BYTES;
            return true;
        }
    }
    return false;
}

void scenario_rot(struct scenario *scenario, struct words *words)
{
    struct machine *machine = &scenario->world->machine[scenario_node(scenario, words)];
    char name[32];
    uint64_t offset;
    if (words_peek(words) != NULL) {
        if (!find_entry(machine, scenario_number(scenario, words), name, &offset)) {
            scenario_fail(scenario, "it has no such entry");
            return;
        }
    } else if (fake_disk_old_sector(&machine->disk, 1, name, &offset)) {
        offset += 100;
    } else {
        scenario_fail(scenario, "its log is too short to rot: it has one segment");
        return;
    }
    machine->disk_damaged = machine->disk_unsound = true;
    machine->rotten_life = machine->life;
    fake_disk_rot(&machine->disk, name, offset, 8, &scenario->world->random);
}

/* What it had saved, it may not find again. */
static void lose_store(struct machine *machine)
{
    machine->store_damaged = true;
    machine->saved_index = 0;
}

static void edit_user(struct machine *machine, uint64_t id)
{
    char key[64], field[24], value[64];
    snprintf(key, sizeof(key), "rollcall:sim:%u:users", machine->id);
    snprintf(field, sizeof(field), "%llu", (unsigned long long)id);
    snprintf(value, sizeof(value), "{\"id\":%s,\"name\":\"Mallory\"}", field);
    lose_store(machine);
    machine->store_edited = true;
    fake_store_edit(&machine->store, key, field, value);
}

void scenario_redis(struct scenario *scenario, struct words *words)
{
    struct machine *machine = &scenario->world->machine[scenario_node(scenario, words)];
    if (words_take(words, "down")) {
        machine_store_down(machine);
    } else if (words_take(words, "up")) {
        machine_store_up(machine);
    } else if (words_take(words, "empty")) {
        lose_store(machine);
        fake_store_empty(&machine->store);
    } else if (words_take(words, "crash")) {
        machine_store_down(machine);
        fake_store_crash(&machine->store);
    } else if (words_take(words, "torn")) {
        machine->store.tear = 1 + (int)scenario_number(scenario, words);
    } else if (words_take(words, "refuses")) {
        machine->store.refuses = "NOAUTH Authentication required.";
    } else if (words_take(words, "answers")) {
        machine->store.refuses = NULL;
    } else if (words_take(words, "copy")) {
        fake_db_copy(&machine->store_past, &machine->store.db);
    } else if (words_take(words, "back")) {
        lose_store(machine);
        fake_store_restore(&machine->store, &machine->store_past);
    } else if (words_take(words, "edit")) {
        edit_user(machine, scenario_number(scenario, words));
    } else if (words_take(words, "full")) {
        machine->store.full = true;
    } else if (words_take(words, "evicting")) {
        machine->store.policy = "allkeys-lru";
    } else if (words_take(words, "unkept")) {
        machine->store.append = FAKE_APPEND_NO;
        machine->store.save = "";
    } else if (words_take(words, "ok")) {
        machine->store.full = false;
        machine->store.policy = "noeviction";
        machine->store.save = "60 1";
    } else if (words_take(words, "slow")) {
        machine->store_us = (uint32_t)scenario_number(scenario, words) * 1000;
    } else {
        scenario_fail(scenario, "redis how?");
    }
}

void scenario_clock(struct scenario *scenario, struct words *words)
{
    struct machine *machine = &scenario->world->machine[scenario_node(scenario, words)];
    if (words_take(words, "jump"))
        machine_jump(machine, scenario_number(scenario, words) * 1000);
    else if (words_take(words, "drift"))
        machine_drift(machine, (int64_t)scenario_number(scenario, words) * 10000);
    else
        scenario_fail(scenario, "clock how?");
}

void scenario_options(struct scenario *scenario, struct words *words)
{
    static const char *const kinds[OPTIONS_KINDS] = {
        [OPTIONS_TRUE] = "true", [OPTIONS_ALONE] = "alone",       [OPTIONS_FEWER] = "fewer",
        [OPTIONS_MORE] = "more", [OPTIONS_REVERSED] = "reversed",
    };
    struct machine *machine = &scenario->world->machine[scenario_node(scenario, words)];
    for (uint32_t kind = 0; kind < OPTIONS_KINDS; kind++) {
        if (words_take(words, kinds[kind])) {
            machine->options = (enum machine_options)kind;
            return;
        }
    }
    scenario_fail(scenario, "options that say what?");
}

void scenario_folder(struct scenario *scenario, struct words *words)
{
    struct machine *machine = &scenario->world->machine[scenario_node(scenario, words)];
    const struct machine *from = NULL;
    if (machine->phase != MACHINE_DOWN) {
        scenario_fail(scenario, "the node runs");
        return;
    }
    if (words_take(words, "own")) {
        if (machine->not_own != 0)
            folders_own(machine);
        else
            scenario_fail(scenario, "it has its own");
        return;
    }
    if (words_take(words, "of"))
        from = &scenario->world->machine[scenario_node(scenario, words)];
    else if (!words_take(words, "strange"))
        scenario_fail(scenario, "whose folder?");
    unsigned parts = words_take(words, "disk")    ? FOLDERS_DISK
                     : words_take(words, "redis") ? FOLDERS_STORE
                                                  : FOLDERS_DISK | FOLDERS_STORE;
    if (scenario->failed || machine->not_own != 0)
        scenario_fail(scenario, "it has another one's already");
    else if (from != NULL)
        folders_swap(machine, from, parts);
    else
        folders_swap_strange(machine, parts);
}

void scenario_memory(struct scenario *scenario, struct words *words)
{
    struct machine *machine = &scenario->world->machine[scenario_node(scenario, words)];
    if (!words_take(words, "flips") || !machine_up(machine)) {
        scenario_fail(scenario, "memory does what, and does the node run?");
        return;
    }
    scenario->world->may_diverge = true;
    replica_users(machine->replica)->records.digest ^= 1;
}
