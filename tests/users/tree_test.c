#include "raft/users/tree.h"

#include <stdlib.h>

#include "tests/users/support.h"

/* A page of these tests: one number. */
struct page {
    struct tree_part part;
    uint64_t value;
};

static int64_t pages_alive, pages_copied;

static struct tree_part *page_with(uint64_t value)
{
    struct page *page = malloc(sizeof(*page));
    assert(page != NULL);
    *page = (struct page){.part.refs = 1, .value = value};
    pages_alive++;
    return &page->part;
}

static struct tree_part *page_new(void)
{
    return page_with(0);
}

static const struct page *as_page(const struct tree_part *part)
{
    return CONTAINER_OF(part, const struct page, part);
}

static struct tree_part *page_copy(const struct tree_part *part)
{
    pages_copied++;
    return page_with(as_page(part)->value);
}

static void page_free(struct tree_part *part)
{
    pages_alive--;
    free(CONTAINER_OF(part, struct page, part));
}

static const struct tree_kind kind = {page_new, page_copy, page_free};

static void set(struct tree *tree, uint64_t number, uint64_t value)
{
    CONTAINER_OF(tree_edit(tree, number), struct page, part)->value = value;
}

/* The value of a page; 0 where there is none. */
static uint64_t value_at(const struct tree *tree, uint64_t number)
{
    const struct tree_part *part = tree_get(tree, number);
    return part != NULL ? as_page(part)->value : 0;
}

/* The boundaries of levels, and what lies beside them. */
static const uint64_t corners[] = {
    0,
    1,
    62,
    63,
    64,
    65,
    4095,
    4096,
    4097,
    262143,
    262144,
    16777215,
    16777216,
    (1ull << 30) - 1,
    1ull << 30,
    1ull << 36,
    1ull << 42,
    1ull << 48,
    1ull << 54,
    (1ull << 54) - 1,
    TREE_PAGES_MAX - 1,
};

Test(tree, keeps_pages_of_every_number)
{
    struct tree tree = tree_empty(&kind);
    for (size_t i = 0; i < ARRAY_LEN(corners); i++) {
        cr_assert(eq(ptr, (void *)tree_get(&tree, corners[i]), NULL));
        set(&tree, corners[i], i + 1);
        cr_assert(eq(u64, tree_check(&tree, 1), i + 1));
    }
    for (size_t i = 0; i < ARRAY_LEN(corners); i++)
        cr_assert(eq(u64, value_at(&tree, corners[i]), i + 1));
    cr_assert(eq(ptr, (void *)tree_get(&tree, 2), NULL));
    cr_assert(eq(ptr, (void *)tree_get(&tree, UINT64_MAX), NULL));
    tree_drop(&tree);
    cr_assert(zero(i64, pages_alive));
}

Test(tree, begins_with_any_number)
{
    for (size_t i = 0; i < ARRAY_LEN(corners); i++) {
        struct tree tree = tree_empty(&kind);
        uint64_t number;
        set(&tree, corners[i], 9);
        cr_assert(eq(u64, tree_check(&tree, 1), 1));
        cr_assert(ne(ptr, (void *)tree_next(&tree, 0, &number), NULL));
        cr_assert(eq(u64, number, corners[i]));
        tree_remove(&tree, corners[i]);
        cr_assert(zero(u64, tree_check(&tree, 1)));
        cr_assert(eq(ptr, (void *)tree.root, NULL), "no empty node is left");
        tree_drop(&tree);
    }
    cr_assert(zero(i64, pages_alive));
}

Test(tree, visits_pages_in_order)
{
    struct tree tree = tree_empty(&kind);
    uint64_t number = 0, at = 0;
    cr_assert(eq(ptr, (void *)tree_next(&tree, 0, &number), NULL));
    for (uint64_t i = 0; i < 10000; i += 7)
        set(&tree, i, i + 1);
    const struct tree_part *part;
    for (; (part = tree_next(&tree, at, &number)) != NULL; at = number + 1)
        must(number == (at + 6) / 7 * 7 && as_page(part)->value == number + 1);
    cr_assert(eq(u64, number, 9996));
    tree_drop(&tree);
}

Test(tree, edits_in_place_until_a_version_is_held_and_then_copies_once)
{
    struct tree tree = tree_empty(&kind);
    for (uint64_t i = 0; i < 5000; i++)
        set(&tree, i, 1);
    set(&tree, 100, 2);
    cr_assert(zero(i64, pages_copied));

    struct tree held = tree_hold(&tree);
    for (uint64_t value = 3; value < 10; value++)
        set(&tree, 100, value);
    set(&tree, 101, 3);
    cr_assert(eq(i64, pages_copied, 2), "one for each page edited");
    cr_assert(eq(i64, pages_alive, 5002));
    cr_assert(eq(u64, value_at(&held, 100), 2));
    cr_assert(eq(u64, value_at(&held, 101), 1));
    cr_assert(eq(u64, value_at(&tree, 100), 9));

    tree_drop(&held);
    cr_assert(eq(i64, pages_alive, 5000), "what only the version held is freed");
    set(&tree, 100, 10);
    set(&tree, 102, 10);
    cr_assert(eq(i64, pages_copied, 2), "and edits are in place again");
    cr_assert(eq(u64, tree_check(&tree, 1), 5000));
    tree_drop(&tree);
    cr_assert(zero(i64, pages_alive));
}

Test(tree, a_held_version_outlives_the_tree)
{
    struct tree tree = tree_empty(&kind);
    for (uint64_t i = 0; i < 200; i++)
        set(&tree, i, i);
    struct tree held = tree_hold(&tree);
    tree_drop(&tree);
    cr_assert(eq(u64, tree_check(&held, 1), 200));
    cr_assert(eq(u64, value_at(&held, 199), 199));
    tree_drop(&held);
    cr_assert(zero(i64, pages_alive));
}

Test(tree, a_version_of_nothing_can_be_held)
{
    struct tree tree = tree_empty(&kind);
    struct tree held = tree_hold(&tree);
    set(&tree, 5, 1);
    cr_assert(eq(ptr, (void *)tree_get(&held, 5), NULL));
    tree_drop(&held);
    tree_drop(&tree);
}

Test(tree, what_is_removed_stays_in_the_version_held)
{
    struct tree tree = tree_empty(&kind);
    for (uint64_t i = 0; i < 130; i++)
        set(&tree, i, i + 1);
    struct tree held = tree_hold(&tree);
    for (uint64_t i = 0; i < 130; i++) {
        tree_remove(&tree, i);
        cr_assert(eq(u64, tree_check(&tree, 2), 129 - i));
    }
    cr_assert(eq(u64, tree_check(&held, 2), 130));
    cr_assert(eq(u64, value_at(&held, 64), 65));
    tree_drop(&held);
    cr_assert(zero(i64, pages_alive));
    tree_drop(&tree);
}

Test(tree, a_page_that_is_not_there_cannot_be_removed, .signal = SIGABRT)
{
    struct tree tree = tree_empty(&kind);
    set(&tree, 1, 1);
    tree_remove(&tree, 2);
}

Test(tree, a_number_too_large_cannot_be_edited, .signal = SIGABRT)
{
    struct tree tree = tree_empty(&kind);
    tree_edit(&tree, TREE_PAGES_MAX);
}

/* --- against a model: an array of values for the numbers that are used at all ----------------- */

#define NUMBERS  400u
#define VERSIONS 6u

struct version {
    bool held;
    struct tree tree;
    uint64_t value[NUMBERS];
};

struct play {
    struct chance chance;
    uint64_t number[NUMBERS]; /* ascending */
    struct version now, held[VERSIONS];
    uint64_t next_value;
};

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void play_begin(struct play *p, uint64_t seed)
{
    memset(p, 0, sizeof(*p));
    p->chance.state = seed;
    p->next_value = 1;
    p->now.tree = tree_empty(&kind);
    /* Neighbours in the first half, then numbers of every magnitude, all different. */
    for (unsigned i = 0; i < NUMBERS; i++)
        p->number[i] = i < NUMBERS / 2 ? 40 + i : chance_u64(&p->chance) >> (5 + i % 55);
    qsort(p->number, NUMBERS, sizeof(p->number[0]), by_number);
    for (unsigned i = 1; i < NUMBERS; i++)
        if (p->number[i] <= p->number[i - 1])
            p->number[i] = p->number[i - 1] + 1;
}

static void expect_version(const struct play *p, const struct version *v)
{
    uint64_t from = 0, number, pages = 0;
    unsigned i = 0;
    const struct tree_part *part;
    for (; (part = tree_next(&v->tree, from, &number)) != NULL; from = number + 1) {
        while (i < NUMBERS && v->value[i] == 0)
            i++;
        must(i < NUMBERS && number == p->number[i] && as_page(part)->value == v->value[i]);
        must(value_at(&v->tree, number) == v->value[i]);
        i++;
        pages++;
    }
    for (; i < NUMBERS; i++)
        must(v->value[i] == 0 && value_at(&v->tree, p->number[i]) == 0);
    must(pages == tree_check(&v->tree, VERSIONS + 1));
}

/* Every value ever set is another, so that a difference is one of values. */
static void expect_diff(struct play *p, const struct version *a, const struct version *b)
{
    unsigned i = (unsigned)chance_below(&p->chance, NUMBERS + 1);
    uint64_t from = i < NUMBERS ? p->number[i] : p->number[NUMBERS - 1] + 1, number;
    const struct tree_part *old, *now;
    for (; tree_diff(&a->tree, &b->tree, from, &number, &old, &now); from = number + 1, i++) {
        while (i < NUMBERS && a->value[i] == b->value[i])
            i++;
        must(i < NUMBERS && number == p->number[i]);
        must((old != NULL ? as_page(old)->value : 0) == a->value[i]);
        must((now != NULL ? as_page(now)->value : 0) == b->value[i]);
    }
    for (; i < NUMBERS; i++)
        must(a->value[i] == b->value[i]);
}

static struct version *any_version(struct play *p)
{
    struct version *v = &p->held[chance_below(&p->chance, VERSIONS)];
    return v->held ? v : &p->now;
}

static void play_step(struct play *p)
{
    unsigned i = (unsigned)chance_below(&p->chance, NUMBERS);
    struct version *v = &p->held[chance_below(&p->chance, VERSIONS)];
    uint64_t dice = chance_below(&p->chance, 1000);
    if (dice < 550) {
        set(&p->now.tree, p->number[i], p->next_value);
        p->now.value[i] = p->next_value++;
    } else if (dice < 960) {
        if (p->now.value[i] != 0)
            tree_remove(&p->now.tree, p->number[i]);
        p->now.value[i] = 0;
    } else if (dice < 975) {
        if (v->held)
            tree_drop(&v->tree);
        *v = p->now;
        v->tree = tree_hold(&p->now.tree);
        v->held = true;
    } else if (dice < 985) {
        if (v->held)
            tree_drop(&v->tree);
        v->held = false;
    } else if (dice < 995) {
        expect_diff(p, any_version(p), any_version(p));
    } else {
        expect_version(p, any_version(p));
    }
}

Test(tree, behaves_as_arrays_do_under_random_edits_and_versions)
{
    static struct play p;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        play_begin(&p, seed);
        for (unsigned step = 0; step < 30000; step++)
            play_step(&p);
        for (unsigned i = 0; i < VERSIONS; i++)
            if (p.held[i].held) {
                expect_version(&p, &p.held[i]);
                tree_drop(&p.held[i].tree);
            }
        tree_check(&p.now.tree, 1);
        expect_version(&p, &p.now);
        tree_drop(&p.now.tree);
        must(pages_alive == 0);
    }
}
