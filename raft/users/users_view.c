/* One version of the state: pinned, read, looked through, compared with another. */
#include "raft/users/users_state.h"

#include "raft/users/allocate.h"

struct users_view *users_pin(struct users *users)
{
    assert(users->phase != USERS_LOADING);
    struct users_view *view = allocate(sizeof(*view));
    *view = (struct users_view){
        .users = users,
        .records = tree_hold(&users->records.tree),
        .recent = tree_hold(&users->recent.tree),
        .keys = tree_hold(&users->keys.tree),
        .meta = users_meta(users),
    };
    users->views++;
    return view;
}

struct users_view *users_pin_indexed(struct users *users)
{
    struct users_view *view = users_pin(users);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        view->by[i] = index_hold(&users->by[i]);
    view->indexed = true;
    return view;
}

void users_unpin(struct users_view *view)
{
    if (view == NULL)
        return;
    assert(view->users->views > 0);
    tree_drop(&view->records);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        index_drop(&view->by[i]);
    tree_drop(&view->recent);
    tree_drop(&view->keys);
    view->users->views--;
    users_free_when_unused(view->users);
    free(view);
}

struct users_meta users_view_meta(const struct users_view *view)
{
    return view->meta;
}

bool users_view_get(const struct users_view *view, uint64_t id, struct user *ret_user)
{
    return records_get(&view->records, id, ret_user);
}

uint64_t users_view_list(const struct users_view *view, uint64_t after, uint32_t limit,
                         struct writer *out, bool *ret_last)
{
    return records_list(&view->records, after, limit, out, ret_last);
}

uint64_t users_view_find(const struct users_view *view, enum user_text by, struct bytes text,
                         uint64_t after, uint32_t limit, struct writer *out, bool *ret_last)
{
    assert(view->indexed && user_text_rows[by].by != USER_TEXT_BY_NOTHING);
    *ret_last = true;
    if (text.len > user_text_rows[by].bytes_max || after >= USER_ID_MAX)
        return after;
    uint64_t hash = users_text_hash(by, text);
    uint32_t count = 0;
    for (uint64_t id = after; (id = index_find(&view->by[by], hash, id)) != 0;) {
        struct user user;
        bool found = records_get(&view->records, id, &user);
        assert(found);
        if (!users_texts_same(by, user.texts.at[by], text))
            continue;
        if ((limit > 0 && count == limit) || writer_room(out) < user_packed_bytes(&user)) {
            *ret_last = false;
            return after;
        }
        user_put(out, &user);
        after = id;
        count++;
    }
    return after;
}

bool users_diff(const struct users_view *old, const struct users_view *now, uint64_t from,
                struct users_page *ret_page)
{
    return records_diff(old != NULL ? &old->records : NULL, &now->records, from, ret_page);
}

bool users_diff_answers(const struct users_view *old, const struct users_view *now, uint64_t from,
                        struct users_past_page *ret_page)
{
    if (from < USERS_KEYED) {
        if (answers_diff(old != NULL ? &old->recent : NULL, &now->recent, from, ret_page))
            return true;
        from = USERS_KEYED;
    }
    if (!answers_diff(old != NULL ? &old->keys : NULL, &now->keys, from - USERS_KEYED, ret_page))
        return false;
    ret_page->number += USERS_KEYED;
    return true;
}
