#include "app/exchange.h"

#include "app/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- answering -------------------------------------------------------------------------------- */

void exchange_set_raft_headers(const struct exchange *x, struct response *response)
{
    response->raft_node = node_client_node(x->service->node);
    if (response->at_index)
        return;
    response->raft_index = node_client_index(x->service->node);
    response->at_index = response->raft_index != 0; /* a young worker knows of none */
}

void respond(struct exchange *x, const struct response *response)
{
    static uint8_t store[FASTCGI_WRITE_BYTES_MAX]; /* one loop, one answer at a time */
    struct response answer = *response;
    answer.omit_body = x->request.method == METHOD_HEAD;
    exchange_set_raft_headers(x, &answer);
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
    struct response response = response_of_problem(problem, detail);
    respond(x, &response);
}

bool exchange_knows_query(struct exchange *x, const char *known)
{
    char name[REQUEST_NAME_SHOWN], detail[256];
    if (!request_unknown_parameter(&x->request, known, name))
        return true;
    snprintf(detail, sizeof(detail), "there is no parameter `%s` here; %s%s", name,
             *known != '\0' ? "there are: " : "this takes none", known);
    respond_problem(x, PROBLEM_INVALID_PARAMETER, detail);
    return false;
}

void respond_too_big(struct exchange *x)
{
    respond_problem(x, PROBLEM_BODY_TOO_LARGE,
                    "Failed to buffer the request body: length limit exceeded");
}

static void respond_problem_at(struct exchange *x, uint64_t index, enum problem problem,
                               const char *detail, const uint64_t *etag)
{
    struct response response = response_of_problem(problem, detail);
    response.at_index = true;
    response.raft_index = index;
    response.etagged = etag != NULL;
    response.etag = etag != NULL ? *etag : 0;
    respond(x, &response);
}

void respond_no_user(struct exchange *x, uint64_t index)
{
    respond_problem_at(x, index, PROBLEM_NOT_FOUND, NO_SUCH_USER, NULL);
}

void respond_condition_failed(struct exchange *x, uint64_t index, uint64_t etag)
{
    respond_problem_at(x, index, PROBLEM_PRECONDITION_FAILED, IS_ANOTHER, &etag);
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

void exchange_ask(struct exchange *x,
                  void (*on_answer)(struct node_call *, const struct node_answer *))
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

void exchange_body_done(struct exchange *x)
{
    const struct body_sender *sender = x->sender;
    x->sender = NULL;
    if (sender != NULL)
        sender->done(x);
}

void exchange_on_room(struct exchange *x)
{
    assert(x->sender != NULL);
    x->sender->on_room(x);
}

void exchange_began(struct exchange *x)
{
    exchange_body_done(x);
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
    exchange_body_done(x);
    free(x);
}
