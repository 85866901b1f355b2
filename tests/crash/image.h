/*
 * What a directory holds at one moment: names, and the bytes behind them.
 *
 * Files are numbers; several names may stand for one file (a rename of which half is on disk), and
 * a file may have none. Of the bytes only those below a file's size mean anything.
 */
#ifndef ROLLCALL_TESTS_CRASH_IMAGE_H
#define ROLLCALL_TESTS_CRASH_IMAGE_H

#include "raft/base/attr.h"

#define IMAGE_FILES      48
#define IMAGE_FILE_BYTES 16384u
#define IMAGE_NAME_BYTES 24u

struct image_name {
    char text[IMAGE_NAME_BYTES];
    int file;
};

struct image_file {
    uint64_t size;
    uint8_t bytes[IMAGE_FILE_BYTES];
};

struct image {
    int files, names;
    struct image_name name[IMAGE_FILES];
    struct image_file file[IMAGE_FILES];
};

/* What each file's bytes add to the hash of an image; of use while they do not change. */
struct image_hashes {
    bool known[IMAGE_FILES];
    uint64_t file[IMAGE_FILES];
};

/* The file of that name, -1 where there is none. */
int image_find(const struct image *image, const char *name);
/* From now on the name stands for `file`; for none where that is -1. */
void image_name(struct image *image, const char *name, int file);
/* The file is at least so long, with zeros where it was shorter. */
void image_grow(struct image *image, int file, uint64_t size);
void image_write(struct image *image, int file, uint64_t offset, const uint8_t *bytes, size_t len);

void image_copy(struct image *to, const struct image *from);
/* The same without files that have no name. */
void image_copy_named(struct image *to, const struct image *from);

/* The same for images that nobody can tell apart by names, sizes and bytes. */
uint64_t image_hash(const struct image *image, struct image_hashes *hashes);

#endif
