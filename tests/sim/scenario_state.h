/* What scenario*.c share: scenario.c reads and does, scenario_expect.c judges. */
#ifndef ROLLCALL_TESTS_SIM_SCENARIO_STATE_H
#define ROLLCALL_TESTS_SIM_SCENARIO_STATE_H

#include "tests/sim/scenario.h"
#include "tests/sim/world.h"

#define SCENARIO_NAMES 2048u
#define SCENARIO_WORDS 48

struct scenario_name {
    char name[32];
    uint64_t op;
    uint64_t ask; /* the last */
};

/* The words of a line, and which is next. */
struct words {
    int count, next;
    char *at[SCENARIO_WORDS];
};

struct scenario {
    const char *path;
    int line;
    bool failed;
    struct world *world;
    struct machine_settings settings;
    enum fake_append append;
    bool started;
    uint64_t noted_term;
    uint32_t names;
    struct scenario_name name[SCENARIO_NAMES];
};

void scenario_fail(struct scenario *scenario, const char *format, ...) PRINTF_LIKE(2, 3);

/* The next word, NULL when there is none; taken if it is this one. */
const char *words_peek(const struct words *words);
const char *words_next(struct words *words);
bool words_take(struct words *words, const char *word);

/* These fail the scenario when the words are not what they want. */
uint64_t scenario_number(struct scenario *scenario, struct words *words);
uint32_t scenario_node(struct scenario *scenario, struct words *words);
/* Bits by id; as many numbers as there are, or "all". */
uint32_t scenario_nodes(struct scenario *scenario, struct words *words);
struct scenario_name *scenario_named(struct scenario *scenario, struct words *words);

uint64_t scenario_top_term(const struct scenario *scenario);
/* Who leads in the highest term of those that run; 0: nobody. */
uint32_t scenario_leader(const struct scenario *scenario);

/* scenario_faults.c: `disk`, `rot`, `redis`, `clock`, whose word is taken already. */
void scenario_disk(struct scenario *scenario, struct words *words);
void scenario_rot(struct scenario *scenario, struct words *words);
void scenario_redis(struct scenario *scenario, struct words *words);
void scenario_clock(struct scenario *scenario, struct words *words);
void scenario_options(struct scenario *scenario, struct words *words);
void scenario_folder(struct scenario *scenario, struct words *words);
void scenario_memory(struct scenario *scenario, struct words *words);

/* One `expect`, whose word is taken already. */
void scenario_expect(struct scenario *scenario, struct words *words);
bool scenario_settled(const struct scenario *scenario);

#define HAS_NODE(nodes, id) (((nodes) >> (id)&1) != 0)

#endif
