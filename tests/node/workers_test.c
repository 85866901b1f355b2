#include "tests/node/workers_rig.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Diagnostics of connections that are dropped on purpose, by the dozen. */
static void be_silent(void)
{
    must(freopen("/dev/null", "w", stderr) != NULL);
}

static struct call list_call(uint64_t call, bool stale, uint64_t after, uint32_t limit)
{
    return (struct call){
        .kind = CALL_LIST,
        .list = {.call = call,
                 .consistency = stale ? CALL_STALE : CALL_LINEARIZABLE,
                 .after = after,
                 .limit = limit},
    };
}

/* Users with long names: some chunks full of them. */
static void fill(struct worker *worker, uint64_t users)
{
    char name[USER_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (uint64_t i = 0; i < users; i++) {
        worker_write(worker, 1000 + i, 1000 + i, name);
        must(worker_expect(worker, CALL_WRITTEN).written.call == 1000 + i);
    }
}

/* Ids in a chunk must follow `after`; returns the last. */
static uint64_t last_id(struct bytes users, uint64_t after, uint64_t *count)
{
    struct reader in = reader_of(users);
    while (reader_left(&in) > 0) {
        struct user user = user_get(&in);
        must(!in.bad && user.id == after + 1);
        after = user.id;
        ++*count;
    }
    return after;
}

Test(workers, are_welcomed_and_answered)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    worker_write(&worker, 5, 1, "Alice");
    struct call call = worker_expect(&worker, CALL_WRITTEN);
    struct users_answer answer;
    cr_assert(eq(u64, call.written.call, 5));
    cr_assert(eq(u64, call.written.index, 2));
    must(users_answer_decode(call.written.answer, &answer) == 0);
    cr_assert(eq(u64, answer.created.id, 1));
    worker_write(&worker, 6, 1, "Alice"); /* once more, under the same request id */
    call = worker_expect(&worker, CALL_WRITTEN);
    must(users_answer_decode(call.written.answer, &answer) == 0 && answer.created.id == 1);
    worker_send(&worker, list_call(7, false, 0, 0));
    call = worker_expect(&worker, CALL_USERS);
    cr_assert(call.users.last);
    struct reader in = reader_of(call.users.users);
    struct user user = user_get(&in);
    must(user.id == 1 && bytes_equal(user.name, bytes_of_text("Alice")) && reader_done(&in));
    worker_send(&worker, (struct call){.kind = CALL_STATUS, .status = {.call = 8}});
    call = worker_expect(&worker, CALL_STATUS_RESPONSE);
    cr_assert(call.status_response.ready);
    cr_assert(eq(u64, call.status_response.users, 1));
    cr_assert(eq(u64, call.status_response.leader, 1));
    cr_assert(eq(u8, call.status_response.role, CALL_LEADER));
    must(bytes_equal(call.status_response.cluster, bytes_of_text("test")));
    must(bytes_equal(call.status_response.address, bytes_of_text("127.0.0.1:7001")));
    worker_close(&worker);
    workers_rig_free(rig);
}

static bool holds(struct bytes text, const char *wanted)
{
    return memmem(text.at, text.len, wanted, strlen(wanted)) != NULL;
}

Test(workers, are_told_the_metrics)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig), other = worker_greeted(rig);
    worker_write(&worker, 5, 1, "Alice");
    (void)worker_expect(&worker, CALL_WRITTEN);
    worker_send(&worker, (struct call){.kind = CALL_METRICS, .metrics = {.call = 6}});
    struct call call = worker_expect(&worker, CALL_METRICS_RESPONSE);
    cr_assert(eq(u64, call.metrics_response.call, 6));
    must(holds(call.metrics_response.text, "\nrollcall_users 1\n"));
    must(holds(call.metrics_response.text, "\nrollcall_connected_workers 2\n"));
    worker_close(&other);
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, that_break_the_protocol_are_dropped_and_nobody_else)
{
    be_silent();
    struct workers_rig *rig = workers_rig_new();
    struct worker good = worker_greeted(rig);
    const struct call bad[] = {
        {.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}}, /* twice */
        {.kind = CALL_WELCOME, .welcome = {.version = CALL_VERSION, .node = 1}},
        {.kind = CALL_WRITTEN, .written = {.call = 1}},
        {.kind = CALL_REFUSED, .refused = {.call = 1, .reason = 1}},
        {.kind = CALL_UNKNOWN, .unknown = {.call = 1}},
        {.kind = CALL_USERS, .users = {.call = 1}},
        {.kind = CALL_STATUS_RESPONSE, .status_response = {.call = 1}},
        {.kind = CALL_METRICS_RESPONSE, .metrics_response = {.call = 1}},
        {.kind = CALL_MORE, .more = {.call = 77}}, /* of no list */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct worker worker = worker_greeted(rig);
        worker_send(&worker, bad[i]);
        if (!worker_is_dropped(&worker))
            cr_fatal("call %zu was taken", i);
        worker_close(&worker);
    }
    worker_write(&good, 1, 1, "Alice");
    (void)worker_expect(&good, CALL_WRITTEN);
    worker_close(&good);
    workers_rig_free(rig);
}

Test(workers, that_do_not_begin_with_hello_of_this_version_are_dropped)
{
    be_silent();
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_connect(rig);
    worker_write(&worker, 1, 1, "Alice");
    cr_assert(worker_is_dropped(&worker));
    worker_close(&worker);
    worker = worker_connect(rig);
    worker_send(&worker, (struct call){.kind = CALL_HELLO, .hello = {.version = 99}});
    cr_assert(worker_is_dropped(&worker));
    worker_close(&worker);
    cr_assert(eq(u64, users_meta(replica_users(rig->replica)).users, 0));
    workers_rig_free(rig);
}

Test(workers, that_send_nonsense_are_dropped)
{
    be_silent();
    struct workers_rig *rig = workers_rig_new();
    struct chance chance = {1};
    for (int i = 0; i < 60; i++) {
        uint8_t bytes[200];
        struct writer out = writer_of(bytes, sizeof(bytes));
        struct worker worker = i % 2 == 0 ? worker_greeted(rig) : worker_connect(rig);
        struct call call = {.kind = CALL_STATUS, .status = {.call = 1}};
        if (i % 3 > 0)
            call_put(&out, &call); /* a good frame, with one bit wrong */
        else
            while (writer_room(&out) >= 8)
                put_u64(&out, chance_u64(&chance));
        size_t bit = chance_below(&chance, writer_len(&out) * 8);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct call hello = {.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}};
        if (i % 2 == 1)
            worker_send(&worker, hello);
        (void)worker_send_bytes(&worker, writer_bytes(&out));
        /* A length that grew within reason is waited for, so long and no longer. */
        static uint8_t zeros[100000];
        (void)worker_send_bytes(&worker, bytes_of(zeros, sizeof(zeros)));
        if (!worker_is_dropped(&worker))
            cr_fatal("nonsense %d was taken", i);
        worker_close(&worker);
    }
    workers_rig_free(rig);
}

Test(workers, may_send_a_frame_byte_by_byte)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    struct call call = {.kind = CALL_STATUS, .status = {.call = 8}};
    call_put(&out, &call);
    for (size_t i = 0; i < writer_len(&out); i++)
        must(worker_send_bytes(&worker, bytes_of(at + i, 1)));
    must(worker_expect(&worker, CALL_STATUS_RESPONSE).status_response.call == 8);
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, get_a_long_list_in_chunks_of_one_version, .timeout = 60)
{
    be_silent();
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    fill(&worker, 300);
    worker_send(&worker, list_call(1, false, 0, 0));
    uint64_t after = 0, count = 0, index = 0;
    for (uint64_t chunk = 0;; chunk++) {
        struct call call = worker_expect(&worker, CALL_USERS);
        must(chunk == 0 || call.users.index == index);
        index = call.users.index;
        after = last_id(call.users.users, after, &count);
        if (call.users.last)
            break;
        worker_write(&worker, 10 + chunk, 5000 + chunk, "late"); /* is not in the list */
        (void)worker_expect(&worker, CALL_WRITTEN);
        worker_send(&worker, (struct call){.kind = CALL_MORE, .more = {.call = 1}});
    }
    cr_assert(eq(u64, count, 300));
    worker_send(&worker, (struct call){.kind = CALL_MORE, .more = {.call = 1}});
    cr_assert(worker_is_dropped(&worker), "after the last there is no more");
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, get_no_more_users_than_they_asked_for, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    fill(&worker, 130);
    static const uint32_t limits[] = {1, 2, 63, 64, 100, 129, 130, 131, 1000};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        for (uint64_t from = 0; from <= 131; from += 1 + from / 2 * 5) {
            uint64_t after = from, count = 0;
            worker_send(&worker, list_call(i, true, from, limits[i]));
            for (bool last = false; !last;) {
                struct call call = worker_expect(&worker, CALL_USERS);
                after = last_id(call.users.users, after, &count);
                last = call.users.last;
                if (!last)
                    worker_send(&worker, (struct call){.kind = CALL_MORE, .more = {.call = i}});
            }
            uint64_t there = from < 130 ? 130 - from : 0;
            must(count == (there < limits[i] ? there : limits[i]));
        }
    }
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, may_drop_a_list_before_and_while_it_is_read, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    fill(&worker, 100);
    rig->hold = true;
    worker_send(&worker, list_call(1, false, 0, 0));
    worker_send(&worker, (struct call){.kind = CALL_DROP, .drop = {.call = 1}});
    rig->hold = false;
    worker_send(&worker, list_call(2, false, 0, 0));
    must(worker_expect(&worker, CALL_USERS).users.call == 2); /* and nothing of 1 */
    worker_send(&worker, (struct call){.kind = CALL_DROP, .drop = {.call = 2}});
    worker_send(&worker, (struct call){.kind = CALL_DROP, .drop = {.call = 99}});
    worker_send(&worker, (struct call){.kind = CALL_STATUS, .status = {.call = 3}});
    must(worker_expect(&worker, CALL_STATUS_RESPONSE).status_response.call == 3);
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, may_have_so_many_lists_open_and_no_more, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    fill(&worker, 80);
    for (uint64_t i = 0; i < WORKERS_LISTS_MAX; i++) {
        worker_send(&worker, list_call(i, true, 0, 0));
        must(!worker_expect(&worker, CALL_USERS).users.last);
    }
    worker_send(&worker, list_call(5000, true, 0, 0));
    struct call call = worker_expect(&worker, CALL_REFUSED);
    cr_assert(eq(u8, call.refused.reason, CALL_BUSY));
    worker_send(&worker, (struct call){.kind = CALL_DROP, .drop = {.call = 17}});
    worker_send(&worker, list_call(5001, true, 0, 0));
    (void)worker_expect(&worker, CALL_USERS);
    worker_close(&worker);
    workers_rig_free(rig);
}

static struct call list_at(uint64_t call, uint64_t min_index)
{
    struct call list = list_call(call, true, 0, 0);
    list.list.min_index = min_index;
    return list;
}

/* All that was sent is taken when this is answered. */
static void sync_with(struct worker *worker)
{
    worker_send(worker, (struct call){.kind = CALL_STATUS, .status = {.call = 9999}});
    must(worker_expect(worker, CALL_STATUS_RESPONSE).status_response.call == 9999);
}

static uint32_t waiting_reads(const struct workers_rig *rig)
{
    return replica_status(rig->replica).waiting_reads;
}

/* Whether they wait for an entry to come, or for the next round of reads. */
Test(workers, that_drop_lists_which_wait_have_their_places_at_once, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig), other = worker_greeted(rig);
    uint64_t next = users_meta(replica_users(rig->replica)).index + 1;
    worker_send(&other, list_at(7, next));
    sync_with(&other);
    rig->hold = true; /* nobody waits for too long */
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < WORKERS_LISTS_MAX; i++)
            worker_send(&worker, round > 0 ? list_call(i, false, 0, 0) : list_at(i, next));
        worker_send(&worker, list_at(5000, next));
        struct call call = worker_expect(&worker, CALL_REFUSED);
        cr_assert(eq(u64, call.refused.call, 5000), "all places are taken");
        for (uint64_t i = 0; i < WORKERS_LISTS_MAX; i++)
            worker_send(&worker, (struct call){.kind = CALL_DROP, .drop = {.call = i}});
        sync_with(&worker);
        cr_assert(eq(u32, waiting_reads(rig), 1), "the other's");
    }
    rig->hold = false;
    worker_send(&worker, list_at(5001, next));
    worker_write(&worker, 5002, 1, "Alice"); /* for which all of them would have waited */
    (void)worker_expect(&worker, CALL_WRITTEN);
    must(worker_expect(&worker, CALL_USERS).users.call == 5001); /* of the others not a word */
    worker_close(&other);
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, that_leave_take_their_waiting_lists_with_them)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig), stays = worker_greeted(rig);
    worker_send(&stays, list_at(1, 1000));
    for (uint64_t i = 0; i < 10; i++)
        worker_send(&worker, list_at(i, 1000));
    sync_with(&worker);
    sync_with(&stays);
    cr_assert(eq(u32, waiting_reads(rig), 11));
    rig->hold = true; /* nobody waits for too long */
    worker_close(&worker);
    while (workers_connected(rig->workers) > 1)
        workers_rig_turn(rig);
    workers_rig_turn(rig);
    cr_assert(eq(u32, waiting_reads(rig), 1));
    worker_close(&stays);
    workers_rig_free(rig);
}

/* What is unsent is bounded, and all of it comes when the worker reads again. */
Test(workers, that_do_not_read_are_not_read_from_until_they_do, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    fill(&worker, 80);
    static uint8_t bytes[64 * 200];
    struct writer out = writer_of(bytes, sizeof(bytes));
    for (uint64_t i = 0; i < 200; i++) { /* 200 chunks of 64 KiB, asked for in one go */
        struct call list = list_call(i, true, 0, 0);
        call_put(&out, &list);
    }
    must(!out.bad && worker_send_bytes(&worker, writer_bytes(&out)));
    static uint8_t frames[1u << 20];
    struct writer flood = writer_of(frames, sizeof(frames));
    for (uint64_t i = 0; writer_room(&flood) > 400; i++) {
        struct call status = {.kind = CALL_STATUS, .status = {.call = 100000 + i}};
        call_put(&flood, &status);
    }
    cr_assert(not(worker_send_bytes(&worker, writer_bytes(&flood))), "it takes no more");
    for (uint64_t i = 0; i < 200; i++)
        must(worker_expect(&worker, CALL_USERS).users.call == i);
    must(worker_expect(&worker, CALL_STATUS_RESPONSE).status_response.call == 100000);
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, are_so_many_and_no_more)
{
    be_silent();
    struct workers_rig *rig = workers_rig_new();
    struct worker worker[WORKERS_MAX];
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        worker[i] = worker_greeted(rig);
    struct worker one_more = worker_connect(rig);
    cr_assert(worker_is_dropped(&one_more));
    worker_close(&one_more);
    worker_close(&worker[30]);
    for (int i = 0; i < 20; i++)
        workers_rig_turn(rig);
    worker[30] = worker_greeted(rig);
    worker_write(&worker[30], 1, 1, "Alice");
    (void)worker_expect(&worker[30], CALL_WRITTEN);
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        worker_close(&worker[i]);
    workers_rig_free(rig);
}

/* Its answer is for nobody; above all not for who sits in its place now. */
Test(workers, that_left_get_no_answer_and_neither_does_who_comes_after)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker gone = worker_greeted(rig);
    rig->hold = true;
    worker_write(&gone, 5, 1, "Alice");
    worker_write(&gone, 6, 2, "Bob");
    worker_send(&gone, list_call(7, false, 0, 0));
    worker_close(&gone);
    for (int i = 0; i < 20; i++)
        workers_rig_turn(rig);
    struct worker next = worker_greeted(rig);
    rig->hold = false;
    worker_send(&next, (struct call){.kind = CALL_STATUS, .status = {.call = 8}});
    must(worker_expect(&next, CALL_STATUS_RESPONSE).status_response.call == 8);
    worker_write(&next, 9, 1, "Alice"); /* asked again, as a worker does */
    struct call call = worker_expect(&next, CALL_WRITTEN);
    cr_assert(eq(u64, call.written.call, 9));
    cr_assert(eq(u64, users_meta(replica_users(rig->replica)).users, 2));
    worker_close(&next);
    workers_rig_free(rig);
}

Test(workers, are_refused_when_the_node_stops_and_leave_no_socket_behind)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    replica_stop(rig->replica);
    workers_stop_listening(rig->workers);
    worker_write(&worker, 1, 1, "Alice");
    struct call call = worker_expect(&worker, CALL_REFUSED);
    cr_assert(eq(u8, call.refused.reason, CALL_STOPPING));
    worker_send(&worker, list_call(2, false, 0, 0));
    must(worker_expect(&worker, CALL_REFUSED).refused.call == 2);
    cr_assert(eq(int, access(rig->path, F_OK), -1));
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers, find_a_node_that_replaced_a_stale_socket_but_never_a_living_one)
{
    struct workers_rig *rig = workers_rig_new();
    struct workers_options options = {.loop = &rig->loop, .replica = rig->replica};
    struct workers *second = workers_new(&options);
    cr_assert(eq(int, workers_listen(second, rig->path), -EADDRINUSE));
    char stale[128], too_long[200];
    snprintf(stale, sizeof(stale), "%s/stale.sock", rig->directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, stale, strlen(stale) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    close(fd); /* its file stays */
    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    cr_assert(eq(int, workers_listen(second, too_long), -ENAMETOOLONG));
    cr_assert(eq(int, workers_listen(second, stale), 0));

    /* What is no socket is somebody else's, a link to a socket too. */
    char other[160];
    snprintf(other, sizeof(other), "%s/file", rig->directory);
    FILE *file = fopen(other, "w");
    must(file != NULL && fclose(file) == 0);
    cr_assert(eq(int, workers_listen(second, other), -ENOTSOCK));
    cr_assert(eq(int, unlink(other), 0));
    must(symlink(stale, other) == 0);
    cr_assert(eq(int, workers_listen(second, other), -ENOTSOCK));
    cr_assert(eq(int, unlink(other), 0));
    workers_close(second);
    for (int i = 0; i < 5; i++)
        workers_rig_turn(rig);
    workers_free(second);
    workers_rig_free(rig);
}
