/*
 * The directory as plain arrays, searched from end to end: what raft/users is compared with. It
 * knows the rules (order of checks, what is remembered and for how long) and nothing of trees,
 * hashes or indexes.
 */
#ifndef ROLLCALL_TESTS_USERS_MODEL_H
#define ROLLCALL_TESTS_USERS_MODEL_H

#include "raft/users/users.h"

struct model_user {
    uint64_t index;          /* 0: there is none with this id */
    struct user_texts texts; /* borrowed from the requests */
};

struct model_past {
    struct request_id id;
    bool forgotten;
    uint64_t command; /* of a request: its digest */
    struct request_id fingerprint;
    uint64_t time_ms;
    struct users_answer answer;
};

struct model_table {
    uint64_t first, next;
    struct model_past *at; /* by sequence number, also those before `first` */
};

struct model {
    uint64_t answers_max;
    uint64_t index, count, next_id, changed, time_ms;
    uint64_t room;           /* what the arrays have */
    struct model_user *user; /* by id, up to next_id */
    struct model_table recent, keys;
};

/* Texts by number, the same for ever. Names: several numbers may be one text, some are too long. */
struct bytes model_name(uint64_t number);

/* 0 is none; two each are one but for case; then come those that are no emails. */
#define MODEL_EMAILS     240u
#define MODEL_EMAILS_BAD 5u
struct bytes model_email(uint64_t number);

/* These, and of what else a user may have something that depends on them. */
struct user_texts model_texts(struct bytes name, struct bytes email);

bool model_same_email(struct bytes a, struct bytes b);
bool model_same_user(const struct user *user, uint64_t id, const struct model_user *expected);

void model_init(struct model *model, uint64_t answers_max);
void model_done(struct model *model);
/* `copy` is one already, or zeros. */
void model_copy(struct model *copy, const struct model *model);

/* Texts of the request must live as long as the model does. */
struct users_answer model_apply(struct model *model, uint64_t index,
                                const struct users_request *request);
/* An entry without a request. */
void model_skip(struct model *model, uint64_t index);

#endif
