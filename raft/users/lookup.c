#include "raft/users/lookup.h"

#include "raft/users/allocate.h"

#define SEGMENT       4096u /* a segment is made in one go: some 32 KiB, a few microseconds */
#define BUCKETS_BEGIN 64u   /* a power of two, at most SEGMENT */

struct lookup_link {
    uint32_t hash;
    uint32_t next; /* slot, or LOOKUP_NONE */
};

static uint32_t segments_for(uint32_t count)
{
    return count / SEGMENT + (count % SEGMENT != 0);
}

/* There are never more buckets than slots, save at first. */
static uint32_t buckets_max(const struct lookup *lookup)
{
    return lookup->capacity > BUCKETS_BEGIN ? lookup->capacity : BUCKETS_BEGIN;
}

static struct lookup_link *link_of(const struct lookup *lookup, uint32_t slot)
{
    assert(slot < lookup->capacity);
    return &lookup->links[slot / SEGMENT][slot % SEGMENT];
}

static uint32_t *head_of(const struct lookup *lookup, uint32_t bucket)
{
    assert(bucket < lookup->buckets);
    return &lookup->heads[bucket / SEGMENT][bucket % SEGMENT];
}

static uint32_t bucket_of(const struct lookup *lookup, uint32_t hash)
{
    uint32_t bucket = hash & (2 * lookup->round - 1);
    return bucket < lookup->buckets ? bucket : hash & (lookup->round - 1);
}

/* One bucket more, empty. */
static void add_bucket(struct lookup *lookup)
{
    uint32_t bucket = lookup->buckets;
    assert(bucket < buckets_max(lookup));
    uint32_t **segment = &lookup->heads[bucket / SEGMENT];
    if (*segment == NULL)
        *segment = allocate(SEGMENT * sizeof(**segment));
    lookup->buckets++;
    *head_of(lookup, bucket) = LOOKUP_NONE;
}

void lookup_init(struct lookup *lookup, uint32_t capacity)
{
    assert(capacity > 0 && capacity <= LOOKUP_CAPACITY_MAX);
    *lookup = (struct lookup){.capacity = capacity, .round = BUCKETS_BEGIN};
    lookup->heads = allocate_zeroed(segments_for(buckets_max(lookup)), sizeof(*lookup->heads));
    lookup->links = allocate_zeroed(segments_for(capacity), sizeof(*lookup->links));
    while (lookup->buckets < BUCKETS_BEGIN)
        add_bucket(lookup);
}

void lookup_done(struct lookup *lookup)
{
    for (uint32_t i = 0; i < segments_for(buckets_max(lookup)); i++)
        free(lookup->heads[i]);
    for (uint32_t i = 0; i < segments_for(lookup->capacity); i++)
        free(lookup->links[i]);
    free(lookup->heads);
    free(lookup->links);
    *lookup = (struct lookup){0};
}

static void push(struct lookup *lookup, uint32_t slot)
{
    struct lookup_link *link = link_of(lookup, slot);
    uint32_t *head = head_of(lookup, bucket_of(lookup, link->hash));
    link->next = *head;
    *head = slot;
}

/* Splits the next bucket of the round. */
static void split(struct lookup *lookup)
{
    uint32_t *head = head_of(lookup, lookup->buckets - lookup->round);
    uint32_t slot = *head;
    *head = LOOKUP_NONE;
    add_bucket(lookup);
    while (slot != LOOKUP_NONE) {
        uint32_t next = link_of(lookup, slot)->next;
        push(lookup, slot);
        slot = next;
    }
    if (lookup->buckets == 2 * lookup->round)
        lookup->round = lookup->buckets;
}

void lookup_add(struct lookup *lookup, uint32_t hash, uint32_t slot)
{
    assert(slot < lookup->capacity && lookup->count < lookup->capacity);
    struct lookup_link **segment = &lookup->links[slot / SEGMENT];
    if (*segment == NULL)
        *segment = allocate(SEGMENT * sizeof(**segment));
    link_of(lookup, slot)->hash = hash;
    push(lookup, slot);
    if (++lookup->count > lookup->buckets)
        split(lookup);
}

void lookup_remove(struct lookup *lookup, uint32_t hash, uint32_t slot)
{
    assert(lookup->count > 0);
    uint32_t *at = head_of(lookup, bucket_of(lookup, hash));
    while (*at != slot) {
        assert(*at != LOOKUP_NONE);
        at = &link_of(lookup, *at)->next;
    }
    *at = link_of(lookup, slot)->next;
    lookup->count--;
}

/* The first slot from here on in its chain that has the hash. */
static uint32_t with_hash(const struct lookup *lookup, uint32_t hash, uint32_t slot)
{
    while (slot != LOOKUP_NONE && link_of(lookup, slot)->hash != hash)
        slot = link_of(lookup, slot)->next;
    return slot;
}

uint32_t lookup_first(const struct lookup *lookup, uint32_t hash)
{
    return with_hash(lookup, hash, *head_of(lookup, bucket_of(lookup, hash)));
}

uint32_t lookup_next(const struct lookup *lookup, uint32_t slot)
{
    const struct lookup_link *link = link_of(lookup, slot);
    return with_hash(lookup, link->hash, link->next);
}

void lookup_check(const struct lookup *lookup)
{
    assert(lookup->buckets >= lookup->round && lookup->buckets < 2 * lookup->round);
    assert(lookup->count <= lookup->capacity);
    uint32_t count = 0;
    for (uint32_t bucket = 0; bucket < lookup->buckets; bucket++) {
        uint32_t slot = *head_of(lookup, bucket);
        for (; slot != LOOKUP_NONE; slot = link_of(lookup, slot)->next) {
            assert(bucket_of(lookup, link_of(lookup, slot)->hash) == bucket);
            count++;
            assert(count <= lookup->count); /* a loop, or a slot that is here twice */
        }
    }
    assert(count == lookup->count);
}
