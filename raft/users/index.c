#include "raft/users/index.h"

#include <string.h>

#include "raft/users/allocate.h"

struct pair {
    uint64_t hash;
    uint64_t id;
};

/* What leaves and nodes begin with; their items stand behind it, ascending. */
struct index_part {
    uint32_t refs;
    uint16_t level; /* 0: a leaf, its items are pairs; else children, of the level below */
    uint16_t count;
};

struct child {
    struct pair from; /* the first that may be below it; means nothing in a node's first child */
    struct index_part *part;
};

/* Memory is taken for a multiple of so many items. */
#define STEP 8u

_Static_assert(sizeof(struct index_part) % _Alignof(struct child) == 0, "items stand behind it");

/* --- parts and their items -------------------------------------------------------------------- */

static uint32_t most(uint32_t level)
{
    return level == 0 ? INDEX_LEAF_MAX : INDEX_NODE_MAX;
}

static size_t width(uint32_t level)
{
    return level == 0 ? sizeof(struct pair) : sizeof(struct child);
}

static size_t size_for(uint32_t level, uint32_t count)
{
    return sizeof(struct index_part) + (count + STEP - 1) / STEP * STEP * width(level);
}

static void *item(const struct index_part *part, uint32_t i)
{
    return (uint8_t *)part + sizeof(*part) + i * width(part->level);
}

static struct pair *pairs_of(const struct index_part *leaf)
{
    assert(leaf->level == 0);
    return item(leaf, 0);
}

static struct child *children_of(const struct index_part *node)
{
    assert(node->level > 0);
    return item(node, 0);
}

static bool is_below(struct pair a, struct pair b)
{
    return a.hash != b.hash ? a.hash < b.hash : a.id < b.id;
}

static struct index_part *part_new(uint32_t level, uint32_t count)
{
    struct index_part *part = allocate(size_for(level, count));
    *part = (struct index_part){.refs = 1, .level = (uint16_t)level, .count = (uint16_t)count};
    return part;
}

static void hold(struct index_part *part)
{
    assert(part->refs > 0 && part->refs < UINT32_MAX);
    part->refs++;
}

/* Lets one reference to a part go. As deep as the tree is high. */
static void drop(struct index_part *part)
{
    assert(part->refs > 0);
    if (--part->refs > 0)
        return;
    for (uint32_t i = 0; part->level > 0 && i < part->count; i++)
        drop(children_of(part)[i].part);
    free(part);
}

/* Copies items, children being held once more by their new place. */
static void copy(struct index_part *to, uint32_t at, const struct index_part *from, uint32_t first,
                 uint32_t count)
{
    memcpy(item(to, at), item(from, first), count * width(to->level));
    for (uint32_t i = at; to->level > 0 && i < at + count; i++)
        hold(children_of(to)[i].part);
}

/* The part in this place is now this version's own: copied, when others hold it too. */
static struct index_part *own(struct index_part **place)
{
    struct index_part *shared = *place;
    if (shared->refs > 1) {
        *place = part_new(shared->level, shared->count);
        copy(*place, 0, shared, 0, shared->count);
        drop(shared);
    }
    return *place;
}

/* Room for so many items: those there are, from the first, stay. */
static struct index_part *resize(struct index_part **place, uint32_t count)
{
    struct index_part *part = *place;
    assert(part->refs == 1 && count <= most(part->level));
    size_t size = size_for(part->level, count);
    if (size != size_for(part->level, part->count))
        part = reallocate(part, size);
    part->count = (uint16_t)count;
    *place = part;
    return part;
}

/* The second half becomes a part of its own. */
static struct index_part *split(struct index_part **place)
{
    const uint32_t half = most((*place)->level) / 2;
    struct index_part *right = part_new((*place)->level, half);
    memcpy(item(right, 0), item(*place, half), half * width(right->level));
    resize(place, half);
    return right;
}

/* Returns, when there was no room, the part that is now on the right of this one; else NULL. */
static struct index_part *insert(struct index_part **place, uint32_t i, const void *what)
{
    struct index_part *right = NULL;
    if ((*place)->count == most((*place)->level)) {
        right = split(place);
        if (i > (*place)->count) {
            i -= (*place)->count;
            place = &right;
        }
    }
    /* cppcheck-suppress nullPointer; `right` is what split() made, where `place` points to it */
    uint32_t behind = (*place)->count - i;
    struct index_part *part = resize(place, (*place)->count + 1u);
    memmove(item(part, i + 1), item(part, i), behind * width(part->level));
    memcpy(item(part, i), what, width(part->level));
    return right;
}

static void take_out(struct index_part **place, uint32_t i)
{
    struct index_part *part = *place;
    assert(i < part->count);
    memmove(item(part, i), item(part, i + 1), (part->count - i - 1) * width(part->level));
    resize(place, part->count - 1u);
}

/*
 * How many items begin at or below `pair`: where a pair of a leaf belongs, and at least 1 in a
 * node, the last of them being the child where it belongs.
 */
static uint32_t not_above(const struct index_part *part, struct pair pair)
{
    uint32_t low = part->level > 0, high = part->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct pair *from = item(part, middle);
        if (is_below(pair, *from))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* --- changes ---------------------------------------------------------------------------------- */

/* As insert() returns. */
static struct index_part *add(struct index_part **place, struct pair pair)
{
    struct index_part *part = own(place);
    uint32_t i = not_above(part, pair);
    if (part->level == 0) {
        assert(i == 0 || is_below(pairs_of(part)[i - 1], pair));
        return insert(place, i, &pair);
    }
    struct child more = {.part = add(&children_of(part)[i - 1].part, pair)};
    if (more.part == NULL)
        return NULL;
    more.from = *(const struct pair *)item(more.part, 0);
    return insert(place, i, &more);
}

void index_add(struct index *index, uint64_t hash, uint64_t id)
{
    const struct pair pair = {hash, id};
    assert(id != 0);
    if (index->root == NULL)
        index->root = part_new(0, 0);
    struct child right = {.part = add(&index->root, pair)};
    if (right.part == NULL)
        return;
    struct child left = {.part = index->root};
    right.from = *(const struct pair *)item(right.part, 0);
    index->root = part_new(left.part->level + 1u, 0);
    struct index_part *more = insert(&index->root, 0, &left);
    assert(more == NULL);
    more = insert(&index->root, 1, &right);
    assert(more == NULL);
}

/* Makes one part of children i and i + 1 of a node when they have no more than half of one. */
static bool merge(struct index_part **place, uint32_t i)
{
    struct child *left = &children_of(*place)[i], *right = left + 1;
    uint32_t count = left->part->count, more = right->part->count;
    if (count + more > most(left->part->level) / 2)
        return false;
    own(&left->part);
    resize(&left->part, count + more);
    copy(left->part, count, right->part, 0, more);
    drop(right->part);
    if (left->part->level > 0) { /* its first child is none now, and has a new neighbour */
        children_of(left->part)[count].from = right->from;
        merge(&left->part, count - 1);
    }
    take_out(place, i + 1);
    return true;
}

/* A part may be left empty. */
static void take_below(struct index_part **place, struct pair pair)
{
    struct index_part *part = own(place);
    uint32_t i = not_above(part, pair);
    assert(i > 0);
    i--;
    if (part->level == 0) {
        assert(pairs_of(part)[i].hash == pair.hash && pairs_of(part)[i].id == pair.id);
        take_out(place, i);
        return;
    }
    struct child *child = &children_of(part)[i];
    take_below(&child->part, pair);
    if (child->part->count == 0) {
        drop(child->part);
        take_out(place, i);
    } else if (i == 0 || !merge(place, i - 1)) {
        if (i + 1 < part->count)
            merge(place, i);
    }
}

void index_remove(struct index *index, uint64_t hash, uint64_t id)
{
    assert(index->root != NULL);
    take_below(&index->root, (struct pair){hash, id});
    struct index_part *root = index->root;
    if (root->count == 0) {
        drop(root);
        index->root = NULL;
    } else if (root->level > 0 && root->count == 1) {
        index->root = children_of(root)[0].part;
        hold(index->root);
        drop(root);
    }
}

/* --- versions --------------------------------------------------------------------------------- */

void index_init(struct index *index)
{
    index->root = NULL;
}

struct index index_hold(const struct index *index)
{
    if (index->root != NULL)
        hold(index->root);
    return *index;
}

void index_drop(struct index *index)
{
    if (index->root != NULL)
        drop(index->root);
    index->root = NULL;
}

uint64_t index_find(const struct index *index, uint64_t hash, uint64_t after)
{
    const struct pair pair = {hash, after};
    const struct index_part *part = index->root, *beyond = NULL; /* beyond: the next of any level */
    if (part == NULL)
        return 0;
    uint32_t i = not_above(part, pair);
    while (part->level > 0) {
        if (i < part->count)
            beyond = children_of(part)[i].part;
        part = children_of(part)[i - 1].part;
        i = not_above(part, pair);
    }
    if (i == part->count) {
        if (beyond == NULL)
            return 0;
        for (part = beyond; part->level > 0;)
            part = children_of(part)[0].part;
        i = 0;
    }
    const struct pair *found = &pairs_of(part)[i];
    return found->hash == hash ? found->id : 0;
}

/* What is below a part is not below `from`, and below `to`; no bound where these are NULL. */
static uint64_t check_part(const struct index_part *part, uint32_t versions,
                           const struct pair *from, const struct pair *to)
{
    /* One version reaches a part at most once. */
    assert(part->refs >= 1 && part->refs <= versions);
    assert(part->count >= 1 && part->count <= most(part->level));
    uint64_t pairs = 0;
    for (uint32_t i = 0; i < part->count; i++) {
        const struct pair *at = part->level > 0 && i == 0 ? from : item(part, i);
        const struct pair *next = i + 1u < part->count ? item(part, i + 1) : to;
        assert(at == NULL || from == NULL || !is_below(*at, *from));
        assert(at == NULL || next == NULL || is_below(*at, *next));
        if (part->level == 0) {
            assert(at != NULL && at->id != 0);
            pairs++;
            continue;
        }
        const struct child *child = &children_of(part)[i];
        assert(child->part->level + 1 == part->level);
        assert(i == 0 || child[-1].part->count + child->part->count > most(part->level - 1u) / 2);
        pairs += check_part(child->part, versions, at, next);
    }
    return pairs;
}

uint64_t index_check(const struct index *index, uint32_t versions)
{
    const struct index_part *root = index->root;
    assert(root == NULL || root->level == 0 || root->count >= 2);
    return root != NULL ? check_part(root, versions, NULL, NULL) : 0;
}
