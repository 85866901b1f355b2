/* A whole version over the socket, while writes go on. */
#include "raft/users/packed.h"
#include "tests/node/workers_rig.h"

#include <stdlib.h>

#define ANSWERS_MAX 4096u

static void enrol(struct worker *worker, uint64_t from, uint64_t to)
{
    static char name[1000];
    memset(name, 'n', sizeof(name) - 1);
    for (uint64_t i = from; i <= to; i++) {
        worker_write(worker, i, i, name);
        (void)worker_expect(worker, CALL_WRITTEN);
    }
}

static struct users_meta meta_of(const struct call_version_response *version)
{
    return (struct users_meta){.index = version->index, USERS_META_FIELDS(USERS_META_FROM_version)};
}

Test(workers_backup, is_one_version_whatever_is_written_meanwhile, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    enrol(&worker, 1, 300);
    worker_send(&worker, (struct call){.kind = CALL_BACKUP, .backup = {.call = 7}});
    struct call call = worker_expect(&worker, CALL_VERSION_RESPONSE);
    struct users_meta meta = meta_of(&call.version_response);
    must(call.version_response.call == 7 && call.version_response.node == 1 &&
         call.version_response.term > 0);
    must(bytes_equal(call.version_response.cluster, bytes_of_text("test")));
    must(meta.users == 300 && meta.next_id == 301);

    struct users *users = users_new(ANSWERS_MAX);
    uint64_t late = 301;
    for (bool last = false; !last; late++) {
        enrol(&worker, late, late);
        worker_send(&worker, (struct call){.kind = CALL_MORE, .more = {.call = 7}});
        call = worker_expect(&worker, CALL_PIECE);
        must(call.piece.call == 7);
        must(packed_load_users(users, call.piece.users) == 0);
        must(packed_load_answers(users, call.piece.answers) == 0);
        last = call.piece.last;
    }
    must(late > 304); /* it took more than one piece */
    must(users_load_done(users, &meta) == 0);
    users_check(users);
    struct users_answer answer;
    struct request_id id = request_id_of(300);
    must(users_answered(users, &id, NULL, &answer) && answer.created.id == 300);
    id = request_id_of(301);
    must(!users_answered(users, &id, NULL, &answer));
    users_free(users);

    worker_send(&worker, (struct call){.kind = CALL_MORE, .more = {.call = 7}});
    must(worker_is_dropped(&worker)); /* after the last there is no more */
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers_backup, may_be_dropped_or_left, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig), other = worker_greeted(rig);
    enrol(&worker, 1, 100);
    worker_send(&worker, (struct call){.kind = CALL_BACKUP, .backup = {.call = 7}});
    (void)worker_expect(&worker, CALL_VERSION_RESPONSE);
    worker_send(&worker, (struct call){.kind = CALL_MORE, .more = {.call = 7}});
    (void)worker_expect(&worker, CALL_PIECE);
    must(!workers_idle(rig->workers));
    worker_send(&worker, (struct call){.kind = CALL_DROP, .drop = {.call = 7}});
    worker_send(&other, (struct call){.kind = CALL_BACKUP, .backup = {.call = 8}});
    (void)worker_expect(&other, CALL_VERSION_RESPONSE);
    worker_close(&other);
    while (!workers_idle(rig->workers))
        workers_rig_turn(rig);
    worker_close(&worker);
    workers_rig_free(rig);
}

Test(workers_backup, waits_for_its_index_like_any_read, .timeout = 60)
{
    struct workers_rig *rig = workers_rig_new();
    struct worker worker = worker_greeted(rig);
    rig->hold = true; /* the read waits for its round */
    worker_send(&worker, (struct call){.kind = CALL_BACKUP, .backup = {.call = 7}});
    struct call call;
    must(!worker_next(&worker, false, &call));
    rig->hold = false;
    must(worker_expect(&worker, CALL_VERSION_RESPONSE).version_response.users == 0);
    worker_close(&worker);
    workers_rig_free(rig);
}
