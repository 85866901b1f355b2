#include "tests/crash/image.h"

#include <string.h>

static struct image_name *find(const struct image *image, const char *name)
{
    for (int i = 0; i < image->names; i++) {
        if (strcmp(image->name[i].text, name) == 0)
            return (struct image_name *)&image->name[i];
    }
    return NULL;
}

int image_find(const struct image *image, const char *name)
{
    const struct image_name *found = find(image, name);
    return found != NULL ? found->file : -1;
}

void image_name(struct image *image, const char *name, int file)
{
    struct image_name *found = find(image, name);
    if (file < 0) {
        if (found != NULL)
            *found = image->name[--image->names];
        return;
    }
    if (found == NULL) {
        assert(image->names < IMAGE_FILES && strlen(name) < IMAGE_NAME_BYTES);
        found = &image->name[image->names++];
        memset(found, 0, sizeof(*found));
        memcpy(found->text, name, strlen(name));
    }
    found->file = file;
}

void image_grow(struct image *image, int file, uint64_t size)
{
    struct image_file *f = &image->file[file];
    assert(size <= IMAGE_FILE_BYTES);
    if (size <= f->size)
        return;
    memset(f->bytes + f->size, 0, size - f->size);
    f->size = size;
}

void image_write(struct image *image, int file, uint64_t offset, const uint8_t *bytes, size_t len)
{
    image_grow(image, file, offset + len);
    memcpy(image->file[file].bytes + offset, bytes, len);
}

static void copy_file(struct image_file *to, const struct image_file *from)
{
    to->size = from->size;
    memcpy(to->bytes, from->bytes, from->size);
}

void image_copy(struct image *to, const struct image *from)
{
    to->files = from->files;
    to->names = from->names;
    memcpy(to->name, from->name, sizeof(from->name));
    for (int i = 0; i < from->files; i++)
        copy_file(&to->file[i], &from->file[i]);
}

void image_copy_named(struct image *to, const struct image *from)
{
    int number[IMAGE_FILES]; /* in the copy */
    memset(number, -1, sizeof(number));
    to->files = 0;
    to->names = from->names;
    for (int i = 0; i < from->names; i++) {
        int file = from->name[i].file;
        if (number[file] < 0) {
            number[file] = to->files++;
            copy_file(&to->file[number[file]], &from->file[file]);
        }
        to->name[i] = from->name[i];
        to->name[i].file = number[file];
    }
}

/* Four lanes of multiplications: images are hashed far more often than they are opened. */
static uint64_t hash_bytes(const uint8_t *bytes, uint64_t len)
{
    uint64_t lane[4] = {len, 1, 2, 3};
    uint64_t at = 0;
    for (; at + 32 <= len; at += 32) {
        for (uint64_t i = 0; i < 4; i++) {
            uint64_t word;
            memcpy(&word, bytes + at + 8 * i, 8);
            lane[i] = (lane[i] ^ word) * 0x9e3779b97f4a7c15u;
            lane[i] ^= lane[i] >> 29;
        }
    }
    for (; at < len; at++)
        lane[at % 4] = (lane[at % 4] ^ bytes[at]) * 0x94d049bb133111ebu;
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++) {
        hash = (hash ^ lane[i] ^ (lane[i] >> 32)) * 0xbf58476d1ce4e5b9u;
        hash ^= hash >> 31;
    }
    return hash;
}

uint64_t image_hash(const struct image *image, struct image_hashes *hashes)
{
    uint64_t sum = 0;
    for (int i = 0; i < image->names; i++) {
        const struct image_name *name = &image->name[i];
        const struct image_file *file = &image->file[name->file];
        if (!hashes->known[name->file]) {
            hashes->known[name->file] = true;
            hashes->file[name->file] = hash_bytes(file->bytes, file->size);
        }
        uint64_t both[2] = {hash_bytes((const uint8_t *)name->text, strlen(name->text)),
                            hashes->file[name->file]};
        sum += hash_bytes((const uint8_t *)both, sizeof(both)); /* names have no order */
    }
    return sum;
}
