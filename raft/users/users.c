#include "raft/users/users.h"

#include <errno.h>

#include "raft/users/allocate.h"
#include "raft/users/answers.h"
#include "raft/users/records.h"

enum phase {
    FRESH,   /* nothing was applied or loaded */
    LOADING, /* a snapshot is being loaded: not a state yet */
    RUNNING,
};

struct users {
    struct records records;
    struct answers answers;
    uint64_t index;      /* of the last entry; while loading, the largest seen */
    uint64_t next_id;    /* while loading, above every id seen in users and answers */
    uint64_t load_after; /* while loading: the id of the last user loaded */
    enum phase phase;
    uint32_t views; /* pinned */
    bool freed;     /* only `views` is still of use */
};

struct users_view {
    struct users *users;
    struct tree records;
    struct tree answers;
    struct users_meta meta;
};

struct users *users_new(uint64_t answers_max)
{
    struct users *users = allocate_zeroed(1, sizeof(*users));
    records_init(&users->records);
    answers_init(&users->answers, answers_max);
    users->next_id = 1;
    users->phase = FRESH;
    return users;
}

static void free_when_unused(struct users *users)
{
    if (users->freed && users->views == 0)
        free(users);
}

void users_free(struct users *users)
{
    if (users == NULL)
        return;
    assert(!users->freed);
    records_done(&users->records);
    answers_done(&users->answers);
    users->freed = true;
    free_when_unused(users);
}

/* --- applying --------------------------------------------------------------------------------- */

static struct users_answer rejected(uint64_t index)
{
    return (struct users_answer){.kind = USERS_REJECTED, .rejected = {.index = index}};
}

static struct users_answer create(struct users *users, uint64_t index,
                                  const struct users_create *command)
{
    if (command->name.len > USER_NAME_BYTES_MAX || users->next_id > USER_ID_MAX)
        return rejected(index);
    struct user user = {.id = users->next_id, .index = index, .name = command->name};
    records_add(&users->records, &user);
    users->next_id++;
    return (struct users_answer){
        .kind = USERS_CREATED,
        .created = {.id = user.id, .index = index},
    };
}

static struct users_answer carry_out(struct users *users, uint64_t index,
                                     const struct users_command *command)
{
    switch (command->kind) {
    case USERS_CREATE:
        return create(users, index, &command->create);
    }
    UNREACHABLE();
}

void users_skip(struct users *users, uint64_t index)
{
    assert(users->phase != LOADING);
    assert(index > users->index);
    users->index = index;
    users->phase = RUNNING;
}

struct users_answer users_apply(struct users *users, uint64_t index,
                                const struct users_request *request)
{
    users_skip(users, index);
    struct users_answer answer;
    if (answers_find(&users->answers, &request->id, &answer))
        return answer;
    answer = carry_out(users, index, &request->command);
    assert(answer_index(&answer) == index);
    answers_remember(&users->answers, &request->id, &answer);
    return answer;
}

bool users_answered(const struct users *users, const struct request_id *id,
                    struct users_answer *ret_answer)
{
    assert(users->phase != LOADING);
    return answers_find(&users->answers, id, ret_answer);
}

struct users_meta users_meta(const struct users *users)
{
    return (struct users_meta){
        .index = users->index,
        .count = users->records.count,
        .next_id = users->next_id,
        .answers_first = users->answers.first,
        .answers_next = users->answers.next,
        .digest = users->records.digest + users->answers.digest,
    };
}

/* --- versions --------------------------------------------------------------------------------- */

struct users_view *users_pin(struct users *users)
{
    assert(users->phase != LOADING);
    struct users_view *view = allocate(sizeof(*view));
    *view = (struct users_view){
        .users = users,
        .records = tree_hold(&users->records.tree),
        .answers = tree_hold(&users->answers.tree),
        .meta = users_meta(users),
    };
    users->views++;
    return view;
}

void users_unpin(struct users_view *view)
{
    if (view == NULL)
        return;
    assert(view->users->views > 0);
    tree_drop(&view->records);
    tree_drop(&view->answers);
    view->users->views--;
    free_when_unused(view->users);
    free(view);
}

struct users_meta users_view_meta(const struct users_view *view)
{
    return view->meta;
}

bool users_view_get(const struct users_view *view, uint64_t id, struct user *ret_user)
{
    return records_get(&view->records, id, ret_user);
}

uint64_t users_view_list(const struct users_view *view, uint64_t after, uint32_t limit,
                         struct writer *out, bool *ret_last)
{
    return records_list(&view->records, after, limit, out, ret_last);
}

bool users_diff(const struct users_view *old, const struct users_view *now, uint64_t from,
                struct users_page *ret_page)
{
    return records_diff(old != NULL ? &old->records : NULL, &now->records, from, ret_page);
}

bool users_diff_answers(const struct users_view *old, const struct users_view *now, uint64_t from,
                        struct users_past_page *ret_page)
{
    return answers_diff(old != NULL ? &old->answers : NULL, &now->answers, from, ret_page);
}

/* --- loading ---------------------------------------------------------------------------------- */

static void load_begin(struct users *users)
{
    assert(users->phase != RUNNING);
    users->phase = LOADING;
}

static void raise_to(uint64_t *number, uint64_t at_least)
{
    if (*number < at_least)
        *number = at_least;
}

int users_load_user(struct users *users, const struct user *user)
{
    load_begin(users);
    if (user->id <= users->load_after || user->id > USER_ID_MAX || user->index == 0 ||
        user->name.len > USER_NAME_BYTES_MAX)
        return -EBADMSG;
    records_add(&users->records, user);
    users->load_after = user->id;
    raise_to(&users->next_id, user->id + 1);
    raise_to(&users->index, user->index);
    return 0;
}

int users_load_answer(struct users *users, const struct users_past *past)
{
    load_begin(users);
    uint64_t id = answer_user_id(&past->answer), index = answer_index(&past->answer);
    if (id > USER_ID_MAX || index == 0 || (past->answer.kind == USERS_CREATED && id == 0))
        return -EBADMSG;
    int error = answers_load(&users->answers, past);
    if (error != 0)
        return error;
    raise_to(&users->next_id, id + 1);
    raise_to(&users->index, index);
    return 0;
}

int users_load_done(struct users *users, const struct users_meta *meta)
{
    load_begin(users);
    struct users_meta loaded = users_meta(users);
    /* Every id and every answer took a log entry of its own. */
    if (meta->index < loaded.index || meta->next_id - 1 > meta->index ||
        meta->answers_next > meta->index || meta->next_id < loaded.next_id ||
        meta->next_id > USER_ID_MAX + 1 || meta->count != loaded.count ||
        meta->answers_first != loaded.answers_first || meta->answers_next != loaded.answers_next ||
        meta->digest != loaded.digest)
        return -EBADMSG;
    users->index = meta->index;
    users->next_id = meta->next_id;
    users->phase = RUNNING;
    return 0;
}

void users_check(const struct users *users)
{
    assert(users->phase != LOADING && !users->freed);
    assert(users->next_id >= 1 && users->next_id <= USER_ID_MAX + 1);
    assert(users->next_id - 1 <= users->index && users->answers.next <= users->index);
    assert(users->records.count < users->next_id);
    uint32_t versions = users->views + 1;
    records_check(&users->records, versions, users->next_id, users->index);
    answers_check(&users->answers, versions, users->next_id, users->index);
}
