#include "app/handlers.h"

#include "app/body.h"
#include "app/listing.h"
#include "app/metrics.h"
#include "app/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- answering -------------------------------------------------------------------------------- */

void respond(struct exchange *x, const struct response *response)
{
    static uint8_t store[FASTCGI_WRITE_BYTES_MAX]; /* one loop, one answer at a time */
    struct response answer = *response;
    answer.head = x->request.method == METHOD_HEAD;
    answer.raft_node = node_client_node(x->service->node);
    struct writer out = writer_of(store, sizeof(store));
    response_put(&out, &answer);
    assert(!out.bad);
    /* A failed write fails connection_finish too, which closes. */
    (void)!connection_write(x->connection, writer_bytes(&out));
    exchange_ended(x, answer.status);
    connection_finish(x->connection);
}

void respond_problem(struct exchange *x, enum problem problem, const char *detail)
{
    uint8_t body[PROBLEM_BODY_BYTES_MAX];
    struct writer out = writer_of(body, sizeof(body));
    struct response response = response_of_problem(problem, detail, &out);
    respond(x, &response);
}

void respond_refused(struct exchange *x, const char *why)
{
    char detail[256];
    snprintf(detail, sizeof(detail), "%s; nothing was executed, try again", why);
    respond_problem(x, PROBLEM_UNAVAILABLE, detail);
}

void respond_unasked(struct exchange *x, int error)
{
    respond_refused(x,
                    error == -EBUSY ? call_reason_text(CALL_BUSY) : "the node cannot be reached");
}

void ask(struct exchange *x, void (*on_answer)(struct node_call *, const struct node_answer *))
{
    x->call.on_answer = on_answer;
    int error = node_client_ask(x->service->node, &x->call);
    if (error != 0)
        respond_unasked(x, error);
}

struct exchange *exchange_of(struct node_call *call)
{
    return CONTAINER_OF(call, struct exchange, call);
}

/* --- life of an exchange ---------------------------------------------------------------------- */

struct exchange *exchange_open(struct service *service, struct connection *connection)
{
    struct exchange *x = calloc(1, sizeof(*x));
    if (x != NULL) {
        x->service = service;
        x->connection = connection;
    }
    return x;
}

void exchange_began(struct exchange *x)
{
    x->began_ns = uv_hrtime();
    x->route = ROUTE_ELSEWHERE;
    counts_begin(x->service->slot);
}

void exchange_ended(struct exchange *x, unsigned status)
{
    if (x->began_ns == 0)
        return;
    const struct counts_request request = {
        .route = x->route,
        .method = x->request.method,
        .status = status,
        .took_ns = uv_hrtime() - x->began_ns,
    };
    x->began_ns = 0;
    counts_end(x->service->slot, &request);
}

void exchange_hung_up(struct exchange *x)
{
    exchange_ended(x, COUNTS_CUT);
    node_client_cancel(x->service->node, &x->call);
}

void exchange_close(struct exchange *x)
{
    assert(x->call.state == NODE_CALL_CLOSED);
    listing_done(&x->listing);
    metrics_page_done(&x->metrics_page);
    free(x);
}

/* --- POST /users ------------------------------------------------------------------------------ */

static void answer_created(struct exchange *x, const struct users_created *created)
{
    struct users_command command;
    int bad = users_command_decode(x->call.ask.write.command, &command);
    assert(bad == 0 && command.kind == USERS_CREATE); /* our own */
    struct user user = {.id = created->id, .name = command.create.name};
    uint8_t body[BODY_USER_BYTES_MAX];
    struct writer out = writer_of(body, sizeof(body));
    body_put_user(&out, &user);
    struct response response = {
        .status = 201,
        .content_type = "application/json",
        .location_id = created->id,
        .etag_index = created->index,
        .at_index = true,
        .raft_index = created->index,
        .body = writer_bytes(&out),
    };
    respond(x, &response);
}

/* Not seen while the checks here and there agree: 422 all the same, for nothing was changed. */
static void answer_rejected(struct exchange *x, const struct users_rejected *rejected)
{
    uint8_t body[PROBLEM_BODY_BYTES_MAX];
    struct writer out = writer_of(body, sizeof(body));
    const char *detail = "the directory does not take this user";
    struct response response = response_of_problem(PROBLEM_INVALID_USER, detail, &out);
    response.at_index = true;
    response.raft_index = rejected->index;
    respond(x, &response);
}

static void answer_written(struct exchange *x, const struct call_written *written)
{
    struct users_answer answer;
    if (users_answer_decode(written->answer, &answer) != 0) {
        node_client_distrust(x->service->node, "its answer to a write cannot be read");
        respond_problem(x, PROBLEM_OUTCOME_UNKNOWN,
                        "the node's answer could not be read: the user may have been created");
        return;
    }
    switch (answer.kind) {
    case USERS_CREATED:
        answer_created(x, &answer.created);
        return;
    case USERS_REJECTED:
        answer_rejected(x, &answer.rejected);
        return;
    }
    UNREACHABLE();
}

static void on_create_answer(struct node_call *call, const struct node_answer *answer)
{
    struct exchange *x = exchange_of(call);
    switch (answer->kind) {
    case NODE_WRITTEN:
        answer_written(x, answer->written);
        return;
    case NODE_REFUSED:
        respond_refused(x, answer->refused);
        return;
    case NODE_UNKNOWN:
        respond_problem(x, PROBLEM_OUTCOME_UNKNOWN,
                        "the node did not say in time whether the user was created");
        return;
    case NODE_USERS:
    case NODE_STATUS:
    case NODE_METRICS:
        break; /* never the answer to a write: node_client.c sees to that */
    }
    UNREACHABLE();
}

void handle_create(struct exchange *x)
{
    if (!request_is_json(&x->request)) {
        respond_problem(x, PROBLEM_MEDIA_TYPE,
                        "Expected request with `Content-Type: application/json`");
        return;
    }
    if (x->request.too_big) {
        respond_problem(x, PROBLEM_BODY_TOO_LARGE,
                        "Failed to buffer the request body: length limit exceeded");
        return;
    }
    uint8_t name[USER_NAME_BYTES_MAX];
    struct users_command command;
    struct body_fault fault;
    if (body_read_create(x->request.body, name, &command, &fault) != 0) {
        respond_problem(x, fault.malformed ? PROBLEM_MALFORMED_JSON : PROBLEM_INVALID_USER,
                        fault.what);
        return;
    }
    struct writer out = writer_of(x->command, sizeof(x->command));
    users_command_put(&out, &command);
    assert(!out.bad);
    x->call.ask.kind = CALL_WRITE;
    x->call.ask.write.request = x->request.id;
    x->call.ask.write.command = writer_bytes(&out);
    ask(x, on_create_answer);
}

/* --- GET /users ------------------------------------------------------------------------------- */

static void on_list_answer(struct node_call *call, const struct node_answer *answer)
{
    struct exchange *x = exchange_of(call);
    switch (answer->kind) {
    case NODE_USERS:
        listing_take(x, answer->users);
        return;
    case NODE_REFUSED:
        listing_refused(x, answer->refused);
        return;
    case NODE_WRITTEN:
    case NODE_STATUS:
    case NODE_METRICS:
    case NODE_UNKNOWN:
        break; /* never the answer to a list */
    }
    UNREACHABLE();
}

void handle_list(struct exchange *x)
{
    const char *fault = listing_begin(x);
    if (fault != NULL)
        respond_problem(x, PROBLEM_INVALID_PARAMETER, fault);
    else
        ask(x, on_list_answer);
}
