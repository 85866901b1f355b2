#include "raft/users/answers.h"

#include <errno.h>

#include "raft/base/siphash.h"
#include "raft/users/allocate.h"
#include "raft/users/hash.h"

/*
 * An answer as it is kept: 48 bytes, as there are millions. `command`: see struct users_past.
 * `what` is its kind, whether it is REPLAYED, and the id that it speaks of; 0 for one that is
 * forgotten.
 */
struct remembered {
    struct request_id id;
    uint64_t command;
    uint64_t index;
    uint64_t what;
    union {
        uint64_t number;            /* the etag of those that have one; `first` of KEY_REUSED */
        struct user_record *record; /* PATCHED: one reference to it */
    };
};

#define WHAT_KIND_SHIFT 56
#define WHAT_REPLAYED   (UINT64_C(1) << 55)
_Static_assert(USER_ID_MAX < WHAT_REPLAYED, "an id leaves room beside it");

/* What a keyed answer has besides. */
struct mark {
    struct request_id fingerprint;
    uint64_t time_ms;
};

/* The first `count` of consecutive sequence numbers; only the newest page is not full. */
struct answers_page {
    struct tree_part part;
    uint32_t count;
    struct remembered at[USERS_PAGE];
    struct mark mark[]; /* USERS_PAGE in a keyed table, else none */
};

_Static_assert(USERS_PAGE == TREE_FANOUT, "a page of answers is a page of the tree");

/* Not secret: a digest finds what went wrong, not who wished it. */
static const struct siphash_key digest_key = {.low = 2, .high = 0};

/* --- pages ------------------------------------------------------------------------------------ */

static const struct answers_page *as_page(const struct tree_part *part)
{
    return part != NULL ? CONTAINER_OF(part, const struct answers_page, part) : NULL;
}

static enum users_answer_kind kind_of(const struct remembered *remembered)
{
    return (enum users_answer_kind)(remembered->what >> WHAT_KIND_SHIFT);
}

static struct tree_part *new_page(size_t marks)
{
    struct answers_page *page = allocate(sizeof(*page) + marks * sizeof(struct mark));
    page->part.refs = 1;
    page->count = 0;
    return &page->part;
}

static struct tree_part *copy_page(const struct answers_page *old, size_t marks)
{
    struct tree_part *part = new_page(marks);
    struct answers_page *page = CONTAINER_OF(part, struct answers_page, part);
    page->count = old->count;
    for (uint32_t i = 0; i < old->count; i++) {
        page->at[i] = old->at[i];
        if (kind_of(&page->at[i]) == USERS_PATCHED)
            user_record_hold(page->at[i].record);
        if (marks > 0)
            page->mark[i] = old->mark[i];
    }
    return part;
}

static void page_free(struct tree_part *part)
{
    struct answers_page *page = CONTAINER_OF(part, struct answers_page, part);
    for (uint32_t i = 0; i < page->count; i++)
        if (kind_of(&page->at[i]) == USERS_PATCHED)
            user_record_drop(page->at[i].record);
    free(page);
}

static struct tree_part *recent_page_new(void)
{
    return new_page(0);
}

static struct tree_part *recent_page_copy(const struct tree_part *part)
{
    return copy_page(as_page(part), 0);
}

static struct tree_part *keyed_page_new(void)
{
    return new_page(USERS_PAGE);
}

static struct tree_part *keyed_page_copy(const struct tree_part *part)
{
    return copy_page(as_page(part), USERS_PAGE);
}

static const struct tree_kind recent_kind = {recent_page_new, recent_page_copy, page_free};
static const struct tree_kind keyed_kind = {keyed_page_new, keyed_page_copy, page_free};

/* --- answers, and how they are kept ----------------------------------------------------------- */

/* The numbers of an answer: whom it speaks of, and the other one. */
struct numbers {
    uint64_t id, other;
};

static struct numbers numbers_of(const struct users_answer *answer)
{
    switch (answer->kind) {
    case USERS_CREATED:
        return (struct numbers){answer->created.id, answer->created.etag};
    case USERS_REJECTED:
        return (struct numbers){answer->rejected.id, 0};
    case USERS_REPLACED:
        return (struct numbers){answer->replaced.id, answer->replaced.etag};
    case USERS_PATCHED:
        return (struct numbers){answer->patched.id, answer->patched.etag};
    case USERS_DELETED:
        return (struct numbers){answer->deleted.id, 0};
    case USERS_NOT_FOUND:
        return (struct numbers){answer->not_found.id, 0};
    case USERS_CONDITION_FAILED:
        return (struct numbers){answer->condition_failed.id, answer->condition_failed.etag};
    case USERS_EMAIL_TAKEN:
        return (struct numbers){answer->email_taken.id, 0};
    case USERS_KEY_REUSED:
        return (struct numbers){0, answer->key_reused.first};
    case USERS_ID_REUSED:
        return (struct numbers){0, answer->id_reused.first};
    }
    UNREACHABLE();
}

static struct users_answer unpacked(const struct remembered *remembered)
{
    uint64_t id = remembered->what & (WHAT_REPLAYED - 1);
    struct users_answer answer = {
        .index = remembered->index,
        .replayed = (remembered->what & WHAT_REPLAYED) != 0,
        .kind = kind_of(remembered),
    };
    struct user user;
    switch (answer.kind) {
    case USERS_CREATED:
        answer.created = (struct users_created){id, remembered->number};
        return answer;
    case USERS_REJECTED:
        answer.rejected.id = id;
        return answer;
    case USERS_REPLACED:
        answer.replaced = (struct users_replaced){id, remembered->number};
        return answer;
    case USERS_PATCHED:
        user = user_record_user(remembered->record, id);
        answer.patched = (struct users_patched){id, user.index, user.texts};
        return answer;
    case USERS_DELETED:
        answer.deleted.id = id;
        return answer;
    case USERS_NOT_FOUND:
        answer.not_found.id = id;
        return answer;
    case USERS_CONDITION_FAILED:
        answer.condition_failed = (struct users_condition_failed){id, remembered->number};
        return answer;
    case USERS_EMAIL_TAKEN:
        answer.email_taken.id = id;
        return answer;
    case USERS_KEY_REUSED:
        answer.key_reused.first = remembered->number;
        return answer;
    case USERS_ID_REUSED:
        break; /* not remembered */
    }
    UNREACHABLE();
}

uint64_t answer_user_id(const struct users_answer *answer)
{
    switch (answer->kind) {
    case USERS_CREATED:
    case USERS_REPLACED:
    case USERS_PATCHED:
    case USERS_DELETED:
    case USERS_EMAIL_TAKEN:
        return numbers_of(answer).id;
    case USERS_REJECTED:
    case USERS_NOT_FOUND:
    case USERS_CONDITION_FAILED:
    case USERS_KEY_REUSED:
    case USERS_ID_REUSED:
        return 0;
    }
    UNREACHABLE();
}

/* Could the state have given this answer? */
static bool is_possible(const struct users_answer *answer)
{
    struct numbers numbers = numbers_of(answer);
    if (answer->index == 0 || numbers.id > USER_ID_MAX || numbers.other > answer->index)
        return false;
    switch (answer->kind) {
    case USERS_CREATED:
    case USERS_REPLACED:
        return numbers.id > 0 && numbers.other > 0;
    case USERS_PATCHED:
        return numbers.id > 0 && numbers.other > 0 && user_texts_fit(&answer->patched.texts);
    case USERS_DELETED:
    case USERS_EMAIL_TAKEN:
        return numbers.id > 0;
    case USERS_KEY_REUSED:
        return numbers.other > 0 && numbers.other < answer->index;
    case USERS_ID_REUSED:
        return false; /* it is not remembered */
    case USERS_REJECTED:
    case USERS_NOT_FOUND:
    case USERS_CONDITION_FAILED:
        return true;
    }
    UNREACHABLE();
}

static uint64_t text_bytes(const struct users_answer *answer)
{
    return answer->kind == USERS_PATCHED ? user_texts_bytes(&answer->patched.texts) : 0;
}

/* --- tables ----------------------------------------------------------------------------------- */

/* One page may be over before the oldest goes. */
static uint32_t lookup_capacity(uint64_t max)
{
    assert(max > 0 && max % USERS_PAGE == 0 && max <= LOOKUP_CAPACITY_MAX - USERS_PAGE);
    return (uint32_t)max + USERS_PAGE;
}

void answers_init(struct answers *answers, uint64_t max, bool keyed)
{
    *answers = (struct answers){
        .tree = tree_empty(keyed ? &keyed_kind : &recent_kind),
        .keyed = keyed,
        .max = max,
    };
    lookup_init(&answers->lookup, lookup_capacity(max));
}

void answers_done(struct answers *answers)
{
    tree_drop(&answers->tree);
    lookup_done(&answers->lookup);
    *answers = (struct answers){.tree = tree_empty(&recent_kind)};
}

static uint32_t lookup_hash(const struct request_id *id)
{
    return (uint32_t)users_hash(bytes_of(id->at, sizeof(id->at)));
}

static uint64_t digest_of(const struct users_past *past)
{
    uint8_t at[64 + USERS_ANSWER_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    put_u8(&out, past->keyed);
    put_u64(&out, past->sequence);
    put_request_id(&out, past->id);
    if (past->keyed) {
        put_request_id(&out, past->fingerprint);
        put_u64(&out, past->time_ms);
    } else {
        put_u64(&out, past->command);
    }
    users_answer_put(&out, &past->answer);
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

static struct users_past past_at(const struct answers_page *page, bool keyed, uint64_t sequence)
{
    uint32_t i = sequence % USERS_PAGE;
    assert(i < page->count);
    struct users_past past = {
        .sequence = sequence,
        .keyed = keyed,
        .forgotten = page->at[i].what == 0,
        .id = page->at[i].id,
        .command = page->at[i].command,
    };
    if (keyed) {
        past.fingerprint = page->mark[i].fingerprint;
        past.time_ms = page->mark[i].time_ms;
    }
    if (!past.forgotten)
        past.answer = unpacked(&page->at[i]);
    return past;
}

/* What has this sequence number, which was given and not taken out. */
static struct users_past past_of(const struct answers *answers, uint64_t sequence)
{
    const struct answers_page *page = as_page(tree_get(&answers->tree, sequence / USERS_PAGE));
    assert(page != NULL);
    return past_at(page, answers->keyed, sequence);
}

bool answers_find(const struct answers *answers, const struct request_id *id,
                  struct users_past *ret_past)
{
    const struct lookup *lookup = &answers->lookup;
    uint32_t slot = lookup_first(lookup, lookup_hash(id));
    for (; slot != LOOKUP_NONE; slot = lookup_next(lookup, slot)) {
        struct users_past past = past_of(answers, sequence_of(answers, slot));
        if (request_id_equal(&past.id, id)) {
            *ret_past = past;
            return true;
        }
    }
    return false;
}

/* What a PATCHED says of the user: a record of its own. */
static struct user_record *record_of(const struct users_patched *patched)
{
    struct user user = {.id = patched->id, .index = patched->etag, .texts = patched->texts};
    return user_record_new(&user);
}

/* Writes what `past` says to the end of the sequence. */
static void append(struct answers *answers, const struct users_past *past)
{
    uint64_t sequence = answers->next++;
    struct tree_part *part = tree_edit(&answers->tree, sequence / USERS_PAGE);
    struct answers_page *page = CONTAINER_OF(part, struct answers_page, part);
    assert(page->count == sequence % USERS_PAGE && past->keyed == answers->keyed);
    uint32_t i = page->count++;
    page->at[i] = (struct remembered){.id = past->id, .command = past->command};
    if (past->keyed)
        page->mark[i] = (struct mark){past->fingerprint, past->time_ms};
    if (past->forgotten)
        return;
    const struct users_answer *answer = &past->answer;
    struct numbers numbers = numbers_of(answer);
    page->at[i].index = answer->index;
    page->at[i].what = (uint64_t)answer->kind << WHAT_KIND_SHIFT |
                       (answer->replayed ? WHAT_REPLAYED : 0) | numbers.id;
    if (answer->kind == USERS_PATCHED)
        page->at[i].record = record_of(&answer->patched);
    else
        page->at[i].number = numbers.other;
    answers->index = answer->index;
    answers->text_bytes += text_bytes(answer);
    struct users_past kept = past_at(page, answers->keyed, sequence);
    answers->digest += digest_of(&kept);
    lookup_add(&answers->lookup, lookup_hash(&past->id), slot_of(answers, sequence));
}

/* Out of the sums and the lookup; its place in the tree is the caller's business. */
static void discount(struct answers *answers, const struct users_past *past)
{
    if (past->forgotten)
        return;
    answers->digest -= digest_of(past);
    answers->text_bytes -= text_bytes(&past->answer);
    lookup_remove(&answers->lookup, lookup_hash(&past->id), slot_of(answers, past->sequence));
}

/* Forgets the oldest page, which must be full. */
static void forget_page(struct answers *answers)
{
    uint64_t number = answers->first / USERS_PAGE;
    const struct answers_page *page = as_page(tree_get(&answers->tree, number));
    assert(page != NULL && page->count == USERS_PAGE);
    for (uint32_t i = 0; i < USERS_PAGE; i++) {
        struct users_past past = past_at(page, answers->keyed, answers->first + i);
        discount(answers, &past);
    }
    tree_remove(&answers->tree, number);
    answers->first += USERS_PAGE;
}

/* More than there may be, in number or in bytes; the newest page stays. */
static bool is_over(const struct answers *answers)
{
    uint64_t count = answers->next - answers->first;
    return count > answers->max ||
           (count > USERS_PAGE && answers->text_bytes > answers->max * ANSWERS_TEXT_BYTES);
}

void answers_remember(struct answers *answers, const struct users_past *past)
{
    assert(!past->forgotten);
    append(answers, past);
    while (is_over(answers))
        forget_page(answers);
    assert(answers->next - answers->first <= answers->max);
}

void answers_forget(struct answers *answers, const struct users_past *past)
{
    discount(answers, past);
    struct tree_part *part = tree_edit(&answers->tree, past->sequence / USERS_PAGE);
    struct answers_page *page = CONTAINER_OF(part, struct answers_page, part);
    struct remembered *remembered = &page->at[past->sequence % USERS_PAGE];
    struct user_record *record = kind_of(remembered) == USERS_PATCHED ? remembered->record : NULL;
    *remembered = (struct remembered){.id = past->id};
    if (record != NULL)
        user_record_drop(record);
}

void answers_expire(struct answers *answers, uint64_t before_ms)
{
    if (answers->next - answers->first <= USERS_PAGE)
        return;
    /* Of the oldest page: times rise. One that is forgotten was old then, whatever is said of it.
     */
    struct users_past newest = past_of(answers, answers->first + USERS_PAGE - 1);
    if (newest.forgotten || newest.time_ms < before_ms)
        forget_page(answers);
}

int answers_load(struct answers *answers, const struct users_past *past)
{
    struct users_past before;
    bool begins = answers->first == answers->next;
    if (past->keyed != answers->keyed || past->sequence == UINT64_MAX ||
        (past->keyed && past->command != 0) ||
        (begins ? past->sequence % USERS_PAGE != 0 : past->sequence != answers->next))
        return -EBADMSG;
    if (!past->forgotten && (!is_possible(&past->answer) || past->answer.index <= answers->index ||
                             answers_find(answers, &past->id, &before)))
        return -EBADMSG;
    if (answers->next - answers->first == answers->max)
        return -EBADMSG;
    if (begins)
        answers->first = answers->next = past->sequence;
    append(answers, past);
    return 0;
}

bool answers_diff(const struct tree *old, const struct tree *now, uint64_t from,
                  struct users_past_page *ret_page)
{
    const struct tree nothing = tree_empty(now->kind);
    const struct tree_part *old_part, *now_part;
    if (!tree_diff(old != NULL ? old : &nothing, now, from, &ret_page->number, &old_part,
                   &now_part))
        return false;
    const struct answers_page *page = as_page(now_part);
    ret_page->count = page != NULL ? page->count : 0;
    for (uint32_t i = 0; i < ret_page->count; i++)
        ret_page->at[i] =
            past_at(page, now->kind == &keyed_kind, ret_page->number * USERS_PAGE + i);
    return true;
}

void answers_check(const struct answers *answers, uint32_t versions, uint64_t next_id,
                   uint64_t index)
{
    assert(answers->first % USERS_PAGE == 0 && answers->first <= answers->next);
    assert(answers->next - answers->first <= answers->max);
    lookup_check(&answers->lookup);
    uint64_t digest = 0, last_index = 0, count = 0, bytes = 0, sequence = answers->first;
    for (; sequence < answers->next; sequence++) {
        struct users_past past = past_of(answers, sequence), found;
        if (past.forgotten) {
            assert(answers->keyed);
            continue;
        }
        assert(past.answer.index > last_index && past.answer.index <= index);
        assert(is_possible(&past.answer) && answer_user_id(&past.answer) < next_id);
        last_index = past.answer.index;
        digest += digest_of(&past);
        bytes += text_bytes(&past.answer);
        count++;
        /* It is found, and by lookup_check once: so no id is there twice. */
        bool is_found = answers_find(answers, &past.id, &found);
        assert(is_found && found.sequence == sequence);
    }
    assert(last_index == 0 || last_index == answers->index);
    assert(answers->lookup.count == count && answers->text_bytes == bytes);
    assert(digest == answers->digest);
    uint64_t pages = (answers->next + USERS_PAGE - 1) / USERS_PAGE - answers->first / USERS_PAGE;
    assert(pages == tree_check(&answers->tree, versions));
}
