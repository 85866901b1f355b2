/* GET and HEAD of /users/{id}: the list of that one. */
#include "app/item.h"

#include "app/reading.h"
#include "raft/users/user_json.h"

static void answer_item(struct exchange *x, const struct call_users *users)
{
    struct reader in = reader_of(users->users);
    struct user user = {.id = 0};
    if (reader_left(&in) > 0)
        user = user_get(&in);
    if (!reader_done(&in) || user.name.len > USER_NAME_BYTES_MAX ||
        user.email.len > USER_EMAIL_BYTES_MAX) {
        node_client_distrust(x->service->node, "its users cannot be read");
        respond_refused(x, "the node's answer could not be read");
        return;
    }
    if (user.id != x->request.user_id) {
        respond_no_user(x, users->index);
        return;
    }
    struct response response = reading_response(x, users->index, user.index);
    if (reading_answers(x, &response))
        return;
    uint8_t body[USER_JSON_BYTES_MAX];
    struct writer out = writer_of(body, sizeof(body));
    user_json_put(&out, &user);
    response.body = writer_bytes(&out);
    respond(x, &response);
}

static void on_item_answer(struct node_call *call, const struct node_answer *answer)
{
    struct exchange *x = exchange_of(call);
    switch (answer->kind) {
    case NODE_USERS:
        node_client_cancel(x->service->node, call); /* a list of one that goes on is no such list */
        answer_item(x, answer->users);
        return;
    case NODE_REFUSED:
        respond_refused(x, answer->refused);
        return;
    case NODE_WRITTEN:
    case NODE_STATUS:
    case NODE_METRICS:
    case NODE_UNKNOWN:
        break; /* never the answer to a list */
    }
    UNREACHABLE();
}

void handle_item(struct exchange *x)
{
    const char *fault = reading_begin(x);
    if (fault != NULL) {
        respond_problem(x, PROBLEM_INVALID_PARAMETER, fault);
        return;
    }
    x->call.ask.list.after = x->request.user_id - 1;
    x->call.ask.list.limit = 1;
    reading_ask(x, on_item_answer);
}
