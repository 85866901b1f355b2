#include "tests/sim/scenario_state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- words ------------------------------------------------------------------------------------ */

void scenario_fail(struct scenario *scenario, const char *format, ...)
{
    if (scenario->failed)
        return;
    scenario->failed = true;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", scenario->path, scenario->line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

const char *words_peek(const struct words *words)
{
    return words->next < words->count ? words->at[words->next] : NULL;
}

const char *words_next(struct words *words)
{
    return words->next < words->count ? words->at[words->next++] : NULL;
}

bool words_take(struct words *words, const char *word)
{
    bool is = words_peek(words) != NULL && strcmp(words_peek(words), word) == 0;
    words->next += is;
    return is;
}

static bool is_number(const char *word)
{
    return word != NULL && word[0] != '\0' && word[strspn(word, "0123456789")] == '\0';
}

uint64_t scenario_number(struct scenario *scenario, struct words *words)
{
    if (is_number(words_peek(words)))
        return strtoull(words_next(words), NULL, 10);
    scenario_fail(scenario, "a number is missing");
    return 0;
}

uint32_t scenario_node(struct scenario *scenario, struct words *words)
{
    uint64_t node = scenario_number(scenario, words);
    if (node >= 1 && node <= scenario->world->nodes)
        return (uint32_t)node;
    scenario_fail(scenario, "there is no such node");
    return 1;
}

uint32_t scenario_nodes(struct scenario *scenario, struct words *words)
{
    uint32_t nodes = 0;
    if (words_take(words, "all"))
        return (2u << scenario->world->nodes) - 2;
    while (is_number(words_peek(words)))
        nodes |= 1u << scenario_node(scenario, words);
    if (nodes == 0)
        scenario_fail(scenario, "nodes are missing");
    return nodes;
}

static struct scenario_name *find_name(struct scenario *scenario, const char *text)
{
    for (uint32_t i = 0; i < scenario->names; i++) {
        if (strcmp(scenario->name[i].name, text) == 0)
            return &scenario->name[i];
    }
    return NULL;
}

struct scenario_name *scenario_named(struct scenario *scenario, struct words *words)
{
    const char *text = words_next(words);
    struct scenario_name *name = text != NULL ? find_name(scenario, text) : NULL;
    if (name == NULL)
        scenario_fail(scenario, "nothing has the name %s", text != NULL ? text : "that is missing");
    return name;
}

/* --- the world -------------------------------------------------------------------------------- */

static void do_nodes(struct scenario *scenario, struct words *words)
{
    uint64_t nodes = scenario_number(scenario, words);
    if (scenario->world != NULL || nodes < 1 || nodes > SIM_NODES) {
        scenario_fail(scenario, "nodes comes once, first, and is 1 to %u", SIM_NODES);
        return;
    }
    scenario->world = world_new(1, (uint32_t)nodes);
    world_now = scenario->world;
    struct net *net = &scenario->world->net;
    net->delay_us = 1000;
    net->reliable = true;
}

static void do_set(struct scenario *scenario, struct words *words)
{
    struct machine_settings *settings = &scenario->settings;
    if (scenario->started)
        scenario_fail(scenario, "set comes before everything else");
    else if (words_take(words, "election"))
        settings->election_ms = (uint32_t)scenario_number(scenario, words);
    else if (words_take(words, "heartbeat"))
        settings->heartbeat_ms = (uint32_t)scenario_number(scenario, words);
    else if (words_take(words, "snapshots"))
        settings->snapshot_entries = scenario_number(scenario, words);
    else if (words_take(words, "pieces"))
        settings->piece_bytes = (uint32_t)scenario_number(scenario, words);
    else if (words_take(words, "segment"))
        settings->segment_bytes = (uint32_t)scenario_number(scenario, words);
    else if (words_take(words, "redis"))
        scenario->append = words_take(words, "no") ? FAKE_APPEND_NO : FAKE_APPEND_EVERYSEC;
    else
        scenario_fail(scenario, "set what?");
}

static void start_all(struct scenario *scenario)
{
    struct world *world = scenario->world;
    scenario->started = true;
    for (uint32_t id = 1; id <= world->nodes; id++) {
        machine_init(&world->machine[id], world, id, &scenario->settings);
        world->machine[id].store.append = scenario->append;
    }
    for (uint32_t id = 1; id <= world->nodes; id++)
        machine_start(&world->machine[id]);
}

/* --- time and leaders ------------------------------------------------------------------------- */

static void pass(struct scenario *scenario, uint64_t us)
{
    world_run(scenario->world, scenario->world->now_us + us);
}

static void do_run(struct scenario *scenario, struct words *words)
{
    pass(scenario, scenario_number(scenario, words) * 1000);
}

static void do_settle(struct scenario *scenario, struct words *words)
{
    (void)words;
    uint64_t until_us = scenario->world->now_us + 60 * SECOND_US;
    while (!scenario_settled(scenario) && !scenario->world->broken) {
        if (scenario->world->now_us >= until_us) {
            scenario_fail(scenario, "it does not settle");
            return;
        }
        pass(scenario, 1000);
    }
}

static void do_elect(struct scenario *scenario, struct words *words)
{
    struct world *world = scenario->world;
    uint32_t node = scenario_node(scenario, words);
    uint64_t until_us = world->now_us + scenario->settings.election_ms * UINT64_C(60000);
    world->net.only_candidate = (uint8_t)node;
    while (scenario_leader(scenario) != node && !world->broken && !scenario->failed) {
        if (world->now_us >= until_us)
            scenario_fail(scenario, "node %u is not elected", node);
        pass(scenario, 100);
    }
    world->net.only_candidate = 0;
}

static void do_note(struct scenario *scenario, struct words *words)
{
    if (!words_take(words, "term"))
        scenario_fail(scenario, "note what?");
    scenario->noted_term = scenario_top_term(scenario);
}

/* --- network ---------------------------------------------------------------------------------- */

enum link_change { LINK_CUT, LINK_DEAFEN, LINK_HOLD, LINK_DROP };

static void change_links(struct scenario *scenario, struct words *words, enum link_change change,
                         uint64_t kinds)
{
    struct net *net = &scenario->world->net;
    uint32_t some = scenario_nodes(scenario, words);
    if (!words_take(words, "from") && !words_take(words, "to"))
        scenario_fail(scenario, "wanted from or to");
    uint32_t others = scenario_nodes(scenario, words);
    for (uint32_t a = 1; a <= scenario->world->nodes; a++) {
        for (uint32_t b = 1; b <= scenario->world->nodes; b++) {
            if (a == b || !HAS_NODE(some, a) || !HAS_NODE(others, b))
                continue;
            if (change == LINK_CUT || change == LINK_DEAFEN)
                net_cut(scenario->world, b, a);
            if (change == LINK_CUT)
                net_cut(scenario->world, a, b);
            if (change == LINK_HOLD)
                net->holding[a][b] = true;
            if (change == LINK_DROP)
                net->dropping[a][b] |= kinds;
        }
    }
}

static void do_cut(struct scenario *scenario, struct words *words)
{
    change_links(scenario, words, LINK_CUT, 0);
}

static void do_deafen(struct scenario *scenario, struct words *words)
{
    change_links(scenario, words, LINK_DEAFEN, 0);
}

static void do_hold(struct scenario *scenario, struct words *words)
{
    change_links(scenario, words, LINK_HOLD, 0);
}

static void do_drop(struct scenario *scenario, struct words *words)
{
    const char *name = words_next(words);
    uint16_t kind = name != NULL ? net_kind_of(name) : 0;
    if (kind == 0)
        scenario_fail(scenario, "drop what kind of frame?");
    change_links(scenario, words, LINK_DROP, net_kind_bit(kind));
}

static void do_allow(struct scenario *scenario, struct words *words)
{
    struct net *net = &scenario->world->net;
    uint32_t count = (uint32_t)scenario_number(scenario, words);
    const char *name = words_next(words);
    uint16_t kind = name != NULL ? net_kind_of(name) : 0;
    if (kind == 0)
        scenario_fail(scenario, "allow what kind of frame?");
    uint32_t from = scenario_node(scenario, words);
    (void)words_take(words, "to");
    uint32_t to = scenario_node(scenario, words);
    net->counted[from][to] = kind;
    net->allowed[from][to] = count;
}

static void do_heal(struct scenario *scenario, struct words *words)
{
    (void)words;
    struct net *net = &scenario->world->net;
    net_heal(scenario->world);
    memset(net->dropping, 0, sizeof(net->dropping));
    memset(net->counted, 0, sizeof(net->counted));
}

static void do_release(struct scenario *scenario, struct words *words)
{
    (void)words;
    net_release(scenario->world);
}

static void do_break(struct scenario *scenario, struct words *words)
{
    uint32_t from = scenario_node(scenario, words);
    (void)words_take(words, "to");
    net_break(scenario->world, from, scenario_node(scenario, words));
}

/* --- nodes ------------------------------------------------------------------------------------ */

static void each_node(struct scenario *scenario, struct words *words,
                      void (*act)(struct machine *machine))
{
    uint32_t nodes = scenario_nodes(scenario, words);
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        if (HAS_NODE(nodes, id))
            act(&scenario->world->machine[id]);
    }
}

static void lose_power(struct machine *machine)
{
    machine_die(machine, MACHINE_POWER_LOST);
}

static void kill_process(struct machine *machine)
{
    machine_die(machine, MACHINE_KILLED);
}

static void pause_node(struct machine *machine)
{
    machine_pause(machine, UINT64_MAX);
}

static void wipe_node(struct machine *machine)
{
    if (machine->phase == MACHINE_DOWN || machine->phase == MACHINE_REFUSED)
        machine_wipe(machine, true);
}

static void ask_snapshot(struct machine *machine)
{
    if (machine_up(machine))
        replica_want_snapshot(machine->replica);
}

static void do_crash(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, lose_power);
}

static void do_kill(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, kill_process);
}

static void do_start(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, machine_start);
}

static void do_stop(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, machine_stop);
}

static void do_pause(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, pause_node);
}

static void do_resume(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, machine_resume);
}

static void do_wipe(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, wipe_node);
}

static void do_snapshot(struct scenario *scenario, struct words *words)
{
    each_node(scenario, words, ask_snapshot);
}

/* --- clients ---------------------------------------------------------------------------------- */

static void ask(struct scenario *scenario, struct scenario_name *name, uint32_t node)
{
    struct machine *machine = &scenario->world->machine[node];
    while (machine_up(machine) && machine->busy_until_us > scenario->world->now_us &&
           !scenario->world->broken)
        pass(scenario, 100);
    if (!machine_up(machine))
        scenario_fail(scenario, "node %u does not take requests", node);
    else
        name->ask = clients_ask(scenario->world, name->op, node);
}

static struct scenario_name *new_name(struct scenario *scenario, const char *text,
                                      enum op_kind kind)
{
    if (text == NULL || strlen(text) >= sizeof(scenario->name[0].name) ||
        scenario->names == SCENARIO_NAMES || find_name(scenario, text) != NULL) {
        scenario_fail(scenario, "a name is missing, too long or taken");
        return NULL;
    }
    struct scenario_name *name = &scenario->name[scenario->names++];
    memcpy(name->name, text, strlen(text) + 1);
    name->op = clients_op(scenario->world, 0, kind);
    return name;
}

static void ask_new(struct scenario *scenario, struct words *words, enum op_kind kind)
{
    struct scenario_name *name = new_name(scenario, words_next(words), kind);
    (void)words_take(words, "at");
    uint32_t node = scenario_node(scenario, words);
    if (name != NULL)
        ask(scenario, name, node);
}

static void do_write(struct scenario *scenario, struct words *words)
{
    ask_new(scenario, words, OP_WRITE);
}

static void do_read(struct scenario *scenario, struct words *words)
{
    ask_new(scenario, words, OP_READ);
}

static void do_stale(struct scenario *scenario, struct words *words)
{
    ask_new(scenario, words, OP_READ_STALE);
}

static void do_writes(struct scenario *scenario, struct words *words)
{
    uint64_t count = scenario_number(scenario, words);
    const char *text = words_next(words);
    (void)words_take(words, "at");
    uint32_t node = scenario_node(scenario, words);
    for (uint64_t i = 1; i <= count && !scenario->failed; i++) {
        char one[64];
        snprintf(one, sizeof(one), "%s-%llu", text, (unsigned long long)i);
        struct scenario_name *name = new_name(scenario, one, OP_WRITE);
        if (name != NULL)
            ask(scenario, name, node);
    }
}

static void do_again(struct scenario *scenario, struct words *words)
{
    struct scenario_name *name = scenario_named(scenario, words);
    (void)words_take(words, "at");
    uint32_t node = scenario_node(scenario, words);
    if (name != NULL)
        ask(scenario, name, node);
}

/* --- reading ---------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    void (*act)(struct scenario *scenario, struct words *words);
} commands[] = {
    {"nodes", do_nodes},
    {"set", do_set},
    {"elect", do_elect},
    {"run", do_run},
    {"settle", do_settle},
    {"cut", do_cut},
    {"deafen", do_deafen},
    {"heal", do_heal},
    {"allow", do_allow},
    {"drop", do_drop},
    {"hold", do_hold},
    {"release", do_release},
    {"break", do_break},
    {"crash", do_crash},
    {"kill", do_kill},
    {"start", do_start},
    {"stop", do_stop},
    {"pause", do_pause},
    {"resume", do_resume},
    {"wipe", do_wipe},
    {"disk", scenario_disk},
    {"rot", scenario_rot},
    {"redis", scenario_redis},
    {"clock", scenario_clock},
    {"options", scenario_options},
    {"folder", scenario_folder},
    {"memory", scenario_memory},
    {"snapshot", do_snapshot},
    {"write", do_write},
    {"again", do_again},
    {"writes", do_writes},
    {"read", do_read},
    {"stale", do_stale},
    {"note", do_note},
    {"expect", scenario_expect},
};

static void do_line(struct scenario *scenario, char *line)
{
    struct words words = {.count = 0};
    line[strcspn(line, "#\n")] = '\0';
    char *rest = line;
    for (char *word; (word = strsep(&rest, " \t")) != NULL && words.count < SCENARIO_WORDS;) {
        if (word[0] != '\0')
            words.at[words.count++] = word;
    }
    const char *command = words_next(&words);
    if (command == NULL)
        return;
    size_t i = 0;
    while (i < ARRAY_LEN(commands) && strcmp(commands[i].word, command) != 0)
        i++;
    if (i == ARRAY_LEN(commands) || (scenario->world == NULL && commands[i].act != do_nodes)) {
        scenario_fail(scenario, "%s: no such command, or it comes before nodes", command);
        return;
    }
    if (!scenario->started && commands[i].act != do_nodes && commands[i].act != do_set)
        start_all(scenario);
    commands[i].act(scenario, &words);
    if (!scenario->failed && !scenario->world->broken && words_peek(&words) != NULL)
        scenario_fail(scenario, "%s: %s is too much", command, words_peek(&words));
}

bool scenario_run(const char *path, bool story)
{
    struct scenario scenario = {
        .path = path,
        .settings = {.election_ms = 100,
                     .heartbeat_ms = 10,
                     .snapshot_entries = UINT32_MAX,
                     .answers_max = 1u << 14,
                     .segment_bytes = 65536},
        .append = FAKE_APPEND_ALWAYS,
    };
    FILE *file = fopen(path, "re");
    char line[512];
    if (file == NULL)
        scenario_fail(&scenario, "cannot be read");
    while (file != NULL && !scenario.failed && fgets(line, sizeof(line), file) != NULL) {
        scenario.line++;
        do_line(&scenario, line);
        struct world *world = scenario.world;
        if (world == NULL)
            continue;
        world->story.aloud = story;
        if (world->broken)
            scenario_fail(&scenario, "a rule is broken: %s", world->why);
    }
    if (file != NULL)
        fclose(file);
    if (scenario.world != NULL && scenario.failed && !story)
        story_print(&scenario.world->story, 80);
    if (scenario.world != NULL)
        world_free(scenario.world);
    return !scenario.failed;
}
