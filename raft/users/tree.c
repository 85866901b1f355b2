#include "raft/users/tree.h"

#include <string.h>

#include "raft/users/allocate.h"

struct tree_node {
    struct tree_part part;
    uint32_t used; /* children that are not NULL */
    struct tree_part *at[TREE_FANOUT];
};

static struct tree_node *as_node(struct tree_part *part)
{
    return CONTAINER_OF(part, struct tree_node, part);
}

/* How many bits of a page's number lie below one child of a node at this level (1: over pages). */
static unsigned bits_below(uint32_t level)
{
    assert(level >= 1 && level <= TREE_LEVELS_MAX);
    return TREE_FANOUT_BITS * (level - 1);
}

static unsigned digit(uint64_t number, uint32_t level)
{
    return (unsigned)(number >> bits_below(level)) & (TREE_FANOUT - 1);
}

static bool reaches(const struct tree *tree, uint64_t number)
{
    return number >> (TREE_FANOUT_BITS * tree->levels) == 0;
}

struct tree tree_empty(const struct tree_kind *kind)
{
    return (struct tree){.kind = kind};
}

struct tree tree_hold(const struct tree *tree)
{
    if (tree->root != NULL) {
        assert(tree->root->refs > 0 && tree->root->refs < UINT32_MAX);
        tree->root->refs++;
    }
    return *tree;
}

/* Lets one reference to a part go. As deep as the tree is high. */
static void drop(const struct tree_kind *kind, struct tree_part *part, uint32_t level)
{
    assert(part->refs > 0);
    if (--part->refs > 0)
        return;
    if (level == 0) {
        kind->page_free(part);
        return;
    }
    struct tree_node *node = as_node(part);
    for (unsigned i = 0; i < TREE_FANOUT; i++)
        if (node->at[i] != NULL)
            drop(kind, node->at[i], level - 1);
    free(node);
}

void tree_drop(struct tree *tree)
{
    if (tree->root != NULL)
        drop(tree->kind, tree->root, tree->levels);
    *tree = tree_empty(tree->kind);
}

const struct tree_part *tree_get(const struct tree *tree, uint64_t number)
{
    if (!reaches(tree, number))
        return NULL;
    struct tree_part *part = tree->root;
    for (uint32_t level = tree->levels; part != NULL && level > 0; level--)
        part = as_node(part)->at[digit(number, level)];
    return part;
}

/* The node in this place, now this version's own: made, or copied from one that others hold too. */
static struct tree_node *own_node(struct tree_part **place)
{
    struct tree_part *shared = *place;
    if (shared != NULL && shared->refs == 1)
        return as_node(shared);
    struct tree_node *node = allocate_zeroed(1, sizeof(*node));
    if (shared != NULL) {
        assert(shared->refs > 1);
        memcpy(node, as_node(shared), sizeof(*node));
        for (unsigned i = 0; i < TREE_FANOUT; i++)
            if (node->at[i] != NULL)
                node->at[i]->refs++;
        shared->refs--;
    }
    node->part.refs = 1;
    *place = &node->part;
    return node;
}

static struct tree_part *own_page(const struct tree_kind *kind, struct tree_part **place)
{
    struct tree_part *shared = *place;
    if (shared != NULL && shared->refs == 1)
        return shared;
    *place = shared != NULL ? kind->page_copy(shared) : kind->page_new();
    assert((*place)->refs == 1);
    if (shared != NULL)
        shared->refs--;
    return *place;
}

/* One level more: what there is becomes the first child. */
static void grow(struct tree *tree)
{
    assert(tree->levels < TREE_LEVELS_MAX);
    if (tree->root != NULL) {
        struct tree_part *above = NULL;
        struct tree_node *node = own_node(&above);
        node->at[0] = tree->root;
        node->used = 1;
        tree->root = above;
    }
    tree->levels++;
}

struct tree_part *tree_edit(struct tree *tree, uint64_t number)
{
    assert(number < TREE_PAGES_MAX);
    while (!reaches(tree, number))
        grow(tree);
    struct tree_part **place = &tree->root;
    for (uint32_t level = tree->levels; level > 0; level--) {
        struct tree_node *node = own_node(place);
        place = &node->at[digit(number, level)];
        if (*place == NULL)
            node->used++;
    }
    return own_page(tree->kind, place);
}

void tree_remove(struct tree *tree, uint64_t number)
{
    assert(reaches(tree, number));
    struct tree_part **place[TREE_LEVELS_MAX + 1];
    place[tree->levels] = &tree->root;
    for (uint32_t level = tree->levels; level > 0; level--) {
        assert(*place[level] != NULL);
        place[level - 1] = &own_node(place[level])->at[digit(number, level)];
    }
    assert(*place[0] != NULL);
    drop(tree->kind, *place[0], 0);
    *place[0] = NULL;
    for (uint32_t level = 1; level <= tree->levels; level++) {
        struct tree_node *node = as_node(*place[level]);
        if (--node->used > 0)
            break;
        free(node);
        *place[level] = NULL;
    }
}

/*
 * What a version has below child i of a place at `level`. A tree lower than that stands under the
 * first children of nodes it does not have.
 */
static struct tree child(const struct tree *tree, uint32_t level, unsigned i)
{
    struct tree none = {.kind = tree->kind, .levels = level - 1};
    if (tree->levels < level)
        return i == 0 ? *tree : none;
    assert(tree->levels == level);
    if (tree->root != NULL)
        none.root = as_node(tree->root)->at[i];
    return none;
}

struct difference {
    uint64_t from, number;
    const struct tree_part *old, *now;
};

/* Finds the first difference at or after d->from below a place whose first page is `first`. */
static bool differ(const struct tree *old, const struct tree *now, uint32_t level, uint64_t first,
                   struct difference *d)
{
    if (old->root == now->root)
        return false;
    if (level == 0) {
        assert(first >= d->from);
        d->number = first;
        d->old = old->root;
        d->now = now->root;
        return true;
    }
    unsigned bits = bits_below(level);
    uint64_t start = d->from > first ? (d->from - first) >> bits : 0;
    for (unsigned i = (unsigned)start; i < TREE_FANOUT; i++) {
        struct tree old_child = child(old, level, i);
        struct tree now_child = child(now, level, i);
        if (differ(&old_child, &now_child, level - 1, first + ((uint64_t)i << bits), d))
            return true;
    }
    return false;
}

bool tree_diff(const struct tree *old, const struct tree *now, uint64_t from, uint64_t *ret_number,
               const struct tree_part **ret_old, const struct tree_part **ret_now)
{
    const struct tree *higher = old->levels > now->levels ? old : now;
    struct difference d = {.from = from};
    if (!reaches(higher, from) || !differ(old, now, higher->levels, 0, &d))
        return false;
    *ret_number = d.number;
    *ret_old = d.old;
    *ret_now = d.now;
    return true;
}

const struct tree_part *tree_next(const struct tree *tree, uint64_t from, uint64_t *ret_number)
{
    const struct tree nothing = tree_empty(tree->kind);
    const struct tree_part *old, *now;
    return tree_diff(&nothing, tree, from, ret_number, &old, &now) ? now : NULL;
}

static uint64_t check_part(struct tree_part *part, uint32_t level, uint32_t versions)
{
    /* One version reaches a part at most once. */
    assert(part->refs >= 1 && part->refs <= versions);
    if (level == 0)
        return 1;
    const struct tree_node *node = as_node(part);
    uint32_t used = 0;
    uint64_t pages = 0;
    for (unsigned i = 0; i < TREE_FANOUT; i++) {
        if (node->at[i] == NULL)
            continue;
        used++;
        pages += check_part(node->at[i], level - 1, versions);
    }
    assert(used > 0 && used == node->used);
    return pages;
}

uint64_t tree_check(const struct tree *tree, uint32_t versions)
{
    assert(tree->levels <= TREE_LEVELS_MAX);
    return tree->root != NULL ? check_part(tree->root, tree->levels, versions) : 0;
}
