/* The index from hashes to ids, beside a plain array; then hashes, conditions and user_json. */
#include "raft/users/index.h"

#include "raft/users/hash.h"
#include "raft/users/user_json.h"
#include "tests/users/support.h"

#include <errno.h>
#include <stdlib.h>

/* --- against a model: an array of all pairs that there may be, and for each whether it is there --
 */

#define PAIRS_MAX 150000u
#define VERSIONS  4u

struct pair {
    uint64_t hash, id;
};

/* Which pairs there may be: so many hashes, each had by so many ids that lie `apart` or less. */
struct style {
    uint32_t hashes, ids;
    uint64_t apart;
    uint32_t steps_between; /* two looks at everything; counts of pairs are large or small */
};

struct version {
    bool held;
    struct index index;
    uint32_t count;
    bool has[PAIRS_MAX];
};

struct play {
    struct chance chance;
    const struct style *style;
    uint32_t pairs;
    struct pair pair[PAIRS_MAX]; /* ascending */
    struct version now, version[VERSIONS];
};

static int by_hash_and_id(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static void play_begin(struct play *p, const struct style *style, uint64_t seed)
{
    memset(p, 0, sizeof(*p));
    p->chance.state = seed;
    p->style = style;
    index_init(&p->now.index);
    for (uint32_t i = 0; i < style->hashes; i++) {
        /* The smallest and the largest, else neighbours or anywhere. */
        uint64_t hash = i % 3 == 0 ? i : chance_u64(&p->chance);
        if (i == 1)
            hash = UINT64_MAX;
        uint64_t id = 0;
        for (uint32_t j = 0; j < style->ids; j++) {
            id += 1 + chance_below(&p->chance, style->apart);
            p->pair[p->pairs++] = (struct pair){hash, id};
        }
    }
    qsort(p->pair, p->pairs, sizeof(p->pair[0]), by_hash_and_id);
}

/* The ids of one hash, from the first pair of it on and from a random one; where the next begins.
 */
static uint32_t expect_hash(struct play *p, const struct version *v, uint32_t first)
{
    uint64_t hash = p->pair[first].hash, id = 0;
    uint32_t i = first;
    for (; i < p->pairs && p->pair[i].hash == hash; i++)
        if (v->has[i]) {
            id = index_find(&v->index, hash, id);
            must(id == p->pair[i].id);
            must(index_find(&v->index, hash, id - 1) == id);
        }
    must(index_find(&v->index, hash, id) == 0);
    must(index_find(&v->index, hash, UINT64_MAX) == 0);
    return i;
}

static void expect_version(struct play *p, const struct version *v, uint32_t versions)
{
    must(index_check(&v->index, versions) == v->count);
    must((v->index.root == NULL) == (v->count == 0));
    for (uint32_t i = 0; i < p->pairs;) {
        uint64_t hash = p->pair[i].hash;
        i = expect_hash(p, v, i);
        if (hash < UINT64_MAX && (i == p->pairs || p->pair[i].hash != hash + 1))
            must(index_find(&v->index, hash + 1, 0) == 0);
    }
}

static uint32_t versions_of(const struct play *p)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < VERSIONS; i++)
        count += p->version[i].held;
    return count;
}

static void forget(struct play *p, struct version *v)
{
    if (!v->held)
        return;
    expect_version(p, v, versions_of(p));
    index_drop(&v->index);
    must(v->index.root == NULL);
    v->held = false;
}

static void turn(struct play *p, uint32_t i)
{
    const struct pair *pair = &p->pair[i];
    if (p->now.has[i])
        index_remove(&p->now.index, pair->hash, pair->id);
    else
        index_add(&p->now.index, pair->hash, pair->id);
    p->now.count += p->now.has[i] ? -1u : 1u;
    p->now.has[i] = !p->now.has[i];
}

/* Until there are so many; of seven changes one goes the other way. */
static void go_to(struct play *p, uint32_t count)
{
    const bool up = count > p->now.count;
    for (uint32_t step = 1; p->now.count != count; step++) {
        const bool add = up == (chance_below(&p->chance, 7) > 0);
        /* Anywhere, or a run from there: so leaves fill at their ends and empty as a whole. */
        uint32_t i = (uint32_t)chance_below(&p->chance, p->pairs), run = 1;
        if (chance_below(&p->chance, 50) == 0)
            run = 1 + (uint32_t)chance_below(&p->chance, 300);
        for (; run > 0 && p->now.count != count; run--, i = (i + 1) % p->pairs) {
            uint32_t tries = p->pairs;
            for (; p->now.has[i] == add && tries > 0; tries--)
                i = (i + 1) % p->pairs;
            if (tries > 0)
                turn(p, i);
        }
        if (step % (p->style->steps_between / 8) == 0)
            must(index_check(&p->now.index, versions_of(p)) == p->now.count);
        if (step % p->style->steps_between == 0) {
            struct version *v = &p->version[chance_below(&p->chance, VERSIONS)];
            expect_version(p, &p->now, versions_of(p));
            forget(p, v);
            if (chance_below(&p->chance, 3) > 0) {
                *v = p->now;
                v->index = index_hold(&p->now.index);
                v->held = true;
            }
        }
    }
}

static void forget_all(struct play *p)
{
    for (uint32_t i = 0; i < VERSIONS; i++)
        forget(p, &p->version[i]);
    expect_version(p, &p->now, 1);
}

Test(index, behaves_as_an_array_does_in_every_version, .timeout = 300)
{
    static struct play p;
    static const struct style styles[] = {
        {1, 5000, 1, 400},           {3, 3000, UINT64_C(1) << 40, 400},
        {60, 100, 1, 400},           {400, 20, UINT64_C(1) << 40, 400},
        {6000, 1, 1000, 400},        {2, 75000, 1, 60000},
        {7500, 20, 1u << 20, 60000},
    };
    for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
        play_begin(&p, &styles[i], i + 1);
        go_to(&p, p.pairs * 9 / 10);
        go_to(&p, p.pairs / 10);
        go_to(&p, p.pairs);
        forget_all(&p);
        go_to(&p, p.pairs / 100);
        go_to(&p, p.pairs / 2);
        go_to(&p, 1);
        go_to(&p, 0);
        forget_all(&p);
        must(p.now.index.root == NULL);
    }
}

/* In order, as the ids of one name come; and gone in order, or from the end. */
Test(index, grows_and_shrinks_at_either_end)
{
    const uint64_t count = 20000;
    for (int way = 0; way < 4; way++) {
        struct index index;
        index_init(&index);
        for (uint64_t i = 1; i <= count; i++) {
            index_add(&index, 7, way % 2 == 0 ? i : count + 1 - i);
            if (i % 500 == 0)
                must(index_check(&index, 1) == i);
        }
        for (uint64_t i = 1; i <= count; i++) {
            index_remove(&index, 7, way < 2 ? i : count + 1 - i);
            if (i % 500 == 0 || i > count - 10)
                must(index_check(&index, 1) == count - i);
            must(index_find(&index, 7, 0) == (i == count ? 0 : way < 2 ? i + 1 : 1));
        }
        cr_assert(eq(ptr, (void *)index.root, NULL));
    }
}

Test(index, a_version_outlives_the_index)
{
    struct index index, nothing, held;
    index_init(&index);
    nothing = index_hold(&index);
    for (uint64_t i = 1; i <= 5000; i++)
        index_add(&index, i % 70, i);
    held = index_hold(&index);
    struct index again = index_hold(&held);
    index_drop(&index);
    index_drop(&again);
    cr_assert(eq(u64, index_check(&held, 1), 5000));
    cr_assert(eq(u64, index_find(&held, 69, 4900), 4969));
    cr_assert(zero(u64, index_find(&nothing, 69, 0)));
    cr_assert(zero(u64, index_check(&nothing, 0)));
    index_drop(&nothing);
    index_drop(&held);
}

Test(index, begins_after_any_id)
{
    static const uint64_t ids[] = {1, 63, 64, 65, 4095, 4096, USER_ID_MAX};
    struct index index;
    index_init(&index);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        cr_assert(zero(u64, index_find(&index, 9, i > 0 ? ids[i - 1] : 0)));
        index_add(&index, 9, ids[i]);
        for (size_t j = 0; j <= i; j++) {
            cr_assert(eq(u64, index_find(&index, 9, ids[j] - 1), ids[j]));
            cr_assert(eq(u64, index_find(&index, 9, ids[j]), j < i ? ids[j + 1] : 0));
        }
    }
    cr_assert(zero(u64, index_find(&index, 8, 0)));
    index_drop(&index);
}

Test(index, an_id_is_not_there_twice, .signal = SIGABRT)
{
    struct index index;
    index_init(&index);
    index_add(&index, 9, 1);
    index_add(&index, 9, 2);
    index_add(&index, 9, 2);
}

Test(index, what_is_not_there_cannot_be_taken_out, .signal = SIGABRT)
{
    struct index index;
    index_init(&index);
    index_add(&index, 9, 1);
    index_remove(&index, 9, 2);
}

Test(hash, of_texts_that_differ_in_ascii_case_only_is_one)
{
    struct bytes a = bytes_of_text("aZ@[`{\xc3\xa9"), b = bytes_of_text("Az@[`{\xc3\xa9");
    cr_assert(users_equal_ignoring_case(a, b));
    cr_assert(eq(u64, users_hash_ignoring_case(a), users_hash_ignoring_case(b)));
    cr_assert(ne(u64, users_hash(a), users_hash(b)));
    /* Neighbours of the letters, and letters beyond ASCII, are what they are. */
    static const char *const pairs[][2] = {
        {"@", "`"}, {"[", "{"}, {"\xc3\xa9", "\xc3\x89"}, {"a", "aa"}, {"", "a"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        a = bytes_of_text(pairs[i][0]);
        b = bytes_of_text(pairs[i][1]);
        cr_expect(not(users_equal_ignoring_case(a, b)), "%s", pairs[i][0]);
        cr_expect(ne(u64, users_hash_ignoring_case(a), users_hash_ignoring_case(b)));
    }
}

Test(condition, holds_or_not)
{
    uint8_t at[16];
    struct writer out = writer_of(at, sizeof(at));
    put_u64(&out, 7);
    put_u64(&out, 0);
    const struct condition none = {.kind = CONDITION_NONE}, any = {.kind = CONDITION_ANY},
                           empty = {.kind = CONDITION_LIST},
                           some = {.kind = CONDITION_LIST, .tags = writer_bytes(&out)};
    const struct {
        const struct condition *match, *none_match;
        uint64_t tag;
        bool holds;
    } rows[] = {
        {&none, &none, 7, true},    {&any, &none, 7, true},   {&empty, &none, 7, false},
        {&some, &none, 7, true},    {&some, &none, 0, true},  {&some, &none, 8, false},
        {&none, &any, 7, false},    {&none, &empty, 7, true}, {&none, &some, 7, false},
        {&none, &some, 8, true},    {&some, &some, 7, false}, {&any, &some, 8, true},
        {&empty, &empty, 7, false}, {&any, &any, 7, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect(
            eq(int, conditions_hold(rows[i].match, rows[i].none_match, rows[i].tag), rows[i].holds),
            "row %zu", i);
}

Test(user_json, comes_back_with_and_without_an_email)
{
    static const struct user users[] = {
        {.id = 7, .name = {(const uint8_t *)"Ann", 3}, .email = {(const uint8_t *)"a@b", 3}},
        {.id = USER_ID_MAX, .name = {NULL, 0}},
        {.id = 1, .name = {(const uint8_t *)"\"\n\\\0", 4}, .email = {(const uint8_t *)"\"@\\", 3}},
    };
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        uint8_t at[256], texts[64];
        struct writer out = writer_of(at, sizeof(at)), store = writer_of(texts, sizeof(texts));
        struct user back;
        user_json_put(&out, &users[i]);
        cr_assert(zero(int, user_json_decode(writer_bytes(&out), &store, &back)));
        cr_expect(back.id == users[i].id && back.index == 0);
        cr_expect(bytes_equal(back.name, users[i].name) && bytes_equal(back.email, users[i].email));
        for (size_t len = 0; len < writer_len(&out); len++) {
            store = writer_of(texts, sizeof(texts));
            cr_expect(eq(int, user_json_decode(bytes_of(at, len), &store, &back), -EBADMSG));
        }
    }
}

Test(user_json, of_any_other_form_is_refused)
{
    static const char *const texts[] = {"{\"id\":1,\"name\":\"a\",\"email\":\"\"}",
                                        "{\"id\":1,\"name\":\"a\",}",
                                        "{\"id\":1,\"email\":\"a@b\",\"name\":\"a\"}",
                                        "{\"id\":1,\"name\":\"a\",\"email\":null}",
                                        "{\"id\":1,\"name\":\"a\"} ",
                                        "{\"id\":1,\"name\":\"a\",\"email\":\"a@b\",\"x\":1}",
                                        "{\"id\":01,\"name\":\"a\"}",
                                        "{\"id\":1, \"name\":\"a\"}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint8_t store_at[64];
        struct writer store = writer_of(store_at, sizeof(store_at));
        struct user user;
        cr_expect(eq(int, user_json_decode(bytes_of_text(texts[i]), &store, &user), -EBADMSG), "%s",
                  texts[i]);
    }
    uint8_t few[2];
    struct writer store = writer_of(few, sizeof(few));
    struct user user;
    cr_expect(eq(int, user_json_decode(bytes_of_text("{\"id\":1,\"name\":\"abc\"}"), &store, &user),
                 -EBADMSG));
}
