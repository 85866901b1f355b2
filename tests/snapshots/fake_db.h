/*
 * What a Redis holds, as far as snapshots use it: keys, each a hash of fields. A whole database is
 * copied to be brought back later, as a dump or an append-only file would.
 */
#ifndef ROLLCALL_TESTS_SNAPSHOTS_FAKE_DB_H
#define ROLLCALL_TESTS_SNAPSHOTS_FAKE_DB_H

#include "raft/base/bytes.h"

#define FAKE_KEYS 64

struct fake_text {
    uint8_t *at;
    size_t len;
};

struct fake_field {
    struct fake_text name, value; /* a removed one has no name.at */
};

struct fake_hash {
    struct fake_text key; /* key.at NULL: no such key */
    size_t count;         /* fields that are there */
    size_t used, places;  /* of `field`, removed ones included */
    struct fake_field *field;
    size_t *index; /* open addressing, 2 × places; 1 + place in `field` */
};

struct fake_db {
    struct fake_hash hash[FAKE_KEYS];
};

struct fake_text fake_text_of(struct bytes bytes);
struct bytes fake_text_bytes(const struct fake_text *text);

void fake_db_clear(struct fake_db *db);
/* `to` is overwritten, and cleared by its owner. */
void fake_db_copy(struct fake_db *to, const struct fake_db *from);

/* NULL where there is no such key. */
struct fake_hash *fake_db_find(struct fake_db *db, struct bytes key);
/* True when the key was there. */
bool fake_db_unlink(struct fake_db *db, struct bytes key);
bool fake_db_rename(struct fake_db *db, struct bytes from, struct bytes to);
void fake_db_set(struct fake_db *db, struct bytes key, struct bytes field, struct bytes value);
bool fake_db_delete(struct fake_db *db, struct bytes key, struct bytes field);
/* False where there is no such key or field. */
bool fake_db_get(struct fake_db *db, struct bytes key, struct bytes field, struct bytes *ret_value);

#endif
