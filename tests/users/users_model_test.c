/*
 * The directory beside a model of plain arrays, under random requests, repetitions, pins, unpins,
 * lists, differences and loads, from fixed seeds.
 */
#include "tests/users/support.h"

#define STEPS    12000u
#define VERSIONS 5u

struct model_user {
    uint64_t index; /* 0: there is none with this id */
    uint64_t name;  /* number of the name */
};

struct model_answer {
    uint64_t request; /* number of the request */
    struct users_answer answer;
};

struct model {
    uint64_t index, count, next_id, first, next;
    struct model_user user[STEPS + 1];     /* by id */
    struct model_answer answer[STEPS + 1]; /* by sequence number */
};

struct version {
    struct users_view *view; /* NULL: not pinned */
    struct users_meta meta;
    struct model model;
};

struct play {
    struct chance chance;
    uint64_t answers_max, requests;
    struct users *users;
    struct users *twin; /* loaded from a snapshot of `users` and given the same since, or NULL */
    struct model model;
    struct version version[VERSIONS];
};

static const uint8_t *letters(void)
{
    static uint8_t at[2 * USER_NAME_BYTES_MAX];
    for (size_t i = 0; i < sizeof(at) && at[i] == 0; i++)
        at[i] = (uint8_t)('a' + i % 25 + i / 256);
    return at;
}

/* One in 16 is empty, one in 16 as long as can be or too long, the others have 1 to 40 bytes. */
static struct bytes name_of(uint64_t number)
{
    struct chance chance = {number};
    const uint8_t *at = letters() + chance_below(&chance, 500);
    uint64_t size = chance_below(&chance, 16);
    if (size == 0)
        return bytes_of(at, 0);
    if (size == 1)
        return bytes_of(at, USER_NAME_BYTES_MAX + chance_below(&chance, 2));
    return bytes_of(at, 1 + chance_below(&chance, 40));
}

/* --- the model -------------------------------------------------------------------------------- */

static struct users_answer model_apply(struct model *m, uint64_t answers_max, uint64_t index,
                                       uint64_t request, uint64_t name)
{
    m->index = index;
    for (uint64_t i = m->first; i < m->next; i++)
        if (m->answer[i].request == request)
            return m->answer[i].answer;
    struct users_answer answer = {.kind = USERS_REJECTED, .index = index};
    if (name_of(name).len <= USER_NAME_BYTES_MAX) {
        answer = (struct users_answer){
            .kind = USERS_CREATED,
            .index = index,
            .created = {.id = m->next_id, .etag = index},
        };
        m->user[m->next_id++] = (struct model_user){.index = index, .name = name};
        m->count++;
    }
    m->answer[m->next++] = (struct model_answer){.request = request, .answer = answer};
    if (m->next - m->first > answers_max)
        m->first += USERS_PAGE;
    return answer;
}

static bool same_user(const struct user *user, uint64_t id, const struct model_user *expected)
{
    return user->id == id && user->index == expected->index &&
           bytes_equal(user->name, name_of(expected->name));
}

static void expect_past(const struct users_past *past, const struct model *m)
{
    must(past->sequence >= m->first && past->sequence < m->next);
    const struct model_answer *expected = &m->answer[past->sequence];
    struct request_id id = request_id_of(expected->request);
    must(request_id_equal(&past->id, &id));
    must(answers_equal(&past->answer, &expected->answer));
}

/* --- versions --------------------------------------------------------------------------------- */

static void expect_meta(struct users_meta meta, const struct model *m)
{
    must(meta.index == m->index && meta.users == m->count && meta.next_id == m->next_id);
    must(meta.answers_first == m->first && meta.answers_next == m->next);
}

static void expect_list(struct play *p, const struct version *v)
{
    static uint8_t at[3000];
    uint64_t after = chance_below(&p->chance, v->model.next_id), id = after;
    uint32_t limit = (uint32_t)chance_below(&p->chance, 40);
    for (bool last = false; !last;) {
        struct writer out = writer_of(at, USER_PACKED_BYTES(USER_NAME_BYTES_MAX, 0) +
                                              chance_below(&p->chance, 1900));
        after = users_view_list(v->view, after, limit, &out, &last);
        struct reader in = reader_of(writer_bytes(&out));
        uint32_t count = 0;
        for (; reader_left(&in) > 0; count++) {
            struct user user = user_get(&in);
            id++;
            must(same_user(&user, id, &v->model.user[id]));
        }
        must(!in.bad && after == id && (count > 0 || last));
        must(limit == 0 || count <= limit);
    }
    must(id == v->model.next_id - 1);
}

static void expect_version(struct play *p, const struct version *v)
{
    struct users_meta meta = users_view_meta(v->view);
    must(metas_equal(meta, v->meta));
    expect_meta(meta, &v->model);
    struct user user;
    for (uint64_t id = 1; id < v->model.next_id; id++)
        must(users_view_get(v->view, id, &user) && same_user(&user, id, &v->model.user[id]));
    must(!users_view_get(v->view, 0, &user));
    must(!users_view_get(v->view, v->model.next_id, &user));
    expect_list(p, v);
    static struct users_past_page past;
    uint64_t sequence = v->model.first;
    for (uint64_t from = 0; users_diff_answers(NULL, v->view, from, &past); from = past.number + 1)
        for (uint32_t i = 0; i < past.count; i++) {
            must(past.at[i].sequence == sequence++);
            expect_past(&past.at[i], &v->model);
        }
    must(sequence == v->model.next);
}

/* Applies one page of a difference to `m`, which is an older (or newer!) version. */
static void apply_page(struct model *m, const struct users_page *page)
{
    bool differs = page->removed > 0;
    must(page->count + page->removed <= USERS_PAGE);
    for (uint32_t i = 0; i < page->removed; i++) {
        uint64_t id = page->removed_id[i];
        must(id / USERS_PAGE == page->number && m->user[id].index != 0);
        m->user[id] = (struct model_user){0};
        m->count--;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        const struct user *user = &page->at[i];
        struct model_user *was = &m->user[user->id];
        must(user->id / USERS_PAGE == page->number && (i == 0 || user->id > user[-1].id));
        bool changed = was->index == 0 || !same_user(user, user->id, was);
        must(changed == ((page->changed >> i & 1) != 0));
        if (was->index == 0)
            m->count++;
        /* Names have numbers in a model: the index of its making is as good. */
        if (changed)
            *was = (struct model_user){.index = user->index, .name = 0};
        differs |= changed;
    }
    must(differs);
}

static void expect_diff(const struct version *old, const struct version *now)
{
    static struct model m;
    static struct users_page page;
    static struct users_past_page past;
    m = old->model;
    for (uint64_t from = 0; users_diff(old->view, now->view, from, &page); from = page.number + 1) {
        must(page.number >= from);
        apply_page(&m, &page);
        for (uint32_t i = 0; i < page.count; i++)
            must(same_user(&page.at[i], page.at[i].id, &now->model.user[page.at[i].id]));
    }
    must(m.count == now->model.count);
    for (uint64_t id = 1; id <= STEPS; id++)
        must(m.user[id].index == now->model.user[id].index);

    /* Pages of answers: gone, or as they are now; those not given are the same in both. */
    bool given[STEPS / USERS_PAGE + 2] = {false};
    for (uint64_t from = 0; users_diff_answers(old->view, now->view, from, &past);
         from = past.number + 1) {
        given[past.number] = true;
        uint64_t expected = now->model.next - past.number * USERS_PAGE;
        if (past.count == 0)
            must((past.number + 1) * USERS_PAGE <= now->model.first ||
                 past.number * USERS_PAGE >= now->model.next);
        else
            must(past.count == (expected < USERS_PAGE ? expected : USERS_PAGE));
        for (uint32_t i = 0; i < past.count; i++)
            expect_past(&past.at[i], &now->model);
    }
    for (uint64_t sequence = 0; sequence < STEPS; sequence++) {
        bool was = sequence >= old->model.first && sequence < old->model.next;
        bool is = sequence >= now->model.first && sequence < now->model.next;
        must(was == is || given[sequence / USERS_PAGE]);
    }
}

static void pin(struct play *p, struct version *v)
{
    users_unpin(v->view);
    v->view = users_pin(p->users);
    v->meta = users_meta(p->users);
    v->model = p->model;
}

static struct version *any_version(struct play *p)
{
    struct version *v = &p->version[chance_below(&p->chance, VERSIONS)];
    if (v->view == NULL)
        pin(p, v);
    return v;
}

/* --- loads ------------------------------------------------------------------------------------ */

static struct users *load(struct play *p, const struct users_view *view)
{
    struct users *users = users_new(p->answers_max);
    static struct users_page page;
    static struct users_past_page past;
    uint64_t user_from = 0, answer_from = 0;
    bool more_users = true, more_answers = true;
    while (more_users || more_answers) {
        if (more_users && (!more_answers || chance_below(&p->chance, 2) == 0)) {
            more_users = users_diff(NULL, view, user_from, &page);
            for (uint32_t i = 0; more_users && i < page.count; i++)
                must(users_load_user(users, &page.at[i]) == 0);
            user_from = page.number + 1;
        } else {
            more_answers = users_diff_answers(NULL, view, answer_from, &past);
            for (uint32_t i = 0; more_answers && i < past.count; i++)
                must(users_load_answer(users, &past.at[i]) == 0);
            answer_from = past.number + 1;
        }
    }
    struct users_meta meta = users_view_meta(view);
    must(users_load_done(users, &meta) == 0);
    must(metas_equal(users_meta(users), meta));
    return users;
}

static void renew_twin(struct play *p)
{
    struct users_view *view = users_pin(p->users);
    users_free(p->twin);
    p->twin = load(p, view);
    users_check(p->twin);
    users_unpin(view);
}

/* --- the play --------------------------------------------------------------------------------- */

/* A new request, or one of those just made, or of any made before. */
static uint64_t any_request(struct play *p)
{
    uint64_t dice = chance_below(&p->chance, 100), made = p->requests;
    if (dice < 80 || made == 0)
        return p->requests++;
    uint64_t recent = made < 2 * p->answers_max ? made : 2 * p->answers_max;
    return dice < 97 ? made - 1 - chance_below(&p->chance, recent) : chance_below(&p->chance, made);
}

static void apply(struct play *p)
{
    uint64_t index = p->model.index + 1 + chance_below(&p->chance, 3) / 2;
    uint64_t number = any_request(p), name = number + 1;
    struct users_request request = create_request(number, name_of(name));
    struct users_answer expected = model_apply(&p->model, p->answers_max, index, number, name);
    struct users_answer answer = users_apply(p->users, index, &request);
    must(answers_equal(&answer, &expected));
    must(users_answered(p->users, &request.id, &answer) && answers_equal(&answer, &expected));
    expect_meta(users_meta(p->users), &p->model);
    if (p->twin != NULL) {
        answer = users_apply(p->twin, index, &request);
        must(answers_equal(&answer, &expected));
        must(metas_equal(users_meta(p->twin), users_meta(p->users)));
    }
}

static void skip(struct play *p)
{
    p->model.index += 1 + chance_below(&p->chance, 5);
    users_skip(p->users, p->model.index);
    if (p->twin != NULL)
        users_skip(p->twin, p->model.index);
}

static void step(struct play *p)
{
    struct version *v = &p->version[chance_below(&p->chance, VERSIONS)];
    uint64_t dice = chance_below(&p->chance, 10000);
    if (dice < 9400) {
        apply(p);
    } else if (dice < 9800) {
        skip(p);
    } else if (dice < 9880) {
        pin(p, v);
    } else if (dice < 9940) {
        users_unpin(v->view);
        v->view = NULL;
    } else if (dice < 9965) {
        expect_diff(any_version(p), any_version(p));
    } else if (dice < 9985) {
        expect_version(p, any_version(p));
    } else if (dice < 9993) {
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
    p.answers_max = answers_max[seed % ARRAY_LEN(answers_max)];
    p.users = users_new(p.answers_max);
    p.model.next_id = 1;
    for (unsigned i = 0; i < STEPS; i++)
        step(&p);
    for (unsigned i = 0; i < VERSIONS; i++) {
        expect_version(&p, any_version(&p));
        expect_diff(any_version(&p), any_version(&p));
    }
    for (unsigned i = 0; i < VERSIONS; i++)
        users_unpin(p.version[i].view);
    users_check(p.users); /* nothing is pinned: every reference is one */
    uint64_t digest = users_meta(p.users).digest;
    users_free(p.users);
    users_free(p.twin);
    return digest;
}

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
