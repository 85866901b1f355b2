#include "raft/users/records.h"

#include <string.h>

#include "raft/base/siphash.h"
#include "raft/users/allocate.h"

/* A length takes one byte, or two where the limit needs them, the lower first. */
#define LENGTH(name, limit, need, by, check, demand) uint8_t name[(limit) > UINT8_MAX ? 2 : 1];
struct record_lengths {
    USER_TEXTS(LENGTH)
};

/* Small, as there is one for each user: 15 bytes and the texts, one after the other. */
struct user_record {
    uint64_t index;
    uint32_t refs; /* pages that point here, and answers that speak of it */
    uint8_t lengths[sizeof(struct record_lengths)];
    uint8_t text[];
};

struct records_page {
    struct tree_part part;
    uint32_t count; /* places that are not NULL */
    struct user_record *at[USERS_PAGE];
};

_Static_assert(USERS_PAGE == TREE_FANOUT, "a page of users is a page of the tree");
#define LENGTH_FITS(name, limit, need, by, check, demand) \
    _Static_assert((limit) <= UINT16_MAX, #name ": its length fits a record");
USER_TEXTS(LENGTH_FITS)

/* Not secret: a digest finds what went wrong, not who wished it. */
static const struct siphash_key digest_key = {.low = 1, .high = 0};

/* --- records ---------------------------------------------------------------------------------- */

/* Its length takes two bytes. */
#define IS_LONG(name, limit, need, by, check, demand) (limit) > UINT8_MAX,
static const bool is_long[] = {USER_TEXTS(IS_LONG)};

struct user_record *user_record_new(const struct user *user)
{
    assert(user_texts_fit(&user->texts));
    size_t size = offsetof(struct user_record, text) + user_texts_bytes(&user->texts);
    struct user_record *record = allocate(size > sizeof(*record) ? size : sizeof(*record));
    record->index = user->index;
    record->refs = 1;
    uint8_t *length = record->lengths, *at = record->text;
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        struct bytes text = user->texts.at[i];
        *length++ = (uint8_t)text.len;
        if (is_long[i])
            *length++ = (uint8_t)(text.len >> 8);
        if (text.len > 0)
            memcpy(at, text.at, text.len);
        at += text.len;
    }
    return record;
}

struct user_record *user_record_hold(struct user_record *record)
{
    record->refs++;
    return record;
}

void user_record_drop(struct user_record *record)
{
    assert(record->refs > 0);
    if (--record->refs == 0)
        free(record);
}

struct user user_record_user(const struct user_record *record, uint64_t id)
{
    struct user user = {.id = id, .index = record->index};
    const uint8_t *length = record->lengths, *at = record->text;
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        size_t len = *length++;
        if (is_long[i])
            len |= (size_t)*length++ << 8;
        user.texts.at[i] = bytes_of(at, len);
        at += len;
    }
    return user;
}

/* --- pages ------------------------------------------------------------------------------------ */

static const struct records_page *as_page(const struct tree_part *part)
{
    return part != NULL ? CONTAINER_OF(part, const struct records_page, part) : NULL;
}

static struct tree_part *page_new(void)
{
    struct records_page *page = allocate_zeroed(1, sizeof(*page));
    page->part.refs = 1;
    return &page->part;
}

static struct tree_part *page_copy(const struct tree_part *part)
{
    const struct records_page *old = as_page(part);
    struct records_page *page = allocate(sizeof(*page));
    *page = *old;
    page->part.refs = 1;
    for (unsigned i = 0; i < USERS_PAGE; i++)
        if (page->at[i] != NULL)
            user_record_hold(page->at[i]);
    return &page->part;
}

static void page_free(struct tree_part *part)
{
    struct records_page *page = CONTAINER_OF(part, struct records_page, part);
    for (unsigned i = 0; i < USERS_PAGE; i++)
        if (page->at[i] != NULL)
            user_record_drop(page->at[i]);
    free(page);
}

static const struct tree_kind kind = {page_new, page_copy, page_free};

void records_init(struct records *records)
{
    *records = (struct records){.tree = tree_empty(&kind)};
}

void records_done(struct records *records)
{
    tree_drop(&records->tree);
    *records = (struct records){.tree = tree_empty(&kind)};
}

static uint64_t hash_of(const struct user *user)
{
    uint8_t at[USER_PACKED_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    user_put(&out, user);
    assert(!out.bad);
    return siphash(digest_key, writer_bytes(&out));
}

/* The user's place, for writing until the next call. */
static struct user_record **edit(struct records *records, uint64_t id,
                                 struct records_page **ret_page)
{
    struct tree_part *part = tree_edit(&records->tree, id / USERS_PAGE);
    *ret_page = CONTAINER_OF(part, struct records_page, part);
    return &(*ret_page)->at[id % USERS_PAGE];
}

/* Takes the record out of its place. */
static void forget(struct records *records, struct user_record **place, uint64_t id)
{
    assert(*place != NULL);
    struct user was = user_record_user(*place, id);
    records->digest -= hash_of(&was);
    user_record_drop(*place);
    *place = NULL;
}

static void put(struct records *records, struct user_record **place, const struct user *user)
{
    assert(*place == NULL);
    *place = user_record_new(user);
    records->digest += hash_of(user);
}

void records_add(struct records *records, const struct user *user)
{
    struct records_page *page;
    put(records, edit(records, user->id, &page), user);
    page->count++;
    records->count++;
}

void records_replace(struct records *records, const struct user *user)
{
    struct records_page *page;
    struct user_record **place = edit(records, user->id, &page);
    assert(*place != NULL);
    struct user_record *was =
        user_record_hold(*place); /* what `user` says may be borrowed from it */
    forget(records, place, user->id);
    put(records, place, user);
    user_record_drop(was);
}

void records_remove(struct records *records, uint64_t id)
{
    struct records_page *page;
    forget(records, edit(records, id, &page), id);
    records->count--;
    if (--page->count == 0)
        tree_remove(&records->tree, id / USERS_PAGE);
}

struct user_record *records_find(const struct tree *tree, uint64_t id)
{
    const struct records_page *page = as_page(tree_get(tree, id / USERS_PAGE));
    return page != NULL ? page->at[id % USERS_PAGE] : NULL;
}

static struct user user_at(const struct records_page *page, uint64_t number, unsigned i)
{
    return user_record_user(page->at[i], number * USERS_PAGE + i);
}

bool records_get(const struct tree *tree, uint64_t id, struct user *ret_user)
{
    const struct user_record *record = records_find(tree, id);
    if (record != NULL)
        *ret_user = user_record_user(record, id);
    return record != NULL;
}

uint64_t records_list(const struct tree *tree, uint64_t after, uint32_t limit, struct writer *out,
                      bool *ret_last)
{
    uint32_t count = 0;
    *ret_last = true;
    if (after >= USER_ID_MAX)
        return after;
    uint64_t number = (after + 1) / USERS_PAGE;
    const struct records_page *page;
    for (; (page = as_page(tree_next(tree, number, &number))) != NULL; number++) {
        /* The page of `after` itself may be gone, and this one a later one. */
        unsigned i = number == (after + 1) / USERS_PAGE ? (after + 1) % USERS_PAGE : 0;
        for (; i < USERS_PAGE; i++) {
            if (page->at[i] == NULL)
                continue;
            struct user user = user_at(page, number, i);
            if ((limit > 0 && count == limit) || writer_room(out) < user_packed_bytes(&user)) {
                *ret_last = false;
                return after;
            }
            user_put(out, &user);
            after = user.id;
            count++;
        }
    }
    return after;
}

static bool same_record(const struct user_record *a, const struct user_record *b)
{
    if (a == b || a == NULL || b == NULL || a->index != b->index)
        return a == b;
    struct user x = user_record_user(a, 0), y = user_record_user(b, 0);
    return user_texts_equal(&x.texts, &y.texts);
}

bool records_diff(const struct tree *old, const struct tree *now, uint64_t from,
                  struct users_page *ret_page)
{
    const struct tree nothing = tree_empty(&kind);
    const struct tree_part *old_part, *now_part;
    if (!tree_diff(old != NULL ? old : &nothing, now, from, &ret_page->number, &old_part,
                   &now_part))
        return false;
    const struct records_page *before = as_page(old_part), *page = as_page(now_part);
    ret_page->count = 0;
    ret_page->changed = 0;
    ret_page->removed = 0;
    for (unsigned i = 0; i < USERS_PAGE; i++) {
        const struct user_record *was = before != NULL ? before->at[i] : NULL;
        const struct user_record *is = page != NULL ? page->at[i] : NULL;
        if (is != NULL) {
            if (!same_record(was, is))
                ret_page->changed |= UINT64_C(1) << ret_page->count;
            ret_page->at[ret_page->count++] = user_at(page, ret_page->number, i);
        } else if (was != NULL) {
            ret_page->removed_id[ret_page->removed++] = ret_page->number * USERS_PAGE + i;
        }
    }
    return true;
}

static uint32_t check_page(const struct records_page *page)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < USERS_PAGE; i++) {
        const struct user_record *record = page->at[i];
        if (record == NULL)
            continue;
        assert(record->refs >= 1);
        struct user user = user_record_user(record, 0);
        assert(user_texts_fit(&user.texts));
        count++;
    }
    assert(count == page->count && count > 0);
    return count;
}

void records_check(const struct records *records, uint32_t versions, uint64_t next_id,
                   uint64_t index)
{
    uint64_t pages = 0, count = 0, digest = 0, last = 0, number = 0;
    const struct records_page *page;
    for (; (page = as_page(tree_next(&records->tree, number, &number))) != NULL; number++) {
        pages++;
        count += check_page(page);
        for (unsigned i = 0; i < USERS_PAGE; i++) {
            if (page->at[i] == NULL)
                continue;
            struct user user = user_at(page, number, i);
            assert(user.id > last && user.id < next_id);
            assert(user.index >= 1 && user.index <= index);
            last = user.id;
            digest += hash_of(&user);
        }
    }
    assert(pages == tree_check(&records->tree, versions));
    assert(count == records->count);
    assert(digest == records->digest);
}
