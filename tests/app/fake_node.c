#include "tests/app/fake_node.h"

#include "raft/users/command.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINKS_MAX       64
#define LISTS_MAX       512
#define FAKE_TABLE_SIZE (4u * FAKE_WRITES_MAX)
#define BUFFER_SIZE     (4u << 20)

struct list {
    bool open;
    uint64_t call, next_id, left;
    unsigned chunks;
};

struct link {
    int fd;
    size_t in_len, out_len;
    uint8_t *in, *out;
    struct list lists[LISTS_MAX];
    bool closing;
};

struct run {
    struct fake_node *node;
    struct fake_script *script; /* under the lock */
    struct link *links[LINKS_MAX];
    unsigned count;
};

void fake_node_init(struct fake_node *node, const char *path)
{
    memset(node, 0, sizeof(*node));
    snprintf(node->path, sizeof(node->path), "%s", path);
    pthread_mutex_init(&node->lock, NULL);
    node->ids = calloc(FAKE_WRITES_MAX, sizeof(*node->ids));
    node->names = calloc(FAKE_WRITES_MAX, sizeof(*node->names));
    node->table = calloc(FAKE_TABLE_SIZE, sizeof(*node->table));
    assert(node->ids != NULL && node->names != NULL && node->table != NULL);
    static uint8_t members[256];
    struct writer out = writer_of(members, sizeof(members));
    member_put(&out, &(struct call_member){.id = 7,
                                           .voter = 1,
                                           .match = 42,
                                           .reachable = 1,
                                           .match_known = 1,
                                           .address = bytes_of_text("127.0.0.1:7001")});
    member_put(&out, &(struct call_member){.id = 8, .match = 9, .address = bytes_of_text("b:2")});
    node->script.status = (struct call_status_response){
        .node = 7,
        .role = CALL_LEADER,
        .ready = 1,
        .term = 3,
        .leader = 7,
        .commit = 41,
        .applied = 40,
        .last = 42,
        .snapshot_state = CALL_SNAPSHOT_OK,
        .snapshot_index = 30,
        .cluster = bytes_of_text("test"),
        .address = bytes_of_text("127.0.0.1:7001"),
        .members = writer_bytes(&out),
    };
}

void fake_node_done(struct fake_node *node)
{
    for (unsigned i = 0; i < node->record.created; i++)
        free((void *)node->names[i].at);
    free(node->names);
    free(node->ids);
    free(node->table);
    pthread_mutex_destroy(&node->lock);
}

struct fake_script fake_node_script(struct fake_node *node)
{
    pthread_mutex_lock(&node->lock);
    struct fake_script script = node->script;
    pthread_mutex_unlock(&node->lock);
    return script;
}

void fake_node_play(struct fake_node *node, struct fake_script script)
{
    pthread_mutex_lock(&node->lock);
    node->script = script;
    pthread_mutex_unlock(&node->lock);
}

struct fake_record fake_node_record(struct fake_node *node)
{
    pthread_mutex_lock(&node->lock);
    struct fake_record record = node->record;
    pthread_mutex_unlock(&node->lock);
    return record;
}

/* --- answering -------------------------------------------------------------------------------- */

static void put(struct link *link, const struct call *call)
{
    struct writer out = writer_of(link->out + link->out_len, BUFFER_SIZE - link->out_len);
    call_put(&out, call);
    assert(!out.bad);
    link->out_len += writer_len(&out);
}

/* Where the id stands in the table, or would: 0 when it is new, else its user. */
static uint32_t *slot_of(struct fake_node *node, const struct request_id *id)
{
    size_t hash;
    memcpy(&hash, id->at, sizeof(hash)); /* they are random */
    for (;; hash++) {
        uint32_t *slot = &node->table[hash % FAKE_TABLE_SIZE];
        if (*slot == 0 || request_id_equal(&node->ids[*slot - 1], id))
            return slot;
    }
}

/* The user's id: that of the first write under this request id. */
static uint64_t execute(struct fake_node *node, const struct call_write *write, struct bytes name)
{
    uint32_t *slot = slot_of(node, &write->request);
    if (*slot != 0)
        return *slot;
    assert(node->record.created < FAKE_WRITES_MAX);
    unsigned at = node->record.created++;
    node->ids[at] = write->request;
    uint8_t *copy = malloc(name.len + 1);
    memcpy(copy, name.at, name.len);
    node->names[at] = bytes_of(copy, name.len);
    *slot = at + 1;
    return at + 1;
}

static struct users_answer answer_to(struct fake_node *node, const struct call_write *write)
{
    struct fake_record *record = &node->record;
    struct users_command command;
    int bad = users_command_decode(write->command, &command);
    assert(bad == 0 && write->command.len <= sizeof(record->command));
    memcpy(record->command, write->command.at, write->command.len);
    record->command_len = write->command.len;
    if (node->script.answers)
        return node->script.answer;
    struct users_answer answer = {.index = record->created + 1};
    uint64_t id;
    switch (command.kind) {
    case USERS_CREATE:
        id = execute(node, write, command.create.texts.name);
        answer = (struct users_answer){
            .kind = USERS_CREATED, .index = id + 1, .created = {.id = id, .etag = id + 1}};
        return answer;
    case USERS_REPLACE:
        answer.kind = USERS_REPLACED;
        answer.replaced = (struct users_replaced){command.replace.id, answer.index};
        return answer;
    case USERS_PATCH:
        answer.kind = USERS_PATCHED;
        answer.patched =
            (struct users_patched){command.patch.id, answer.index, command.patch.texts};
        return answer;
    case USERS_DELETE:
        answer.kind = USERS_DELETED;
        answer.deleted.id = command.delete.id;
        return answer;
    }
    UNREACHABLE();
}

static void refuse(struct link *link, uint64_t call, uint8_t reason)
{
    put(link, &(struct call){.kind = CALL_REFUSED, .refused = {.call = call, .reason = reason}});
}

static void on_write(struct run *run, struct link *link, const struct call_write *write)
{
    struct fake_node *node = run->node;
    struct fake_script *script = run->script;
    node->record.writes++;
    node->record.last_write = write->request;
    if (script->lose_writes > 0) {
        script->lose_writes--;
        link->closing = true;
        return;
    }
    if (script->refuse != 0) {
        refuse(link, write->call, script->refuse);
        return;
    }
    if (script->hold_writes)
        return;
    struct users_answer answer = answer_to(node, write);
    if (script->break_writes > 0) {
        script->break_writes--;
        link->closing = true;
        return;
    }
    if (script->unknown) {
        put(link, &(struct call){.kind = CALL_UNKNOWN, .unknown = {.call = write->call}});
        return;
    }
    uint8_t encoded[USERS_ANSWER_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    users_answer_put(&out, &answer);
    put(link,
        &(struct call){
            .kind = CALL_WRITTEN,
            .written = {.call = write->call, .index = answer.index, .answer = writer_bytes(&out)}});
}

static struct user user_at(struct fake_node *node, uint64_t id, uint8_t *made_up)
{
    if (node->script.users_made_up == 0)
        return (struct user){.id = id, .index = id + 1, .name = node->names[id - 1]};
    memset(made_up, 'a' + (int)(id % 26), node->script.made_up_name_bytes);
    return (struct user){
        .id = id, .index = id + 1, .name = bytes_of(made_up, node->script.made_up_name_bytes)};
}

static void send_chunk(struct run *run, struct link *link, struct list *list)
{
    static uint8_t packed[CALL_CHUNK_BYTES_MAX];
    uint8_t made_up[USER_NAME_BYTES_MAX];
    struct fake_node *node = run->node;
    if (run->script->break_lists_after > 0 && list->chunks == run->script->break_lists_after) {
        link->closing = true;
        return;
    }
    struct writer out = writer_of(packed, sizeof(packed));
    while (list->left > 0) {
        struct user user = user_at(node, list->next_id, made_up);
        if (writer_room(&out) < user_packed_bytes(&user))
            break;
        user_put(&out, &user);
        list->next_id++;
        list->left--;
    }
    if (run->script->bad_users)
        put_u8(&out, 0xff);
    list->chunks++;
    list->open = list->left > 0;
    put(link, &(struct call){.kind = CALL_USERS,
                             .users = {.call = list->call,
                                       .index = node->record.created + 1,
                                       .changed = run->script->changed,
                                       .last = list->left == 0,
                                       .users = writer_bytes(&out)}});
}

static struct list *list_of(struct link *link, uint64_t call)
{
    for (unsigned i = 0; i < LISTS_MAX; i++)
        if (link->lists[i].open && link->lists[i].call == call)
            return &link->lists[i];
    return NULL;
}

static void on_list(struct run *run, struct link *link, const struct call_list *ask)
{
    if (run->script->refuse != 0) {
        refuse(link, ask->call, run->script->refuse);
        return;
    }
    if (run->script->hold_ahead && ask->min_index > 0)
        return;
    struct fake_record *record = &run->node->record;
    record->last_list = *ask;
    assert(ask->text.len <= sizeof(record->text));
    if (ask->text.len > 0)
        memcpy(record->text, ask->text.at, ask->text.len);
    struct list *list = NULL;
    for (unsigned i = 0; i < LISTS_MAX && list == NULL; i++)
        if (!link->lists[i].open)
            list = &link->lists[i];
    assert(list != NULL);
    uint64_t users = run->script->users_made_up;
    users = users > 0 ? users : run->node->record.created;
    uint64_t left = ask->after < users ? users - ask->after : 0;
    if (ask->limit > 0 && left > ask->limit && !run->script->no_limit)
        left = ask->limit;
    *list = (struct list){.open = true, .call = ask->call, .next_id = ask->after + 1, .left = left};
    send_chunk(run, link, list);
}

static void on_call(struct run *run, struct link *link, const struct call *call)
{
    struct fake_record *record = &run->node->record;
    if (call->kind == CALL_HELLO) {
        uint32_t version = CALL_VERSION + (run->script->wrong_version ? 1 : 0);
        put(link, &(struct call){.kind = CALL_WELCOME, .welcome = {.version = version, .node = 7}});
        return;
    }
    record->frames++;
    record->lists += call->kind == CALL_LIST;
    record->mores += call->kind == CALL_MORE;
    record->drops += call->kind == CALL_DROP;
    if (run->script->mute)
        return;
    if (run->script->garbage) {
        run->script->garbage = false;
        memcpy(link->out + link->out_len, "this is not a frame at all", 26);
        link->out_len += 26;
        return;
    }
    struct list *list;
    if (call->kind == CALL_WRITE) {
        on_write(run, link, &call->write);
    } else if (call->kind == CALL_LIST) {
        on_list(run, link, &call->list);
    } else if (call->kind == CALL_MORE) {
        list = list_of(link, call->more.call);
        if (list != NULL)
            send_chunk(run, link, list);
    } else if (call->kind == CALL_DROP) {
        list = list_of(link, call->drop.call);
        if (list != NULL)
            list->open = false;
    } else if (call->kind == CALL_METRICS) {
        struct call metrics = {
            .kind = CALL_METRICS_RESPONSE,
            .metrics_response = {.call = call->metrics.call, .text = bytes_of_text(FAKE_METRICS)}};
        put(link, &metrics);
    } else {
        struct call status = {.kind = CALL_STATUS_RESPONSE, .status_response = run->script->status};
        status.status_response.call = call->status.call;
        put(link, &status);
    }
}

/* --- the thread ------------------------------------------------------------------------------- */

static void take_frames(struct run *run, struct link *link)
{
    size_t at = 0;
    while (!link->closing) {
        struct frame frame;
        struct call call;
        int64_t len = frame_decode(bytes_of(link->in + at, link->in_len - at), &frame);
        if (len == 0)
            break;
        assert(len > 0); /* the client under test sends frames and nothing else */
        int bad = call_decode(frame, &call);
        assert(bad == 0);
        on_call(run, link, &call);
        at += (size_t)len;
    }
    link->in_len -= at;
    memmove(link->in, link->in + at, link->in_len);
}

static void serve_link(struct run *run, struct link *link, short events)
{
    if ((events & (POLLIN | POLLHUP)) != 0 && BUFFER_SIZE - link->out_len > (2u << 20)) {
        ssize_t got =
            recv(link->fd, link->in + link->in_len, (256u << 10) - link->in_len, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            link->closing = true;
        else if (got > 0)
            link->in_len += (size_t)got;
        take_frames(run, link);
    }
    if (link->out_len > 0 && !link->closing) {
        ssize_t sent = send(link->fd, link->out, link->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            link->out_len -= (size_t)sent;
            memmove(link->out, link->out + sent, link->out_len);
        }
    }
}

static void link_close(struct run *run, unsigned at)
{
    struct link *link = run->links[at];
    close(link->fd);
    free(link->in);
    free(link->out);
    free(link);
    run->links[at] = run->links[--run->count];
    run->node->record.open--;
}

static void link_open(struct run *run)
{
    int fd = accept4(run->node->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    assert(run->count < LINKS_MAX);
    struct link *link = calloc(1, sizeof(*link));
    link->fd = fd;
    link->in = malloc(256u << 10);
    link->out = malloc(BUFFER_SIZE);
    run->links[run->count++] = link;
    run->node->record.connections++;
    run->node->record.open++;
}

static void turn(struct run *run, const struct pollfd *fds, unsigned links)
{
    if (fds[1].revents != 0)
        link_open(run);
    for (unsigned i = 0; i < links; i++)
        serve_link(run, run->links[i], fds[2 + i].revents);
    for (unsigned i = run->count; i > 0; i--)
        if (run->links[i - 1]->closing)
            link_close(run, i - 1);
}

static void *thread_main(void *argument)
{
    struct fake_node *node = argument;
    struct run run = {.node = node, .script = &node->script};
    for (;;) {
        struct pollfd fds[2 + LINKS_MAX] = {{.fd = node->stop_pipe[0], .events = POLLIN},
                                            {.fd = node->listen_fd, .events = POLLIN}};
        unsigned links = run.count;
        for (unsigned i = 0; i < links; i++) {
            short events = run.links[i]->out_len > 0 ? POLLIN | POLLOUT : POLLIN;
            fds[2 + i] = (struct pollfd){.fd = run.links[i]->fd, .events = events};
        }
        poll(fds, 2 + links, -1);
        if (fds[0].revents != 0)
            break;
        pthread_mutex_lock(&node->lock);
        turn(&run, fds, links);
        pthread_mutex_unlock(&node->lock);
    }
    pthread_mutex_lock(&node->lock);
    while (run.count > 0)
        link_close(&run, run.count - 1);
    pthread_mutex_unlock(&node->lock);
    return NULL;
}

void fake_node_start(struct fake_node *node)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", node->path);
    unlink(node->path);
    node->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int bad = bind(node->listen_fd, (const struct sockaddr *)&address, sizeof(address)) |
              listen(node->listen_fd, 64) | pipe2(node->stop_pipe, O_CLOEXEC) |
              pthread_create(&node->thread, NULL, thread_main, node);
    assert(bad == 0);
}

void fake_node_stop(struct fake_node *node)
{
    ssize_t wrote = write(node->stop_pipe[1], "x", 1);
    assert(wrote == 1);
    pthread_join(node->thread, NULL);
    close(node->stop_pipe[0]);
    close(node->stop_pipe[1]);
    close(node->listen_fd);
    unlink(node->path);
}
