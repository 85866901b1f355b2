/*
 * Backup files (wire/backup.h) written and read, block by block in constant memory, to and from
 * whatever a caller has: a file, in tests some bytes.
 */
#ifndef ROLLCALL_NODE_BACKUP_H
#define ROLLCALL_NODE_BACKUP_H

#include "raft/users/users.h"
#include "raft/wire/backup.h"

/* Payloads that are written have at most so many bytes. */
#define BACKUP_CHUNK_BYTES (64u << 10)

/* Takes all of the bytes; −errno. */
typedef int backup_write(void *context, struct bytes bytes);
/* Fills the buffer from the file's next bytes: how many were left of them, or −errno. */
typedef int64_t backup_read(void *context, uint8_t *buffer, size_t len);

struct backup_writer {
    backup_write *write;
    void *context;
    struct backup_chain chain;
    uint64_t digest; /* HEAD's */
};

/* In this order: the head, users, answers, and then the end. −errno is the writer's. */
NODISCARD int backup_begin(struct backup_writer *writer, const struct backup_head *head);
/* A block of packed users, or of packed answers; nothing when there are none. */
NODISCARD int backup_block(struct backup_writer *writer, enum backup_type type,
                           struct bytes packed);
NODISCARD int backup_finish(struct backup_writer *writer);

/* All of a version: begin to finish. The head's users, next_id … digest are the version's. */
NODISCARD int backup_save(struct backup_writer *writer, const struct users_view *view,
                          const struct backup_head *head);

struct backup_reader {
    backup_read *read;
    void *context;
    struct backup_chain chain;
    uint64_t offset;         /* of the next block */
    struct backup_head head; /* after the first block; its slices point to the next two */
    char name[BACKUP_CLUSTER_BYTES_MAX + 1];
    uint8_t members[MEMBERS_BYTES_MAX];
    uint8_t *payload; /* BACKUP_PAYLOAD_BYTES_MAX */
    char text[256];   /* after -EBADMSG: what is wrong, where */
};

/* Reads the head. -EBADMSG: see text. Done after all but -ENOMEM. */
NODISCARD int backup_open(struct backup_reader *reader, backup_read *read, void *context);
/*
 * The next block of users or answers; its payload is borrowed until the next. -ENODATA when the
 * file ended as it must; -EBADMSG: see text.
 */
NODISCARD int backup_next(struct backup_reader *reader, struct backup_block *ret_block);
void backup_done(struct backup_reader *reader);

/*
 * Reads all that is left into a fresh state. -EBADMSG, see text, when the file is damaged or what
 * it holds is not what its head says; the state is then only good for users_free.
 */
NODISCARD int backup_load(struct backup_reader *reader, struct users *users);

/* A backup_read of a file: the context is its descriptor, an int. */
int64_t backup_read_file(void *context, uint8_t *buffer, size_t len);

/*
 * A backup under this name in a log's directory that has no log yet is what a node's first start
 * begins with (boot_restore.c); `rollcallctl restore` puts it there, and the node removes it.
 */
#define BACKUP_RESTORE_NAME "restore"

/* What the slices of a head point to. */
struct backup_names {
    char cluster[BACKUP_CLUSTER_BYTES_MAX + 1];
    uint8_t members[MEMBERS_BYTES_MAX];
};

/* The same of a file by its path; other −errno: it cannot be read. `ret_text`: of -EBADMSG. */
NODISCARD int backup_load_file(int directory, const char *path, struct users *users,
                               struct backup_head *ret_head, struct backup_names *ret_names,
                               char *ret_text, size_t text_bytes);

#endif
