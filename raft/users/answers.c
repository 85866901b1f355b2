#include "raft/users/answers.h"

#include <errno.h>

#include "raft/base/siphash.h"
#include "raft/users/allocate.h"

struct remembered {
    struct request_id id;
    struct users_answer answer;
};

/* The first `count` of consecutive sequence numbers; only the newest page is not full. */
struct answers_page {
    struct tree_part part;
    uint32_t count;
    struct remembered at[USERS_PAGE];
};

_Static_assert(USERS_PAGE == TREE_FANOUT, "a page of answers is a page of the tree");

/* The largest encoding of an answer: its tag and two numbers. */
#define ANSWER_BYTES_MAX 32u

/* Not secret: a digest finds what went wrong, not who wished it. */
static const struct siphash_key digest_key = {.low = 2, .high = 0};

/*
 * Not secret either. Ids come from the edge, which draws them at random; who could choose them
 * could make one chain of the lookup long and so writes slow, but never wrong. Nothing that leaves
 * a node depends on this key, so each node may have its own.
 */
static const struct siphash_key lookup_key = {.low = 3, .high = 0};

static const struct answers_page *as_page(const struct tree_part *part)
{
    return part != NULL ? CONTAINER_OF(part, const struct answers_page, part) : NULL;
}

static struct tree_part *page_new(void)
{
    struct answers_page *page = allocate(sizeof(*page));
    page->part.refs = 1;
    page->count = 0;
    return &page->part;
}

static struct tree_part *page_copy(const struct tree_part *part)
{
    const struct answers_page *old = as_page(part);
    struct answers_page *page = allocate(sizeof(*page));
    page->part.refs = 1;
    page->count = old->count;
    for (uint32_t i = 0; i < old->count; i++)
        page->at[i] = old->at[i];
    return &page->part;
}

static void page_free(struct tree_part *part)
{
    free(CONTAINER_OF(part, struct answers_page, part));
}

static const struct tree_kind kind = {page_new, page_copy, page_free};

/* One page may be over before the oldest goes. */
static uint32_t lookup_capacity(uint64_t max)
{
    assert(max > 0 && max % USERS_PAGE == 0 && max <= LOOKUP_CAPACITY_MAX - USERS_PAGE);
    return (uint32_t)max + USERS_PAGE;
}

void answers_init(struct answers *answers, uint64_t max)
{
    *answers = (struct answers){.tree = tree_empty(&kind), .max = max};
    lookup_init(&answers->lookup, lookup_capacity(max));
}

void answers_done(struct answers *answers)
{
    tree_drop(&answers->tree);
    lookup_done(&answers->lookup);
    *answers = (struct answers){.tree = tree_empty(&kind)};
}

static uint32_t lookup_hash(const struct request_id *id)
{
    return (uint32_t)siphash(lookup_key, bytes_of(id->at, sizeof(id->at)));
}

static uint64_t digest_of(uint64_t sequence, const struct remembered *remembered)
{
    uint8_t at[8 + sizeof(struct request_id) + ANSWER_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    put_u64(&out, sequence);
    put_request_id(&out, remembered->id);
    users_answer_put(&out, &remembered->answer);
    assert(!out.bad);
    return siphash(digest_key, writer_bytes(&out));
}

/* Sequence numbers take the lookup's slots in turn, so those remembered never share one. */
static uint32_t slot_of(const struct answers *answers, uint64_t sequence)
{
    return (uint32_t)(sequence % answers->lookup.capacity);
}

static uint64_t sequence_of(const struct answers *answers, uint32_t slot)
{
    uint32_t first = slot_of(answers, answers->first), capacity = answers->lookup.capacity;
    uint64_t sequence = answers->first + (slot >= first ? slot - first : slot + capacity - first);
    assert(sequence < answers->next);
    return sequence;
}

/* What has this sequence number, which must be remembered. */
static const struct remembered *remembered_at(const struct answers *answers, uint64_t sequence)
{
    const struct answers_page *page = as_page(tree_get(&answers->tree, sequence / USERS_PAGE));
    assert(page != NULL && sequence % USERS_PAGE < page->count);
    return &page->at[sequence % USERS_PAGE];
}

bool answers_find(const struct answers *answers, const struct request_id *id,
                  struct users_answer *ret_answer)
{
    const struct lookup *lookup = &answers->lookup;
    uint32_t slot = lookup_first(lookup, lookup_hash(id));
    for (; slot != LOOKUP_NONE; slot = lookup_next(lookup, slot)) {
        const struct remembered *remembered = remembered_at(answers, sequence_of(answers, slot));
        if (request_id_equal(&remembered->id, id)) {
            *ret_answer = remembered->answer;
            return true;
        }
    }
    return false;
}

static void append(struct answers *answers, const struct request_id *id,
                   const struct users_answer *answer)
{
    uint64_t sequence = answers->next++;
    struct tree_part *part = tree_edit(&answers->tree, sequence / USERS_PAGE);
    struct answers_page *page = CONTAINER_OF(part, struct answers_page, part);
    assert(page->count == sequence % USERS_PAGE);
    struct remembered *remembered = &page->at[page->count++];
    *remembered = (struct remembered){.id = *id, .answer = *answer};
    answers->digest += digest_of(sequence, remembered);
    lookup_add(&answers->lookup, lookup_hash(id), slot_of(answers, sequence));
}

/* Forgets the oldest page. */
static void forget(struct answers *answers)
{
    uint64_t number = answers->first / USERS_PAGE;
    const struct answers_page *page = as_page(tree_get(&answers->tree, number));
    assert(page != NULL && page->count == USERS_PAGE);
    for (uint32_t i = 0; i < USERS_PAGE; i++) {
        uint64_t sequence = answers->first + i;
        answers->digest -= digest_of(sequence, &page->at[i]);
        lookup_remove(&answers->lookup, lookup_hash(&page->at[i].id), slot_of(answers, sequence));
    }
    tree_remove(&answers->tree, number);
    answers->first += USERS_PAGE;
}

void answers_remember(struct answers *answers, const struct request_id *id,
                      const struct users_answer *answer)
{
    append(answers, id, answer);
    if (answers->next - answers->first > answers->max)
        forget(answers);
    assert(answers->next - answers->first <= answers->max);
    assert(answers->next - answers->first == answers->lookup.count);
}

int answers_load(struct answers *answers, const struct users_past *past)
{
    struct users_answer before;
    if (answers->first == answers->next) {
        if (past->sequence % USERS_PAGE != 0)
            return -EBADMSG;
        answers->first = answers->next = past->sequence;
    } else {
        const struct remembered *newest = remembered_at(answers, answers->next - 1);
        if (past->sequence != answers->next ||
            answer_index(&past->answer) <= answer_index(&newest->answer))
            return -EBADMSG;
    }
    if (answers->next - answers->first == answers->max || past->sequence == UINT64_MAX ||
        answers_find(answers, &past->id, &before))
        return -EBADMSG;
    append(answers, &past->id, &past->answer);
    return 0;
}

bool answers_diff(const struct tree *old, const struct tree *now, uint64_t from,
                  struct users_past_page *ret_page)
{
    const struct tree nothing = tree_empty(&kind);
    const struct tree_part *old_part, *now_part;
    if (!tree_diff(old != NULL ? old : &nothing, now, from, &ret_page->number, &old_part,
                   &now_part))
        return false;
    const struct answers_page *page = as_page(now_part);
    ret_page->count = page != NULL ? page->count : 0;
    for (uint32_t i = 0; i < ret_page->count; i++)
        ret_page->at[i] = (struct users_past){
            .sequence = ret_page->number * USERS_PAGE + i,
            .id = page->at[i].id,
            .answer = page->at[i].answer,
        };
    return true;
}

uint64_t answer_index(const struct users_answer *answer)
{
    switch (answer->kind) {
    case USERS_CREATED:
        return answer->created.index;
    case USERS_REJECTED:
        return answer->rejected.index;
    }
    UNREACHABLE();
}

uint64_t answer_user_id(const struct users_answer *answer)
{
    switch (answer->kind) {
    case USERS_CREATED:
        return answer->created.id;
    case USERS_REJECTED:
        return 0;
    }
    UNREACHABLE();
}

void answers_check(const struct answers *answers, uint32_t versions, uint64_t next_id,
                   uint64_t index)
{
    assert(answers->first % USERS_PAGE == 0 && answers->first <= answers->next);
    assert(answers->next - answers->first <= answers->max);
    assert(answers->lookup.count == answers->next - answers->first);
    lookup_check(&answers->lookup);
    uint64_t digest = 0, last_index = 0, sequence = answers->first;
    for (; sequence < answers->next; sequence++) {
        const struct remembered *remembered = remembered_at(answers, sequence);
        uint64_t answer_at = answer_index(&remembered->answer);
        assert(answer_at > last_index && answer_at <= index);
        assert(answer_user_id(&remembered->answer) < next_id);
        last_index = answer_at;
        digest += digest_of(sequence, remembered);
        /* It is found, and by lookup_check once: so no id is there twice. */
        struct users_answer found;
        assert(answers_find(answers, &remembered->id, &found));
        assert(answer_index(&found) == answer_at);
    }
    assert(digest == answers->digest);
    uint64_t pages = (answers->next + USERS_PAGE - 1) / USERS_PAGE - answers->first / USERS_PAGE;
    assert(pages == tree_check(&answers->tree, versions));
}
