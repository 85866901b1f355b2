#include "app/reading.h"

#include "raft/base/json.h"

#include <errno.h>

int reading_number(const struct request *request, const char *name, uint64_t min, uint64_t max,
                   uint64_t *ret_value)
{
    uint8_t text[24];
    struct writer out = writer_of(text, sizeof(text));
    int found = request_parameter(request, name, &out);
    if (found <= 0)
        return found;
    struct reader in = reader_of(writer_bytes(&out));
    uint64_t value = json_get_u64(&in);
    if (!reader_done(&in) || value < min || value > max)
        return -EINVAL;
    *ret_value = value;
    return 1;
}

/* CALL_LINEARIZABLE when nothing is said; 0 for what is none. */
static uint8_t consistency_of(const struct request *request)
{
    uint8_t text[16];
    struct writer out = writer_of(text, sizeof(text));
    int found = request_parameter(request, "consistency", &out);
    if (found == 0)
        return CALL_LINEARIZABLE;
    if (found < 0)
        return 0;
    if (bytes_equal(writer_bytes(&out), bytes_of_text("linearizable")))
        return CALL_LINEARIZABLE;
    return bytes_equal(writer_bytes(&out), bytes_of_text("stale")) ? CALL_STALE : 0;
}

const char *reading_begin(struct exchange *x)
{
    uint64_t min_index = 0;
    uint8_t consistency = consistency_of(&x->request);
    if (consistency == 0)
        return "`consistency` must be `linearizable` or `stale`, once";
    if (reading_number(&x->request, "min_index", 0, USER_ID_MAX, &min_index) < 0)
        return "`min_index` must be a number up to 9007199254740991, as in `Raft-Index`, once";
    x->call.ask = (struct call){
        .kind = CALL_LIST,
        .list = {.consistency = consistency, .min_index = min_index},
    };
    return NULL;
}

static void on_answer(struct node_call *call, const struct node_answer *answer)
{
    struct exchange *x = exchange_of(call);
    switch (answer->kind) {
    case NODE_USERS:
        x->on_users(x, answer->users);
        return;
    case NODE_REFUSED:
        x->on_refused(x, answer->refused);
        return;
    case NODE_WRITTEN:
    case NODE_STATUS:
    case NODE_METRICS:
    case NODE_UNKNOWN:
        break; /* never the answer to a list */
    }
    UNREACHABLE();
}

void reading_ask(struct exchange *x,
                 void (*on_users)(struct exchange *x, const struct call_users *users),
                 void (*on_refused)(struct exchange *x, const char *why))
{
    const char *fault = preconditions_read(&x->request, x->tags, &x->conditions);
    x->on_users = on_users;
    x->on_refused = on_refused;
    if (fault != NULL)
        respond_problem(x, PROBLEM_BAD_REQUEST, fault);
    else
        exchange_ask(x, on_answer);
}

struct response reading_response(const struct exchange *x, uint64_t index, uint64_t etag)
{
    return (struct response){
        .status = 200,
        .content_type = "application/json",
        .cache_control = "private, no-cache",
        .etagged = true,
        .etag = etag,
        .at_index = true,
        .raft_index = index,
        .raft_node = node_client_node(x->service->node),
        .omit_body = x->request.method == METHOD_HEAD,
    };
}

bool reading_answers(struct exchange *x, const struct response *response)
{
    const struct preconditions *wanted = &x->conditions;
    if (wanted->if_match.kind != CONDITION_NONE &&
        !condition_matches(&wanted->if_match, response->etag)) {
        node_client_cancel(x->service->node, &x->call);
        respond_condition_failed(x, response->raft_index, response->etag);
        return true;
    }
    if (!condition_matches(&wanted->if_none_match, response->etag))
        return false;
    struct response not_modified = *response;
    not_modified.status = 304;
    not_modified.content_type = NULL;
    not_modified.length_is = LENGTH_NONE;
    node_client_cancel(x->service->node, &x->call);
    respond(x, &not_modified);
    return true;
}
