/* Backup files: all of a state goes in and comes out, and no damage goes by. */
#include "raft/node/backup.h"

#include "tests/users/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define ANSWERS_MAX 4096u

/* A file in memory; `room` is what the disk behind it has. */
struct memory {
    uint8_t *at;
    size_t len, next, room;
};

static int append(void *context, struct bytes bytes)
{
    struct memory *memory = context;
    if (memory->len + bytes.len > memory->room)
        return -ENOSPC;
    memory->at = realloc(memory->at, memory->len + bytes.len);
    memcpy(memory->at + memory->len, bytes.at, bytes.len);
    memory->len += bytes.len;
    return 0;
}

static int64_t take(void *context, uint8_t *buffer, size_t len)
{
    struct memory *memory = context;
    size_t left = memory->len - memory->next;
    if (len > left)
        len = left;
    if (len > 0)
        memcpy(buffer, memory->at + memory->next, len);
    memory->next += len;
    return (int64_t)len;
}

static struct users *some_users(uint64_t count)
{
    struct users *users = users_new(ANSWERS_MAX);
    static const char *const names[] = {"", "Ann", "Zo\xc3\xab"};
    for (uint64_t i = 1; i <= count; i++)
        must(create(users, i + 5, i, names[i % 3]).created.id == i);
    return users;
}

static int save(struct users *users, struct memory *memory)
{
    struct backup_writer writer = {.write = append, .context = memory};
    struct users_view *view = users_pin(users);
    struct backup_head head = {
        .cluster = bytes_of_text("old"),
        .node = 1,
        .index = users_meta(users).index,
        .term = 3,
        .known = users_meta(users).index,
    };
    int result = backup_save(&writer, view, &head);
    users_unpin(view);
    return result;
}

/* NULL when it is refused; `ret_text` says why. */
static struct users *load(struct memory *memory, char *ret_text)
{
    struct users *users = users_new(ANSWERS_MAX);
    struct backup_reader reader;
    memory->next = 0;
    int result = backup_open(&reader, take, memory);
    if (result == 0)
        result = backup_load(&reader, users);
    must(result == 0 || result == -EBADMSG);
    must((result == 0) == (reader.text[0] == '\0'));
    if (ret_text != NULL)
        memcpy(ret_text, reader.text, sizeof(reader.text));
    backup_done(&reader);
    if (result == 0)
        return users;
    users_free(users);
    return NULL;
}

Test(backup_file, holds_users_ids_and_answers_of_a_state_of_any_size)
{
    static const uint64_t counts[] = {1, 64, 5000, 20000};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct memory memory = {.room = SIZE_MAX};
        struct users *users = some_users(counts[i]);
        must(save(users, &memory) == 0);
        struct users *back = load(&memory, NULL);
        must(back != NULL);
        struct users_meta a = users_meta(users), b = users_meta(back);
        must(memcmp(&a, &b, sizeof(a)) == 0);
        struct users_answer answer;
        struct request_id id = request_id_of(counts[i]);
        must(users_answered(back, &id, NULL, &answer) && answer.created.id == counts[i]);
        must(create(back, a.index + 1, 77777, "next").created.id == counts[i] + 1);
        users_check(back);
        users_free(back);
        users_free(users);
        free(memory.at);
    }
}

Test(backup_file, with_any_bit_flipped_is_refused_and_the_offset_named, .timeout = 60)
{
    struct memory memory = {.room = SIZE_MAX};
    struct users *users = some_users(3);
    char text[256];
    must(save(users, &memory) == 0);
    for (size_t bit = 0; bit < memory.len * 8; bit++) {
        memory.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct users *back = load(&memory, text);
        if (back != NULL)
            cr_fatal("bit %zu of %zu went by", bit, memory.len * 8);
        must(strstr(text, "offset") != NULL || bit / 8 < BACKUP_HEADER_BYTES);
        memory.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(memory.at);
    users_free(users);
}

Test(backup_file, cut_anywhere_or_longer_than_it_was_is_refused)
{
    struct memory memory = {.room = SIZE_MAX};
    struct users *users = some_users(3);
    char text[256];
    must(save(users, &memory) == 0);
    size_t whole = memory.len;
    for (memory.len = 0; memory.len < whole; memory.len++) {
        must(load(&memory, text) == NULL);
        must(strstr(text, "cut short") != NULL);
    }
    must(append(&memory, bytes_of("", 1)) == 0);
    must(load(&memory, text) == NULL && strstr(text, "follows its end") != NULL);
    free(memory.at);
    users_free(users);
}

/* Every block is whole and in its place, and yet it is not what the head says. */
Test(backup_file, that_holds_less_than_it_says_is_refused)
{
    struct users *users = some_users(3);
    struct users_view *view = users_pin(users);
    struct users_meta meta = users_meta(users);
    struct memory memory = {.room = SIZE_MAX};
    struct backup_writer writer = {.write = append, .context = &memory};
    struct backup_head head = {.cluster = bytes_of_text("old"),
                               .index = meta.index,
                               .term = 1,
                               USERS_META_FIELDS(USERS_META_FROM_meta)};
    uint8_t packed[4096];
    struct writer out = writer_of(packed, sizeof(packed));
    bool last;
    char text[256];
    (void)users_view_list(view, 0, 0, &out, &last);
    must(backup_begin(&writer, &head) == 0);
    must(backup_block(&writer, BACKUP_USERS, writer_bytes(&out)) == 0);
    must(backup_finish(&writer) == 0); /* no answers */
    must(load(&memory, text) == NULL && strstr(text, "digest") != NULL);
    users_unpin(view);
    users_free(users);
    free(memory.at);
}

Test(backup_file, that_does_not_fit_the_disk_is_an_error_wherever_it_is_full)
{
    struct memory all = {.room = SIZE_MAX};
    struct users *users = some_users(100);
    must(save(users, &all) == 0);
    for (size_t room = 0; room < all.len; room += 7) {
        struct memory memory = {.room = room};
        must(save(users, &memory) == -ENOSPC);
        free(memory.at);
    }
    free(all.at);
    users_free(users);
}

Test(backup_file, is_read_by_its_path)
{
    struct backup_names names;
    char path[] = "/tmp/rollcall-backup-XXXXXX", text[256];
    struct memory memory = {.room = SIZE_MAX};
    struct users *users = some_users(9), *back = users_new(ANSWERS_MAX);
    struct backup_head head;
    int file = mkstemp(path);
    must(save(users, &memory) == 0);
    must(write(file, memory.at, memory.len) == (ssize_t)memory.len);
    must(backup_load_file(AT_FDCWD, path, back, &head, &names, text, sizeof(text)) == 0);
    must(strcmp(names.cluster, "old") == 0 && head.term == 3 && head.users == 9);
    users_free(back);
    back = users_new(ANSWERS_MAX);
    must(ftruncate(file, (off_t)memory.len - 1) == 0);
    must(backup_load_file(AT_FDCWD, path, back, &head, &names, text, sizeof(text)) == -EBADMSG);
    must(strstr(text, "cut short") != NULL);
    must(unlink(path) == 0);
    must(backup_load_file(AT_FDCWD, path, back, &head, &names, text, sizeof(text)) == -ENOENT);
    close(file);
    free(memory.at);
    users_free(back);
    users_free(users);
}
