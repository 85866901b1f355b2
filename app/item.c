/* GET and HEAD of /users/{id}: the list of that one. */
#include "app/item.h"

#include "app/reading.h"
#include "raft/users/user_json.h"

static void answer_item(struct exchange *x, const struct call_users *users)
{
    node_client_cancel(x->service->node, &x->call); /* one that goes on is no list of one */
    struct reader in = reader_of(users->users);
    struct user user = {.id = 0};
    if (reader_left(&in) > 0)
        user = user_get(&in);
    if (!reader_done(&in) || !user_texts_fit(&user.texts)) {
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

void handle_item(struct exchange *x)
{
    const char *fault = reading_begin(x);
    if (fault != NULL) {
        respond_problem(x, PROBLEM_INVALID_PARAMETER, fault);
        return;
    }
    x->call.ask.list.after = x->request.user_id - 1;
    x->call.ask.list.limit = 1;
    reading_ask(x, answer_item, respond_refused);
}
