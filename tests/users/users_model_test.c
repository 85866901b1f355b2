/*
 * The directory beside a model of plain arrays (model.h), under random requests of every kind,
 * repetitions, clocks that leap, pins, unpins, lists, lookups, differences and loads, from fixed
 * seeds.
 */
#include "tests/users/model.h"

#include "tests/users/plays.h"

#define STEPS    4000u
#define VERSIONS 4u

struct version {
    struct users_view *view; /* NULL: not pinned */
    struct users_meta meta;
    struct model model;
};

#define COMMANDS 1024u

struct play {
    struct chance chance;
    struct plays_style style;
    uint64_t requests, time_ms;
    struct users_command made[COMMANDS]; /* of the last requests, by their number */
    uint8_t tags[COMMANDS][2][CONDITION_BYTES_MAX];
    struct users *users;
    struct users *twin; /* loaded from a snapshot of `users` and given the same since, or NULL */
    struct model model;
    struct version version[VERSIONS];
};

/* --- versions --------------------------------------------------------------------------------- */

static void expect_meta(struct users_meta meta, const struct model *m)
{
    must(meta.index == m->index && meta.users == m->count && meta.next_id == m->next_id);
    must(meta.changed == m->changed && meta.time_ms == m->time_ms);
    must(meta.answers_first == m->recent.first && meta.answers_next == m->recent.next);
    must(meta.keys_first == m->keys.first && meta.keys_next == m->keys.next);
}

/* Whom a list or a lookup is to give: by name, by email, or with neither everybody. */
struct wanted {
    bool by_name, by_email;
    struct bytes text;
};

static bool is_wanted(const struct wanted *wanted, const struct model_user *user)
{
    if (user->index == 0)
        return false;
    if (wanted->by_name)
        return bytes_equal(user->texts.name, wanted->text);
    return !wanted->by_email ||
           (user->texts.email.len > 0 && model_same_email(user->texts.email, wanted->text));
}

static uint64_t list(const struct version *v, const struct wanted *wanted, uint64_t after,
                     uint32_t limit, struct writer *out, bool *ret_last)
{
    if (!wanted->by_name && !wanted->by_email)
        return users_view_list(v->view, after, limit, out, ret_last);
    return users_view_find(v->view, wanted->by_name ? USER_TEXT_name : USER_TEXT_email,
                           wanted->text, after, limit, out, ret_last);
}

/* In pieces, from anywhere on: each wanted user once, nobody else, and `last` when it is so. */
static void expect_list(struct play *p, const struct version *v, const struct wanted *wanted)
{
    static uint8_t at[USER_PACKED_BYTES_MAX + 1900];
    uint64_t after = chance_below(&p->chance, v->model.next_id + 1), id = after;
    uint32_t limit = (uint32_t)chance_below(&p->chance, 40);
    for (bool last = false; !last;) {
        struct writer out = writer_of(at, USER_PACKED_BYTES_MAX + chance_below(&p->chance, 1900));
        uint64_t from = after;
        after = list(v, wanted, after, limit, &out, &last);
        struct reader in = reader_of(writer_bytes(&out));
        uint32_t count = 0;
        for (; reader_left(&in) > 0; count++) {
            struct user user = user_get(&in);
            do
                id++;
            while (id < v->model.next_id && !is_wanted(wanted, &v->model.user[id]));
            must(id < v->model.next_id && model_same_user(&user, id, &v->model.user[id]));
        }
        must(!in.bad && after == (count > 0 ? id : from) && (count > 0 || last));
        must(limit == 0 || count <= limit);
    }
    while (++id < v->model.next_id)
        must(!is_wanted(wanted, &v->model.user[id]));
}

static void expect_lookups(struct play *p, const struct version *v)
{
    for (unsigned i = 0; i < 12; i++) {
        struct wanted wanted = {.by_name = i % 2 == 0, .by_email = i % 2 == 1};
        uint64_t id = chance_below(&p->chance, v->model.next_id + 1);
        const struct model_user *user = &v->model.user[id];
        if (wanted.by_name)
            wanted.text = user->index != 0 ? user->texts.name : plays_name(&p->chance, &p->style);
        else
            wanted.text = plays_email(&p->chance);
        expect_list(p, v, &wanted);
    }
}

static void expect_past(const struct users_past *past, const struct model_table *table)
{
    must(past->sequence >= table->first && past->sequence < table->next);
    const struct model_past *expected = &table->at[past->sequence];
    must(request_id_equal(&past->id, &expected->id) && past->forgotten == expected->forgotten);
    if (past->forgotten)
        return;
    must(answers_equal(&past->answer, &expected->answer));
    must(past->command == expected->command);
    if (past->keyed) {
        must(request_id_equal(&past->fingerprint, &expected->fingerprint));
        must(past->time_ms == expected->time_ms);
    }
}

static void expect_answers(const struct version *v)
{
    static struct users_past_page page;
    uint64_t next[2] = {v->model.recent.first, v->model.keys.first};
    for (uint64_t from = 0; users_diff_answers(NULL, v->view, from, &page); from = page.number + 1)
        for (uint32_t i = 0; i < page.count; i++) {
            bool keyed = page.number >= USERS_KEYED;
            must(page.at[i].keyed == keyed && page.at[i].sequence == next[keyed]++);
            expect_past(&page.at[i], keyed ? &v->model.keys : &v->model.recent);
        }
    must(next[0] == v->model.recent.next && next[1] == v->model.keys.next);
}

static void expect_version(struct play *p, const struct version *v)
{
    struct users_meta meta = users_view_meta(v->view);
    must(metas_equal(meta, v->meta));
    expect_meta(meta, &v->model);
    struct user user;
    for (uint64_t id = 0; id <= v->model.next_id; id++) {
        const struct model_user *expected = &v->model.user[id];
        must(users_view_get(v->view, id, &user) == (expected->index != 0));
        must(expected->index == 0 || model_same_user(&user, id, expected));
    }
    expect_list(p, v, &(struct wanted){.by_name = false});
    expect_lookups(p, v);
    expect_answers(v);
}

/* --- differences ------------------------------------------------------------------------------ */

/* Applies one page of a difference to `users`, which are those of an older (or newer!) version. */
static void apply_page(struct model_user *users, const struct users_page *page)
{
    must(page->count + page->removed <= USERS_PAGE);
    for (uint32_t i = 0; i < page->removed; i++) {
        uint64_t id = page->removed_id[i];
        must(id / USERS_PAGE == page->number && users[id].index != 0);
        users[id] = (struct model_user){.index = 0};
    }
    for (uint32_t i = 0; i < page->count; i++) {
        const struct user *user = &page->at[i];
        struct model_user *was = &users[user->id];
        must(user->id / USERS_PAGE == page->number && (i == 0 || user->id > user[-1].id));
        must(model_same_user(user, user->id, was) == ((page->changed >> i & 1) == 0));
        *was = (struct model_user){user->index, user->texts};
    }
}

static void expect_diff_of_users(const struct version *old, const struct version *now)
{
    static struct model_user users[STEPS + 2];
    static struct users_page page;
    memset(users, 0, sizeof(users));
    memcpy(users, old->model.user, old->model.next_id * sizeof(*users));
    for (uint64_t from = 0; users_diff(old->view, now->view, from, &page); from = page.number + 1) {
        must(page.number >= from);
        apply_page(users, &page);
    }
    for (uint64_t id = 1; id < now->model.next_id; id++) {
        const struct model_user *expected = &now->model.user[id];
        struct user user = {.id = id, .index = users[id].index, .texts = users[id].texts};
        must(model_same_user(&user, id, expected));
    }
}

static bool is_in(const struct model_table *table, uint64_t sequence)
{
    return sequence >= table->first && sequence < table->next;
}

/* Pages that were given are as they are now, or gone; of the others nothing is different. */
static void expect_page(const struct users_past_page *page, const struct model_table *table)
{
    uint64_t first = (page->number & ~USERS_KEYED) * USERS_PAGE, left = table->next - first;
    if (page->count == 0)
        must(first + USERS_PAGE <= table->first || first >= table->next);
    else
        must(page->count == (left < USERS_PAGE ? left : USERS_PAGE));
    for (uint32_t i = 0; i < page->count; i++)
        expect_past(&page->at[i], table);
}

static void expect_not_given(const bool *given, const struct model_table *old,
                             const struct model_table *now)
{
    for (uint64_t sequence = 0; sequence < STEPS; sequence++) {
        bool was = is_in(old, sequence), is = is_in(now, sequence);
        bool same =
            was == is && (!is || old->at[sequence].forgotten == now->at[sequence].forgotten);
        must(same || given[sequence / USERS_PAGE]);
    }
}

static void expect_diff(const struct version *old, const struct version *now)
{
    static struct users_past_page page;
    bool given[2][STEPS / USERS_PAGE + 2] = {{false}};
    expect_diff_of_users(old, now);
    for (uint64_t from = 0; users_diff_answers(old->view, now->view, from, &page);
         from = page.number + 1) {
        bool keyed = page.number >= USERS_KEYED;
        must(page.number >= from);
        given[keyed][page.number & ~USERS_KEYED] = true;
        expect_page(&page, keyed ? &now->model.keys : &now->model.recent);
    }
    expect_not_given(given[0], &old->model.recent, &now->model.recent);
    expect_not_given(given[1], &old->model.keys, &now->model.keys);
}

static void pin(struct play *p, struct version *v)
{
    users_unpin(v->view);
    v->view = users_pin_indexed(p->users);
    v->meta = users_meta(p->users);
    model_copy(&v->model, &p->model);
}

static struct version *any_version(struct play *p)
{
    struct version *v = &p->version[chance_below(&p->chance, VERSIONS)];
    if (v->view == NULL)
        pin(p, v);
    return v;
}

static void renew_twin(struct play *p)
{
    struct users_view *view = users_pin(p->users);
    users_free(p->twin);
    p->twin = plays_load(&p->chance, view, p->model.answers_max);
    users_check(p->twin);
    users_unpin(view);
}

/* --- the play --------------------------------------------------------------------------------- */

/* A new request, or one of those just made, or of any made before. */
static uint64_t any_request(struct play *p)
{
    uint64_t dice = chance_below(&p->chance, 100), made = p->requests;
    if (dice < 85 || made == 0)
        return p->requests++;
    uint64_t recent = made < 2 * p->model.answers_max ? made : 2 * p->model.answers_max;
    return dice < 97 ? made - 1 - chance_below(&p->chance, recent) : chance_below(&p->chance, made);
}

static void copy_tags(struct condition *condition, uint8_t *store)
{
    if (condition->tags.len > 0)
        memcpy(store, condition->tags.at, condition->tags.len);
    condition->tags.at = store;
}

/* A request that came before mostly comes as it was, and at times another under its id. */
static struct users_request next_request(struct play *p)
{
    struct users_request request = plays_request(&p->chance, &p->style, &p->model);
    uint64_t made = p->requests, number = any_request(p), place = number % COMMANDS;
    request.id = request_id_of(number);
    if (number == made) {
        p->made[place] = request.command;
        copy_tags(&p->made[place].if_match, p->tags[place][0]);
        copy_tags(&p->made[place].if_none_match, p->tags[place][1]);
    } else if (made - number <= COMMANDS && chance_below(&p->chance, 4) != 0) {
        request.command = p->made[place];
    }
    return request;
}

static void apply(struct play *p)
{
    uint64_t index = p->model.index + 1 + chance_below(&p->chance, 3) / 2;
    struct users_request request = next_request(p);
    p->time_ms += plays_time_step(&p->chance);
    request.time_ms = p->time_ms - chance_below(&p->chance, 2000); /* leaders' clocks differ */
    struct users_answer expected = model_apply(&p->model, index, &request);
    struct users_answer answer = users_apply(p->users, index, &request);
    must(answers_equal(&answer, &expected));
    must(users_answered(p->users, &request.id, &request.command, &answer) &&
         answers_equal(&answer, &expected));
    expect_meta(users_meta(p->users), &p->model);
    if (p->twin != NULL) {
        answer = users_apply(p->twin, index, &request);
        must(answers_equal(&answer, &expected));
        must(metas_equal(users_meta(p->twin), users_meta(p->users)));
    }
}

static void skip(struct play *p)
{
    model_skip(&p->model, p->model.index + 1 + chance_below(&p->chance, 5));
    users_skip(p->users, p->model.index);
    if (p->twin != NULL)
        users_skip(p->twin, p->model.index);
}

static void step(struct play *p)
{
    struct version *v = &p->version[chance_below(&p->chance, VERSIONS)];
    uint64_t dice = chance_below(&p->chance, 10000);
    if (dice < 9300) {
        apply(p);
    } else if (dice < 9600) {
        skip(p);
    } else if (dice < 9730) {
        pin(p, v);
    } else if (dice < 9800) {
        users_unpin(v->view);
        v->view = NULL;
    } else if (dice < 9850) {
        expect_diff(any_version(p), any_version(p));
    } else if (dice < 9900) {
        expect_version(p, any_version(p));
    } else if (dice < 9970) {
        users_check(p->users);
    } else {
        renew_twin(p);
    }
}

static uint64_t play(uint64_t seed)
{
    static const uint64_t answers_max[] = {64, 128, 192, 1024};
    static struct play p;
    memset(&p, 0, sizeof(p));
    p.chance.state = seed;
    p.style = plays_style(seed);
    p.time_ms = seed % 3 == 0 ? 5000 : 1700000000000; /* also when no day has passed since 1970 */
    model_init(&p.model, answers_max[seed % ARRAY_LEN(answers_max)]);
    p.users = users_new(p.model.answers_max);
    for (unsigned i = 0; i < STEPS; i++)
        step(&p);
    for (unsigned i = 0; i < VERSIONS; i++) {
        expect_version(&p, any_version(&p));
        expect_diff(any_version(&p), any_version(&p));
    }
    for (unsigned i = 0; i < VERSIONS; i++) {
        users_unpin(p.version[i].view);
        model_done(&p.version[i].model);
    }
    users_check(p.users); /* nothing is pinned: every reference is one */
    uint64_t digest = users_meta(p.users).digest;
    users_free(p.users);
    users_free(p.twin);
    model_done(&p.model);
    return digest;
}

TestSuite(users_model, .timeout = 300);

Test(users_model, the_directory_behaves_as_arrays_do)
{
    for (uint64_t seed = 1; seed <= 32; seed++)
        play(seed);
}

Test(users_model, the_same_requests_give_the_same_digest)
{
    for (uint64_t seed = 100; seed < 104; seed++)
        cr_assert(eq(u64, play(seed), play(seed)));
}
