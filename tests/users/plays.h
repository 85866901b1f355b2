/* What random plays upon the directory are made of: requests, steps of time, and loads. */
#ifndef ROLLCALL_TESTS_USERS_PLAYS_H
#define ROLLCALL_TESTS_USERS_PLAYS_H

#include "tests/users/model.h"
#include "tests/users/support.h"

/* Of 100 requests so many are … (the rest are creations), and of 100 so many have a key. */
struct plays_style {
    unsigned replace, patch, delete, keyed;
    bool long_names; /* so that the texts of answers reach their limit before their number does */
};

struct plays_style plays_style(uint64_t seed);

struct bytes plays_name(struct chance *chance, const struct plays_style *style);
struct bytes plays_email(struct chance *chance);

/* All but its id and time. Conditions are in memory that the next call writes to. */
struct users_request plays_request(struct chance *chance, const struct plays_style *style,
                                   const struct model *model);

/* Mostly nothing or some seconds, at times hours, or a day. */
uint64_t plays_time_step(struct chance *chance);

/* A state loaded from what a view has: as it is, packed, or through the texts of a snapshot. */
struct users *plays_load(struct chance *chance, const struct users_view *view,
                         uint64_t answers_max);

#endif
