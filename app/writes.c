#include "app/writes.h"

#include "app/body.h"
#include "app/idempotency.h"
#include "raft/users/user_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- answers ---------------------------------------------------------------------------------- */

static struct response answer_at(const struct users_answer *answer, unsigned status)
{
    return (struct response){
        .status = status,
        .at_index = true,
        .raft_index = answer->index,
        .replayed = answer->replayed,
    };
}

/* The user as it is after the write. */
static void answer_user(struct exchange *x, const struct users_answer *answer, unsigned status,
                        uint64_t id, uint64_t etag, const struct user_texts *texts)
{
    struct user user = {.id = id, .index = etag, .texts = *texts};
    uint8_t body[USER_JSON_BYTES_MAX];
    struct writer out = writer_of(body, sizeof(body));
    user_json_put(&out, &user);
    assert(!out.bad);
    struct response response = answer_at(answer, status);
    response.content_type = "application/json";
    response.location_id = status == 201 ? id : 0;
    response.etagged = true;
    response.etag = etag;
    response.body = writer_bytes(&out);
    respond(x, &response);
}

static void answer_deleted(struct exchange *x, const struct users_answer *answer)
{
    struct response response = answer_at(answer, 204);
    response.length_is = LENGTH_NONE;
    respond(x, &response);
}

static void answer_problem(struct exchange *x, const struct users_answer *answer,
                           enum problem problem, const char *detail)
{
    struct response response = response_of_problem(problem, detail);
    response.at_index = true;
    response.raft_index = answer->index;
    response.replayed = answer->replayed;
    if (answer->kind == USERS_CONDITION_FAILED) {
        response.etagged = true;
        response.etag = answer->condition_failed.etag;
    }
    respond(x, &response);
}

static void answer_taken(struct exchange *x, const struct users_answer *answer)
{
    char detail[128];
    snprintf(detail, sizeof(detail),
             "email: user %" PRIu64 " has it already (letter case makes no difference)",
             answer->email_taken.id);
    answer_problem(x, answer, PROBLEM_EMAIL_TAKEN, detail);
}

/* Our own command, as it was sent. */
static struct users_command command_of(const struct exchange *x)
{
    struct users_command command;
    int bad = users_command_decode(x->call.ask.write.command, &command);
    assert(bad == 0);
    return command;
}

static void answer_write(struct exchange *x, const struct users_answer *answer)
{
    struct users_command command = command_of(x);
    switch (answer->kind) {
    case USERS_CREATED:
        answer_user(x, answer, 201, answer->created.id, answer->created.etag,
                    &command.create.texts);
        return;
    case USERS_REPLACED:
        answer_user(x, answer, 200, answer->replaced.id, answer->replaced.etag,
                    &command.replace.texts);
        return;
    case USERS_PATCHED:
        answer_user(x, answer, 200, answer->patched.id, answer->patched.etag,
                    &answer->patched.texts);
        return;
    case USERS_DELETED:
        answer_deleted(x, answer);
        return;
    case USERS_NOT_FOUND:
        answer_problem(x, answer, PROBLEM_NOT_FOUND, NO_SUCH_USER);
        return;
    case USERS_CONDITION_FAILED:
        answer_problem(x, answer, PROBLEM_PRECONDITION_FAILED, IS_ANOTHER);
        return;
    case USERS_EMAIL_TAKEN:
        answer_taken(x, answer);
        return;
    case USERS_KEY_REUSED:
        answer_problem(x, answer, PROBLEM_KEY_REUSED,
                       "another request came under this Idempotency-Key; draw a new key for each");
        return;
    case USERS_ID_REUSED:
        answer_problem(x, answer, PROBLEM_ID_REUSED,
                       "another request came under this Rollcall-Request-Id; each has its own");
        return;
    case USERS_REJECTED: /* not seen while the checks here and there agree */
        answer_problem(x, answer, PROBLEM_INVALID_USER, "the directory does not take this user");
        return;
    }
    UNREACHABLE();
}

/* An answer of the kind that this command can have? */
static bool is_answer_to(enum users_command_kind command, enum users_answer_kind answer)
{
    switch (answer) {
    case USERS_CREATED:
        return command == USERS_CREATE;
    case USERS_REPLACED:
        return command == USERS_REPLACE;
    case USERS_PATCHED:
        return command == USERS_PATCH;
    case USERS_DELETED:
        return command == USERS_DELETE;
    case USERS_NOT_FOUND:
    case USERS_CONDITION_FAILED:
    case USERS_EMAIL_TAKEN:
    case USERS_KEY_REUSED:
    case USERS_ID_REUSED:
    case USERS_REJECTED:
        return true;
    }
    UNREACHABLE();
}

static void on_write_answer(struct node_call *call, const struct node_answer *answer)
{
    struct exchange *x = exchange_of(call);
    struct users_answer result;
    switch (answer->kind) {
    case NODE_WRITTEN:
        if (users_answer_decode(answer->written->answer, &result) != 0) {
            node_client_distrust(x->service->node, "its answer to a write cannot be read");
        } else if (is_answer_to(command_of(x).kind, result.kind)) {
            answer_write(x, &result);
            return;
        }
        /* What can be read and is no answer to this is about this request alone: the connection,
         * with what others wait for on it, stays. */
        respond_problem(x, PROBLEM_OUTCOME_UNKNOWN,
                        "the node's answer is none to this request, which may have been executed");
        return;
    case NODE_REFUSED:
        respond_refused(x, answer->refused);
        return;
    case NODE_UNKNOWN:
        respond_problem(x, PROBLEM_OUTCOME_UNKNOWN,
                        "the node did not say in time whether the write was executed");
        return;
    case NODE_USERS:
    case NODE_STATUS:
    case NODE_METRICS:
        break; /* never the answer to a write: node_client.c sees to that */
    }
    UNREACHABLE();
}

/* --- questions -------------------------------------------------------------------------------- */

/* Of another type; or `coded`, which no body here may be. */
static void respond_media_type(struct exchange *x, bool patch, bool coded)
{
    const char *detail =
        coded   ? "Expected request without `Content-Encoding`: no body is decoded here"
        : patch ? "Expected request with `Content-Type: application/merge-patch+json`"
                : "Expected request with `Content-Type: application/json`";
    struct response response = response_of_problem(PROBLEM_MEDIA_TYPE, detail);
    response.accept_encoding = coded ? "identity" : NULL;
    response.accept = patch ? NULL : "application/json";
    response.accept_patch = patch ? MERGE_PATCH : NULL;
    respond(x, &response);
}

/* In the reference's order: 415, 413. False: it is answered. */
static bool has_body(struct exchange *x, bool patch)
{
    bool typed = patch ? request_is_merge_patch(&x->request) : request_is_json(&x->request);
    if (!typed || request_is_coded(&x->request)) {
        respond_media_type(x, patch, typed);
        return false;
    }
    if (x->request.too_big) {
        respond_too_big(x);
        return false;
    }
    return exchange_knows_query(x, "");
}

/* The body's user, or patch. False: the request is answered. */
static bool read_body(struct exchange *x, bool patch, struct body_text *text,
                      struct body_user *ret_user)
{
    struct body_fault fault;
    if (!has_body(x, patch))
        return false;
    if (x->request.partial) { /* RFC 9110 §14.5 */
        respond_problem(x, PROBLEM_BAD_REQUEST, "a user is written as a whole: no Content-Range");
        return false;
    }
    int bad = patch ? body_read_patch(x->request.body, text, ret_user, &fault)
                    : body_read_user(x->request.body, text, ret_user, &fault);
    if (bad != 0)
        respond_problem(x, fault.malformed ? PROBLEM_MALFORMED_JSON : PROBLEM_INVALID_USER,
                        fault.what);
    return bad == 0;
}

/* Adds what the header fields say to the command, and submits it. */
static void submit(struct exchange *x, struct users_command *command)
{
    const char *fault = preconditions_read(&x->request, x->tags, &x->conditions);
    command->keyed = x->request.idempotency_key != NULL;
    if (fault == NULL && command->keyed)
        fault = idempotency_read(&x->request, x->scope.at, &command->key);
    if (fault != NULL) {
        respond_problem(x, PROBLEM_BAD_REQUEST, fault);
        return;
    }
    command->if_match = x->conditions.if_match;
    command->if_none_match = x->conditions.if_none_match;
    struct writer out = writer_of(x->command, sizeof(x->command));
    users_command_put(&out, command);
    assert(!out.bad);
    x->call.ask = (struct call){
        .kind = CALL_WRITE,
        .write = {.request = idempotency_scoped(&x->request.id, x->scope.at),
                  .command = writer_bytes(&out)},
    };
    exchange_ask(x, on_write_answer);
}

/* PUT and PATCH: an `id` in the body is the path's, or somebody is mistaken. False: it is answered.
 */
static bool is_of_path(struct exchange *x, struct bytes id)
{
    static const uint8_t space[] = {' ', '\t', '\r', '\n'};
    uint8_t store[24];
    char detail[96];
    struct writer path = writer_of(store, sizeof(store));
    put_decimal(&path, x->request.user_id);
    while (id.len > 0 && memchr(space, id.at[id.len - 1], sizeof(space)) != NULL)
        id.len--;
    if (id.len == 0 || bytes_equal(id, writer_bytes(&path)))
        return true;
    snprintf(detail, sizeof(detail), "id: the path says %" PRIu64 ", and an id does not change",
             x->request.user_id);
    respond_problem(x, PROBLEM_INVALID_USER, detail);
    return false;
}

void handle_create(struct exchange *x)
{
    struct users_command command = {.kind = USERS_CREATE};
    struct body_text text;
    struct body_user user;
    if (!read_body(x, false, &text, &user))
        return;
    command.create.texts = user.texts;
    submit(x, &command);
}

void handle_replace(struct exchange *x)
{
    struct users_command command = {.kind = USERS_REPLACE};
    struct body_text text;
    struct body_user user;
    if (!read_body(x, false, &text, &user) || !is_of_path(x, user.id))
        return;
    command.replace = (struct users_replace){x->request.user_id, user.texts};
    submit(x, &command);
}

void handle_patch(struct exchange *x)
{
    struct users_command command = {.kind = USERS_PATCH};
    struct body_text text;
    struct body_user user;
    if (!read_body(x, true, &text, &user) || !is_of_path(x, user.id))
        return;
    command.patch = (struct users_patch){x->request.user_id, user.sets, user.texts};
    submit(x, &command);
}

void handle_delete(struct exchange *x)
{
    struct users_command command = {
        .kind = USERS_DELETE,
        .delete = {.id = x->request.user_id},
    };
    submit(x, &command);
}
