#include "app/health.h"

#include "raft/base/json.h"

#include <errno.h>

/* --- GET /livez, /readyz ---------------------------------------------------------------------- */

void handle_livez(struct exchange *x)
{
    struct response response = {
        .status = 200,
        .content_type = "text/plain",
        .cache_control = "no-store",
        .body = bytes_of_text("ok\n"),
    };
    respond(x, &response);
}

enum check { CHECK_NODE, CHECK_LEADER, CHECK_CAUGHT_UP, CHECK_DISK, CHECK_SNAPSHOTS };
#define CHECKS 5u

static const char *const check_names[CHECKS] = {"node", "leader", "caught-up", "disk", "snapshots"};

/* What is wrong with each; NULL where nothing is. */
struct checks {
    const char *fault[CHECKS];
};

/* Others can call this node: it is a member, and its own address is there. */
static bool can_be_called(const struct call_status_response *status)
{
    struct reader in = reader_of(status->members);
    for (unsigned i = 0; i < CALL_MEMBERS_MAX && reader_left(&in) > 0; i++) {
        struct call_member member = member_get(&in);
        if (member.id == status->node)
            return member.reachable != 0;
    }
    return true;
}

/* `status` is NULL when the node did not give one, for the reason `why`. */
static struct checks judge(const struct call_status_response *status, const char *why)
{
    static const char unknown[] = "the node did not say";
    struct checks checks = {{why, unknown, unknown, unknown, unknown}};
    if (status == NULL)
        return checks;
    const char *snapshots = call_snapshot_text(status->snapshot_state);
    bool saved = status->snapshot_state == CALL_SNAPSHOT_OK;
    checks.fault[CHECK_NODE] = checks.fault[CHECK_LEADER] = NULL;
    if (status->leader == 0)
        checks.fault[CHECK_LEADER] =
            can_be_called(status) ? call_reason_text(CALL_NO_LEADER)
                                  : "no leader is known, and no other node can call: the address "
                                    "or name of --raft is not there (yet)";
    checks.fault[CHECK_CAUGHT_UP] =
        status->ready != 0 ? NULL : "this node is behind the leader or has none";
    checks.fault[CHECK_DISK] =
        status->wal_full == 0 ? NULL : "full, writes are refused (still ready)";
    checks.fault[CHECK_SNAPSHOTS] = saved ? NULL : snapshots != NULL ? snapshots : "unknown";
    return checks;
}

/* These do not make a node unready: it answers reads, and others may take the writes. */
static bool matters(enum check check)
{
    return check != CHECK_DISK && check != CHECK_SNAPSHOTS;
}

/* What ?exclude=NAME, any number of times, leaves out: bit (1 << check). -EINVAL: no such name. */
static int excluded_checks(const struct request *request, unsigned *ret_excluded)
{
    struct reader in = reader_of(request->query);
    unsigned excluded = 0;
    for (;;) {
        uint8_t name[16];
        struct writer out = writer_of(name, sizeof(name));
        int found = request_parameter_next(&in, "exclude", &out);
        if (found == 0)
            break;
        unsigned i = 0;
        while (i < CHECKS && !bytes_equal(writer_bytes(&out), bytes_of_text(check_names[i])))
            i++;
        if (found < 0 || i == CHECKS)
            return -EINVAL;
        excluded |= 1u << i;
    }
    *ret_excluded = excluded;
    return 0;
}

/* One line a check, in the form that etcd and Kubernetes print: "[+]leader ok". */
static void put_check(struct writer *out, const char *name, const char *fault, bool excluded)
{
    put_text(out, fault == NULL || excluded ? "[+]" : "[-]");
    put_text(out, name);
    if (excluded)
        put_text(out, " excluded: ok");
    else
        put_text(out, fault == NULL ? " ok" : " failed: ");
    if (!excluded && fault != NULL)
        put_text(out, fault);
    put_text(out, "\n");
}

static void answer_ready(struct exchange *x, const struct call_status_response *status,
                         const char *why)
{
    static uint8_t store[1024];
    struct writer out = writer_of(store, sizeof(store));
    struct checks checks = judge(status, why);
    unsigned excluded = 0;
    int bad = excluded_checks(&x->request, &excluded);
    assert(bad == 0); /* handle_readyz has looked */
    bool ready = true;
    for (unsigned i = 0; i < CHECKS; i++) {
        bool left_out = (excluded & 1u << i) != 0;
        put_check(&out, check_names[i], checks.fault[i], left_out);
        ready = ready && (left_out || checks.fault[i] == NULL || !matters((enum check)i));
    }
    put_text(&out, ready ? "ready\n" : "not ready\n");
    uint8_t value[8];
    struct writer ignored = writer_of(value, sizeof(value));
    bool verbose = request_parameter(&x->request, "verbose", &ignored) != 0;
    struct response response = {
        .status = ready ? 200 : 503,
        .content_type = "text/plain",
        .cache_control = "no-store",
        .retry_after = !ready,
        .at_index = status != NULL,
        .raft_index = status != NULL ? status->applied : 0,
        .body = ready && !verbose ? bytes_of_text("ok\n") : writer_bytes(&out),
    };
    respond(x, &response);
}

/* --- GET /cluster ----------------------------------------------------------------------------- */

static void put_number(struct writer *out, const char *name, uint64_t value)
{
    put_text(out, name);
    put_decimal(out, value);
}

/* False when they are not what they should be. */
static bool put_members(struct writer *out, struct bytes members)
{
    struct reader in = reader_of(members);
    put_text(out, "[");
    for (unsigned i = 0; i < CALL_MEMBERS_MAX && reader_left(&in) > 0; i++) {
        struct call_member member = member_get(&in);
        put_number(out, i > 0 ? ",{\"id\":" : "{\"id\":", member.id);
        put_text(out, ",\"address\":");
        json_put_string(out, member.address);
        put_text(out, member.voter != 0 ? ",\"voter\":true" : ",\"voter\":false");
        if (member.match_known != 0)
            put_number(out, ",\"match\":", member.match);
        else
            put_text(out, ",\"match\":null");
        put_text(out, member.reachable != 0 ? ",\"reachable\":true}" : ",\"reachable\":false}");
    }
    put_text(out, "]");
    return reader_done(&in);
}

static void answer_cluster(struct exchange *x, const struct call_status_response *s)
{
    static uint8_t store[16 << 10];
    struct writer out = writer_of(store, sizeof(store));
    const char *role = call_role_text(s->role), *snapshot = call_snapshot_text(s->snapshot_state);
    put_text(&out, "{\"cluster\":");
    json_put_string(&out, s->cluster);
    put_number(&out, ",\"node\":", s->node);
    put_text(&out, ",\"role\":");
    json_put_string(&out, bytes_of_text(role != NULL ? role : "unknown"));
    put_number(&out, ",\"term\":", s->term);
    if (s->leader != 0)
        put_number(&out, ",\"leader\":", s->leader);
    else
        put_text(&out, ",\"leader\":null");
    put_number(&out, ",\"commit\":", s->commit);
    put_number(&out, ",\"applied\":", s->applied);
    put_number(&out, ",\"last\":", s->last);
    put_number(&out, ",\"snapshot\":{\"index\":", s->snapshot_index);
    put_text(&out, ",\"state\":");
    json_put_string(&out, bytes_of_text(snapshot != NULL ? snapshot : "unknown"));
    put_text(&out, "},\"members\":");
    bool members_good = put_members(&out, s->members);
    put_text(&out, "}");
    if (out.bad || !members_good) {
        node_client_distrust(x->service->node, "its status cannot be read");
        respond_refused(x, "the node's status could not be read");
        return;
    }
    struct response response = {
        .status = 200,
        .content_type = "application/json",
        .cache_control = "private, no-cache",
        .at_index = true,
        .raft_index = s->applied,
        .body = writer_bytes(&out),
    };
    respond(x, &response);
}

/* --- STATUS, for both ------------------------------------------------------------------------- */

static void on_status_answer(struct node_call *call, const struct node_answer *answer,
                             bool for_readiness)
{
    struct exchange *x = exchange_of(call);
    switch (answer->kind) {
    case NODE_STATUS:
        if (for_readiness)
            answer_ready(x, answer->status, NULL);
        else
            answer_cluster(x, answer->status);
        return;
    case NODE_REFUSED:
        if (for_readiness)
            answer_ready(x, NULL, answer->refused);
        else
            respond_refused(x, answer->refused);
        return;
    case NODE_WRITTEN:
    case NODE_USERS:
    case NODE_METRICS:
    case NODE_UNKNOWN:
        break; /* never the answer to a question for the status */
    }
    UNREACHABLE();
}

static void on_readyz_answer(struct node_call *call, const struct node_answer *answer)
{
    on_status_answer(call, answer, true);
}

static void on_cluster_answer(struct node_call *call, const struct node_answer *answer)
{
    on_status_answer(call, answer, false);
}

void handle_readyz(struct exchange *x)
{
    unsigned excluded;
    if (excluded_checks(&x->request, &excluded) != 0) {
        respond_problem(x, PROBLEM_INVALID_PARAMETER,
                        "`exclude` must name a check: node, leader, caught-up, disk or snapshots");
        return;
    }
    /* Readiness is about now: no waiting for a node to come back. */
    if (!node_client_connected(x->service->node)) {
        answer_ready(x, NULL, "it cannot be reached");
        return;
    }
    x->call.ask.kind = CALL_STATUS;
    exchange_ask(x, on_readyz_answer);
}

void handle_cluster(struct exchange *x)
{
    x->call.ask.kind = CALL_STATUS;
    exchange_ask(x, on_cluster_answer);
}
