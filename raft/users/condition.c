#include "raft/users/condition.h"

bool condition_matches(const struct condition *condition, uint64_t tag)
{
    switch (condition->kind) {
    case CONDITION_NONE:
        return false;
    case CONDITION_ANY:
        return true;
    case CONDITION_LIST: {
        struct reader in = reader_of(condition->tags);
        while (reader_left(&in) > 0)
            if (get_u64(&in) == tag)
                return true;
        return false;
    }
    }
    UNREACHABLE();
}

bool conditions_hold(const struct condition *if_match, const struct condition *if_none_match,
                     uint64_t tag)
{
    if (if_match->kind != CONDITION_NONE && !condition_matches(if_match, tag))
        return false;
    return !condition_matches(if_none_match, tag);
}
