/*
 * What the tests of raft/users share: a seeded generator, requests, and a check for the inside of
 * long loops (Criterion's own assertions report each success to another process).
 */
#ifndef ROLLCALL_TESTS_USERS_SUPPORT_H
#define ROLLCALL_TESTS_USERS_SUPPORT_H

#include <signal.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "raft/users/users.h"

#define must(condition)                                            \
    do {                                                           \
        if (!(condition))                                          \
            cr_fatal("%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)

/* SplitMix64 (G. Steele, D. Lea, C. Flood, 2014). */
struct chance {
    uint64_t state;
};

static inline uint64_t chance_u64(struct chance *chance)
{
    uint64_t z = chance->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In [0, n). */
static inline uint64_t chance_below(struct chance *chance, uint64_t n)
{
    return chance_u64(chance) % n;
}

/* A request id made of a number. */
static inline struct request_id request_id_of(uint64_t number)
{
    struct chance chance = {number};
    struct request_id id;
    uint64_t words[2] = {chance_u64(&chance), chance_u64(&chance)};
    _Static_assert(sizeof(words) == sizeof(id.at), "an id is two words");
    memcpy(id.at, words, sizeof(words));
    return id;
}

static inline struct users_request create_request(uint64_t number, struct bytes name)
{
    return (struct users_request){
        .id = request_id_of(number),
        .time_ms = 1700000000000,
        .command = {.kind = USERS_CREATE, .create = {{.name = name}}},
    };
}

static inline struct users_answer create(struct users *users, uint64_t index, uint64_t number,
                                         const char *name)
{
    struct users_request request = create_request(number, bytes_of_text(name));
    return users_apply(users, index, &request);
}

static inline bool answers_equal(const struct users_answer *a, const struct users_answer *b)
{
    uint8_t at[2][USERS_ANSWER_BYTES_MAX];
    struct writer out[2] = {writer_of(at[0], sizeof(at[0])), writer_of(at[1], sizeof(at[1]))};
    users_answer_put(&out[0], a);
    users_answer_put(&out[1], b);
    return bytes_equal(writer_bytes(&out[0]), writer_bytes(&out[1]));
}

static inline bool metas_equal(struct users_meta a, struct users_meta b)
{
    return memcmp(&a, &b, sizeof(a)) == 0; /* all of it is numbers of 64 bits */
}

#endif
