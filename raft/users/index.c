#include "raft/users/index.h"

#include <string.h>

#include "raft/users/allocate.h"

/* What has one hash: one id, or the set of at least two, and then `id` is 0. */
struct entry {
    uint64_t hash;
    uint64_t id;
};

struct bucket {
    struct tree_part part;
    uint32_t count, capacity;
    struct entry *at;  /* ascending by hash */
    struct tree *sets; /* beside them; NULL while no entry has a set */
};

/* The ids [64 number, 64 number + 64) of a set. */
struct bitmap {
    struct tree_part part;
    uint64_t bits;
};

#define BUCKET_BEGIN 2u

/* --- sets of ids ------------------------------------------------------------------------------ */

static struct bitmap *as_bitmap(const struct tree_part *part)
{
    return part != NULL ? CONTAINER_OF(part, struct bitmap, part) : NULL;
}

static struct tree_part *bitmap_new(void)
{
    struct bitmap *bitmap = allocate_zeroed(1, sizeof(*bitmap));
    bitmap->part.refs = 1;
    return &bitmap->part;
}

static struct tree_part *bitmap_copy(const struct tree_part *part)
{
    struct bitmap *bitmap = allocate(sizeof(*bitmap));
    *bitmap = *as_bitmap(part);
    bitmap->part.refs = 1;
    return &bitmap->part;
}

static void bitmap_free(struct tree_part *part)
{
    free(as_bitmap(part));
}

static const struct tree_kind set_kind = {bitmap_new, bitmap_copy, bitmap_free};

static void set_add(struct tree *set, uint64_t id)
{
    struct bitmap *bitmap = as_bitmap(tree_edit(set, id / 64));
    uint64_t bit = UINT64_C(1) << id % 64;
    assert((bitmap->bits & bit) == 0);
    bitmap->bits |= bit;
}

static void set_remove(struct tree *set, uint64_t id)
{
    struct bitmap *bitmap = as_bitmap(tree_edit(set, id / 64));
    uint64_t bit = UINT64_C(1) << id % 64;
    assert((bitmap->bits & bit) != 0);
    bitmap->bits &= ~bit;
    if (bitmap->bits == 0)
        tree_remove(set, id / 64);
}

/* The smallest id above `after`, or 0. */
static uint64_t set_next(const struct tree *set, uint64_t after)
{
    uint64_t number = (after + 1) / 64;
    uint64_t mask = UINT64_MAX << (after + 1) % 64;
    const struct bitmap *bitmap;
    for (; (bitmap = as_bitmap(tree_next(set, number, &number))) != NULL; number++) {
        uint64_t bits = number == (after + 1) / 64 ? bitmap->bits & mask : bitmap->bits;
        if (bits != 0)
            return number * 64 + (uint64_t)__builtin_ctzll(bits);
    }
    return 0;
}

/* --- buckets ---------------------------------------------------------------------------------- */

static struct bucket *as_bucket(const struct tree_part *part)
{
    return part != NULL ? CONTAINER_OF(part, struct bucket, part) : NULL;
}

static struct tree_part *bucket_new(void)
{
    struct bucket *bucket = allocate_zeroed(1, sizeof(*bucket));
    bucket->part.refs = 1;
    return &bucket->part;
}

/* Memory for `capacity` entries, with what is there in front. */
static void reserve(struct bucket *bucket, uint32_t capacity, const struct bucket *from)
{
    struct entry *at = allocate(capacity * sizeof(*at));
    struct tree *sets = from->sets != NULL ? allocate_zeroed(capacity, sizeof(*sets)) : NULL;
    for (uint32_t i = 0; i < from->count; i++) {
        at[i] = from->at[i];
        if (sets != NULL)
            sets[i] = from->sets[i];
    }
    if (bucket == from) {
        free(bucket->at);
        free(bucket->sets);
    }
    bucket->at = at;
    bucket->sets = sets;
    bucket->capacity = capacity;
}

static struct tree_part *bucket_copy(const struct tree_part *part)
{
    const struct bucket *old = as_bucket(part);
    struct bucket *bucket = as_bucket(bucket_new());
    bucket->count = old->count;
    reserve(bucket, old->capacity, old);
    for (uint32_t i = 0; old->sets != NULL && i < old->count; i++)
        if (old->at[i].id == 0)
            bucket->sets[i] = tree_hold(&old->sets[i]);
    return &bucket->part;
}

static void bucket_free(struct tree_part *part)
{
    struct bucket *bucket = as_bucket(part);
    for (uint32_t i = 0; bucket->sets != NULL && i < bucket->count; i++)
        if (bucket->at[i].id == 0)
            tree_drop(&bucket->sets[i]);
    free(bucket->at);
    free(bucket->sets);
    free(bucket);
}

static const struct tree_kind kind = {bucket_new, bucket_copy, bucket_free};

static uint64_t number_of(uint64_t hash)
{
    return hash >> (64 - INDEX_BUCKET_BITS);
}

/* The first entry whose hash is not below. */
static uint32_t place_of(const struct bucket *bucket, uint64_t hash)
{
    uint32_t low = 0, high = bucket->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (bucket->at[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct bucket *bucket, uint32_t i, uint64_t hash)
{
    return i < bucket->count && bucket->at[i].hash == hash;
}

static void insert(struct bucket *bucket, uint32_t i, struct entry entry)
{
    if (bucket->count == bucket->capacity)
        reserve(bucket, bucket->capacity + bucket->capacity / 2 + BUCKET_BEGIN, bucket);
    uint32_t behind = bucket->count - i;
    memmove(&bucket->at[i + 1], &bucket->at[i], behind * sizeof(*bucket->at));
    bucket->at[i] = entry;
    if (bucket->sets != NULL)
        memmove(&bucket->sets[i + 1], &bucket->sets[i], behind * sizeof(*bucket->sets));
    bucket->count++;
}

static void take_out(struct bucket *bucket, uint32_t i)
{
    uint32_t behind = bucket->count - i - 1;
    memmove(&bucket->at[i], &bucket->at[i + 1], behind * sizeof(*bucket->at));
    if (bucket->sets != NULL)
        memmove(&bucket->sets[i], &bucket->sets[i + 1], behind * sizeof(*bucket->sets));
    bucket->count--;
}

/* One id becomes a set of one. */
static struct tree *set_of(struct bucket *bucket, uint32_t i)
{
    struct entry *entry = &bucket->at[i];
    if (entry->id == 0)
        return &bucket->sets[i];
    if (bucket->sets == NULL)
        bucket->sets = allocate_zeroed(bucket->capacity, sizeof(*bucket->sets));
    bucket->sets[i] = tree_empty(&set_kind);
    set_add(&bucket->sets[i], entry->id);
    entry->id = 0;
    return &bucket->sets[i];
}

/* --- the index -------------------------------------------------------------------------------- */

void index_init(struct tree *index)
{
    *index = tree_empty(&kind);
}

void index_add(struct tree *index, uint64_t hash, uint64_t id)
{
    assert(id != 0);
    struct bucket *bucket = as_bucket(tree_edit(index, number_of(hash)));
    uint32_t i = place_of(bucket, hash);
    if (is_at(bucket, i, hash))
        set_add(set_of(bucket, i), id);
    else
        insert(bucket, i, (struct entry){.hash = hash, .id = id});
}

void index_remove(struct tree *index, uint64_t hash, uint64_t id)
{
    struct bucket *bucket = as_bucket(tree_edit(index, number_of(hash)));
    uint32_t i = place_of(bucket, hash);
    assert(is_at(bucket, i, hash));
    struct entry *entry = &bucket->at[i];
    if (entry->id != 0) {
        assert(entry->id == id);
        take_out(bucket, i);
        if (bucket->count == 0)
            tree_remove(index, number_of(hash));
        return;
    }
    struct tree *set = &bucket->sets[i];
    set_remove(set, id);
    uint64_t first = set_next(set, 0);
    assert(first != 0);
    if (set_next(set, first) == 0) { /* one is left */
        tree_drop(set);
        entry->id = first;
    }
}

uint64_t index_next(const struct tree *index, uint64_t hash, uint64_t after)
{
    const struct bucket *bucket = as_bucket(tree_get(index, number_of(hash)));
    if (bucket == NULL)
        return 0;
    uint32_t i = place_of(bucket, hash);
    if (!is_at(bucket, i, hash))
        return 0;
    uint64_t id = bucket->at[i].id;
    if (id == 0)
        return set_next(&bucket->sets[i], after);
    return id > after ? id : 0;
}

static uint64_t check_set(const struct tree *set, uint32_t versions)
{
    uint64_t count = 0, pages = 0, number = 0;
    const struct bitmap *bitmap;
    for (; (bitmap = as_bitmap(tree_next(set, number, &number))) != NULL; number++, pages++) {
        assert(bitmap->bits != 0);
        for (uint64_t bits = bitmap->bits; bits != 0; bits &= bits - 1)
            count++;
    }
    assert(count >= 2 && pages == tree_check(set, versions));
    return count;
}

uint64_t index_check(const struct tree *index, uint32_t versions)
{
    uint64_t count = 0, pages = 0, number = 0;
    const struct bucket *bucket;
    for (; (bucket = as_bucket(tree_next(index, number, &number))) != NULL; number++, pages++) {
        assert(bucket->count > 0 && bucket->count <= bucket->capacity);
        for (uint32_t i = 0; i < bucket->count; i++) {
            const struct entry *entry = &bucket->at[i];
            assert(number_of(entry->hash) == number);
            assert(i == 0 || bucket->at[i - 1].hash < entry->hash);
            count += entry->id != 0 ? 1 : check_set(&bucket->sets[i], versions);
        }
    }
    assert(pages == tree_check(index, versions));
    return count;
}
