#include "tests/snapshots/fake_db.h"

#include <stdlib.h>
#include <string.h>

struct fake_text fake_text_of(struct bytes bytes)
{
    struct fake_text text = {.at = malloc(bytes.len + 1), .len = bytes.len};
    assert(text.at != NULL);
    if (bytes.len > 0)
        memcpy(text.at, bytes.at, bytes.len);
    return text;
}

struct bytes fake_text_bytes(const struct fake_text *text)
{
    return bytes_of(text->at, text->len);
}

static void free_hash(struct fake_hash *hash)
{
    for (size_t i = 0; i < hash->used; i++) {
        free(hash->field[i].name.at);
        free(hash->field[i].value.at);
    }
    free(hash->field);
    free(hash->index);
    free(hash->key.at);
    *hash = (struct fake_hash){.count = 0};
}

void fake_db_clear(struct fake_db *db)
{
    for (int i = 0; i < FAKE_KEYS; i++)
        free_hash(&db->hash[i]);
}

struct fake_hash *fake_db_find(struct fake_db *db, struct bytes key)
{
    for (int i = 0; i < FAKE_KEYS; i++) {
        struct fake_hash *hash = &db->hash[i];
        if (hash->key.at != NULL && bytes_equal(fake_text_bytes(&hash->key), key))
            return hash;
    }
    return NULL;
}

static size_t hash_of(struct bytes text)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ text.at[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

/* Where the field is in `index`, or would be. */
static size_t index_of(const struct fake_hash *hash, struct bytes name)
{
    size_t mask = 2 * hash->places - 1;
    size_t i = hash_of(name) & mask;
    for (; hash->index[i] != 0; i = (i + 1) & mask) {
        const struct fake_field *field = &hash->field[hash->index[i] - 1];
        if (field->name.at != NULL && bytes_equal(fake_text_bytes(&field->name), name))
            return i;
    }
    return i;
}

/* Room for one more; what was removed goes for good. */
static void make_room(struct fake_hash *hash)
{
    if (hash->used < hash->places)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < hash->used; i++) {
        if (hash->field[i].name.at != NULL)
            hash->field[kept++] = hash->field[i];
    }
    hash->used = kept;
    hash->places = 8;
    while (hash->places < 2 * kept + 2)
        hash->places *= 2;
    hash->field = realloc(hash->field, hash->places * sizeof(*hash->field));
    free(hash->index);
    hash->index = calloc(2 * hash->places, sizeof(*hash->index));
    assert(hash->field != NULL && hash->index != NULL);
    for (size_t i = 0; i < kept; i++)
        hash->index[index_of(hash, fake_text_bytes(&hash->field[i].name))] = i + 1;
}

static struct fake_hash *find_or_make(struct fake_db *db, struct bytes key)
{
    struct fake_hash *hash = fake_db_find(db, key);
    for (int i = 0; hash == NULL; i++) {
        assert(i < FAKE_KEYS);
        if (db->hash[i].key.at == NULL) {
            hash = &db->hash[i];
            hash->key = fake_text_of(key);
        }
    }
    return hash;
}

void fake_db_set(struct fake_db *db, struct bytes key, struct bytes name, struct bytes value)
{
    struct fake_hash *hash = find_or_make(db, key);
    make_room(hash);
    size_t i = index_of(hash, name);
    if (hash->index[i] != 0) {
        struct fake_field *field = &hash->field[hash->index[i] - 1];
        free(field->value.at);
        field->value = fake_text_of(value);
        return;
    }
    hash->field[hash->used] =
        (struct fake_field){.name = fake_text_of(name), .value = fake_text_of(value)};
    hash->index[i] = ++hash->used;
    hash->count++;
}

bool fake_db_get(struct fake_db *db, struct bytes key, struct bytes name, struct bytes *ret_value)
{
    struct fake_hash *hash = fake_db_find(db, key);
    if (hash == NULL)
        return false;
    size_t i = index_of(hash, name);
    if (hash->index[i] == 0)
        return false;
    *ret_value = fake_text_bytes(&hash->field[hash->index[i] - 1].value);
    return true;
}

bool fake_db_unlink(struct fake_db *db, struct bytes key)
{
    struct fake_hash *hash = fake_db_find(db, key);
    if (hash == NULL)
        return false;
    free_hash(hash);
    return true;
}

/* A hash without fields is no key any more, as in Redis. */
bool fake_db_delete(struct fake_db *db, struct bytes key, struct bytes name)
{
    struct fake_hash *hash = fake_db_find(db, key);
    if (hash == NULL)
        return false;
    size_t i = index_of(hash, name);
    if (hash->index[i] == 0)
        return false;
    struct fake_field *field = &hash->field[hash->index[i] - 1];
    free(field->name.at);
    free(field->value.at);
    *field = (struct fake_field){.name = {.at = NULL}};
    if (--hash->count == 0)
        free_hash(hash);
    return true;
}

bool fake_db_rename(struct fake_db *db, struct bytes from, struct bytes to)
{
    struct fake_hash *hash = fake_db_find(db, from);
    if (hash == NULL)
        return false;
    (void)fake_db_unlink(db, to);
    free(hash->key.at);
    hash->key = fake_text_of(to);
    return true;
}

void fake_db_copy(struct fake_db *to, const struct fake_db *from)
{
    struct fake_db copy = {.hash = {{.count = 0}}};
    for (int i = 0; i < FAKE_KEYS; i++) {
        const struct fake_hash *hash = &from->hash[i];
        for (size_t j = 0; j < hash->used; j++) {
            const struct fake_field *field = &hash->field[j];
            if (field->name.at != NULL)
                fake_db_set(&copy, fake_text_bytes(&hash->key), fake_text_bytes(&field->name),
                            fake_text_bytes(&field->value));
        }
    }
    fake_db_clear(to);
    *to = copy;
}
