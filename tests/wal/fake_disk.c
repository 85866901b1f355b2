#include "tests/wal/fake_disk.h"

#include "raft/wire/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

uint64_t fake_random(uint64_t *random)
{
    uint64_t z = (*random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static struct fake_disk *fake_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct fake_disk, disk);
}

/* Counts an operation; non-zero when it must not happen (or, at a crash, only in part). */
static int begin_operation(struct fake_disk *fake, const char *call, const char *name)
{
    if (fake->crashed)
        return -EIO;
    fake->operations++;
    if (fake->crash_at != 0 && fake->operations == fake->crash_at) {
        fake->crashed = true;
        return -EIO;
    }
    if (fake->fail_at == 0 || fake->operations != fake->fail_at)
        return 0;
    fake->failed_call = call;
    snprintf(fake->failed_name, sizeof(fake->failed_name), "%s", name);
    return fake->fail_error;
}

static const char *name_of(const struct fake_disk *fake, int file)
{
    for (int i = 0; i < fake->names; i++) {
        if (fake->name[i].file == file)
            return fake->name[i].name;
    }
    return "";
}

static void note_change(struct fake_disk *fake, const char *name)
{
    snprintf(fake->changed_name, sizeof(fake->changed_name), "%s", name);
}

static struct fake_name *find(struct fake_name *names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    }
    return NULL;
}

static void set_name(struct fake_name *names, int *count, const char *name, int file)
{
    struct fake_name *found = find(names, *count, name);
    if (file < 0) {
        if (found != NULL)
            *found = names[--*count];
        return;
    }
    if (found == NULL) {
        assert(*count < FAKE_FILES);
        found = &names[(*count)++];
        assert(strlen(name) < sizeof(found->name));
        memcpy(found->name, name, strlen(name) + 1);
    }
    found->file = file;
}

static void change(struct fake_disk *fake, const char *name, int file)
{
    assert(fake->changes < FAKE_CHANGES);
    struct fake_name *c = &fake->change[fake->changes++];
    memset(c, 0, sizeof(*c));
    memcpy(c->name, name, strlen(name) + 1);
    c->file = file;
    set_name(fake->name, &fake->names, name, file);
}

static int fake_open(struct disk *disk, const char *name, bool create, int *ret_file)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_name *found = find(fake->name, fake->names, name);
    if (fake->crashed)
        return -EIO;
    if (found != NULL) {
        fake->file[found->file].direct = false; /* who had it open is dead, or reads it */
        *ret_file = found->file;
        return 0;
    }
    if (!create)
        return -ENOENT;
    int result = begin_operation(fake, "open", name);
    if (result != 0)
        return result;
    int file = 0;
    while (file < FAKE_FILES && fake->file[file].used)
        file++;
    assert(file < FAKE_FILES);
    fake->file[file] = (struct fake_file){.used = true};
    change(fake, name, file);
    *ret_file = file;
    return 0;
}

static int fake_close(struct disk *disk, int file)
{
    fake_of(disk)->file[file].direct = false;
    return 0;
}

static void fake_go_direct(struct disk *disk, int file)
{
    fake_of(disk)->file[file].direct = true;
}

static int fake_size(struct disk *disk, int file, uint64_t *ret_size)
{
    *ret_size = fake_of(disk)->file[file].now_size;
    return 0;
}

static int fake_read(struct disk *disk, int file, uint64_t offset, void *ret_bytes, size_t len)
{
    struct fake_file *f = &fake_of(disk)->file[file];
    if (fake_of(disk)->crashed)
        return -EIO;
    if (offset + len > f->now_size)
        return -ENODATA;
    memcpy(ret_bytes, f->now + offset, len);
    return 0;
}

static void grow(uint8_t **bytes, uint64_t *size, uint64_t wanted)
{
    if (wanted <= *size)
        return;
    *bytes = realloc(*bytes, wanted);
    memset(*bytes + *size, 0, wanted - *size);
    *size = wanted;
}

static int fake_write(struct disk *disk, int file, uint64_t offset, const void *bytes, size_t len)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_file *f = &fake->file[file];
    if (f->direct)
        assert((offset | len | (uintptr_t)bytes) % DISK_SECTOR_BYTES == 0);
    int result = begin_operation(fake, "write", name_of(fake, file));
    bool cut_short = fake->crashed && result != 0 && fake->operations == fake->crash_at;
    if (result != 0 && !cut_short)
        return result;
    uint64_t more = offset + len > f->now_size ? offset + len - f->now_size : 0;
    if (more > fake->room)
        return -ENOSPC;
    fake->room -= more;
    assert(fake->writes < FAKE_WRITES);
    struct fake_write *w = &fake->write[fake->writes++];
    *w = (struct fake_write){.file = file, .offset = offset, .len = len, .bytes = malloc(len + 1)};
    memcpy(w->bytes, bytes, len);
    grow(&f->now, &f->now_size, offset + len);
    memcpy(f->now + offset, bytes, len);
    return result;
}

static void apply_write(struct fake_disk *fake, const struct fake_write *w, uint64_t *random)
{
    struct fake_file *f = &fake->file[w->file];
    grow(&f->durable, &f->durable_size, w->offset + w->len);
    for (uint64_t at = 0; at < w->len;) {
        uint64_t place = w->offset + at;
        uint64_t len = SECTOR - place % SECTOR;
        if (len > w->len - at)
            len = w->len - at;
        if (random == NULL || fake_random(random) % 2 == 0)
            memcpy(f->durable + place, w->bytes + at, len);
        at += len;
    }
}

/* As Linux does: pages that could not be written are clean from then on, and still there. */
static void forget_writes(struct fake_disk *fake, int file)
{
    int kept = 0;
    for (int i = 0; i < fake->writes; i++) {
        if (fake->write[i].file == file)
            free(fake->write[i].bytes);
        else
            fake->write[kept++] = fake->write[i];
    }
    fake->writes = kept;
}

static int fake_sync(struct disk *disk, int file)
{
    struct fake_disk *fake = fake_of(disk);
    int result = begin_operation(fake, "sync", name_of(fake, file));
    fake->syncs++;
    if (result != 0 && fake->fail_forgets && !fake->crashed)
        forget_writes(fake, file);
    if (result != 0)
        return result;
    int kept = 0;
    for (int i = 0; i < fake->writes; i++) {
        if (fake->write[i].file != file) {
            fake->write[kept++] = fake->write[i];
            continue;
        }
        apply_write(fake, &fake->write[i], NULL);
        free(fake->write[i].bytes);
    }
    fake->writes = kept;
    return 0;
}

static int fake_rename(struct disk *disk, const char *from, const char *to)
{
    struct fake_disk *fake = fake_of(disk);
    int result = begin_operation(fake, "rename", from);
    if (result != 0)
        return result;
    note_change(fake, from);
    struct fake_name *found = find(fake->name, fake->names, from);
    if (found == NULL)
        return -ENOENT;
    int file = found->file;
    change(fake, to, file);
    change(fake, from, -1);
    return 0;
}

static int fake_remove(struct disk *disk, const char *name)
{
    struct fake_disk *fake = fake_of(disk);
    int result = begin_operation(fake, "remove", name);
    if (result != 0)
        return result;
    note_change(fake, name);
    struct fake_name *found = find(fake->name, fake->names, name);
    if (found == NULL)
        return -ENOENT;
    fake->room += fake->file[found->file].now_size;
    change(fake, name, -1);
    return 0;
}

/* Files without a name, now or after a crash, give their place to others. */
static void forget_nameless(struct fake_disk *fake)
{
    bool named[FAKE_FILES] = {false};
    for (int i = 0; i < fake->names; i++)
        named[fake->name[i].file] = true;
    for (int i = 0; i < fake->writes; i++)
        named[fake->write[i].file] = true;
    for (int i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &fake->file[i];
        if (named[i] || !file->used)
            continue;
        free(file->now);
        free(file->durable);
        *file = (struct fake_file){.used = false};
    }
}

static int fake_sync_directory(struct disk *disk)
{
    struct fake_disk *fake = fake_of(disk);
    int result = begin_operation(fake, "sync_directory", fake->changed_name);
    fake->syncs++;
    if (result != 0)
        return result;
    memcpy(fake->durable_name, fake->name, (size_t)fake->names * sizeof(fake->name[0]));
    fake->durable_names = fake->names;
    fake->changes = 0;
    forget_nameless(fake);
    return 0;
}

static int fake_list(struct disk *disk, int (*each)(void *context, const char *name), void *context)
{
    struct fake_disk *fake = fake_of(disk);
    for (int i = 0; i < fake->names; i++) {
        int result = each(context, fake->name[i].name);
        if (result != 0)
            return result;
    }
    return 0;
}

static const struct disk_ops fake_ops = {
    .open = fake_open,
    .close = fake_close,
    .go_direct = fake_go_direct,
    .size = fake_size,
    .read = fake_read,
    .write = fake_write,
    .sync = fake_sync,
    .rename = fake_rename,
    .remove = fake_remove,
    .sync_directory = fake_sync_directory,
    .list = fake_list,
};

void fake_disk_init(struct fake_disk *disk)
{
    memset(disk, 0, sizeof(*disk));
    disk->disk.ops = &fake_ops;
    disk->room = UINT64_MAX / 2;
}

void fake_disk_done(struct fake_disk *disk)
{
    for (int i = 0; i < FAKE_FILES; i++) {
        free(disk->file[i].now);
        free(disk->file[i].durable);
    }
    for (int i = 0; i < disk->writes; i++)
        free(disk->write[i].bytes);
    disk->writes = 0;
}

void fake_disk_copy(struct fake_disk *ret_copy, const struct fake_disk *from)
{
    fake_disk_init(ret_copy);
    ret_copy->room = from->room;
    ret_copy->names = ret_copy->durable_names = from->durable_names;
    memcpy(ret_copy->name, from->durable_name, sizeof(from->durable_name));
    memcpy(ret_copy->durable_name, from->durable_name, sizeof(from->durable_name));
    for (int i = 0; i < from->durable_names; i++) {
        const struct fake_file *file = &from->file[from->durable_name[i].file];
        struct fake_file *copy = &ret_copy->file[from->durable_name[i].file];
        copy->used = true;
        copy->now_size = copy->durable_size = file->durable_size;
        if (file->durable_size == 0)
            continue;
        copy->now = malloc((size_t)file->durable_size);
        copy->durable = malloc((size_t)file->durable_size);
        assert(copy->now != NULL && copy->durable != NULL);
        memcpy(copy->now, file->durable, (size_t)file->durable_size);
        memcpy(copy->durable, file->durable, (size_t)file->durable_size);
    }
}

void fake_disk_crash(struct fake_disk *disk, uint64_t *random)
{
    for (int i = 0; i < disk->writes; i++) {
        if (fake_random(random) % 4 != 0)
            apply_write(disk, &disk->write[i], random);
        free(disk->write[i].bytes);
    }
    disk->writes = 0;
    uint64_t kept = fake_random(random) % (uint64_t)(disk->changes + 1);
    for (uint64_t i = 0; i < kept; i++)
        set_name(disk->durable_name, &disk->durable_names, disk->change[i].name,
                 disk->change[i].file);
    disk->changes = 0;
    memcpy(disk->name, disk->durable_name, (size_t)disk->durable_names * sizeof(disk->name[0]));
    disk->names = disk->durable_names;
    forget_nameless(disk);
    for (int i = 0; i < FAKE_FILES; i++) {
        struct fake_file *f = &disk->file[i];
        if (f->used) {
            f->now = realloc(f->now, f->durable_size + 1);
            if (f->durable_size > 0)
                memcpy(f->now, f->durable, f->durable_size);
            f->now_size = f->durable_size;
            f->direct = false;
        }
    }
    disk->crashed = false;
    disk->crash_at = 0;
    disk->fail_at = 0;
}

uint8_t *fake_disk_bytes(struct fake_disk *disk, const char *name, uint64_t *ret_size)
{
    struct fake_name *found = find(disk->name, disk->names, name);
    if (found == NULL)
        return NULL;
    *ret_size = disk->file[found->file].now_size;
    return disk->file[found->file].now;
}

const uint8_t *fake_disk_durable(struct fake_disk *disk, const char *name, uint64_t *ret_size)
{
    struct fake_name *found = find(disk->durable_name, disk->durable_names, name);
    if (found == NULL)
        return NULL;
    *ret_size = disk->file[found->file].durable_size;
    return disk->file[found->file].durable;
}

/* --- rot -------------------------------------------------------------------------------------- */

void fake_disk_rot(struct fake_disk *disk, const char *name, uint64_t offset, uint64_t len,
                   uint64_t *random)
{
    struct fake_name *found = find(disk->name, disk->names, name);
    if (found == NULL)
        return;
    struct fake_file *f = &disk->file[found->file];
    for (uint64_t i = offset; i < offset + len && i < f->now_size; i++) {
        f->now[i] ^= (uint8_t)(1 + fake_random(random) % 255);
        if (i < f->durable_size)
            f->durable[i] = f->now[i];
    }
}

static void set_sector(struct fake_disk *disk, const char *name, uint64_t offset,
                       const uint8_t sector[SECTOR])
{
    struct fake_name *found = find(disk->name, disk->names, name);
    if (found == NULL || offset + SECTOR > disk->file[found->file].durable_size)
        return;
    struct fake_file *f = &disk->file[found->file];
    memcpy(f->now + offset, sector, SECTOR);
    memcpy(f->durable + offset, sector, SECTOR);
}

/* What a sector of a segment was made as, by the segment's name and first record. */
static void make_unused(const struct fake_file *file, const char *name, uint64_t offset,
                        uint8_t sector[SECTOR])
{
    struct record record = {.generation = 0};
    struct writer out = writer_of(sector, SECTOR);
    (void)record_head_get(bytes_of(file->now, SECTOR), &record);
    memset(sector, 0, SECTOR);
    record_unused_put(&out, record.generation, strtoull(name, NULL, 16), offset);
}

void fake_disk_misdirect(struct fake_disk *disk, const char *name, uint64_t offset,
                         const char *other, uint64_t other_offset)
{
    uint8_t sector[SECTOR], unused[SECTOR];
    struct fake_name *found = find(disk->name, disk->names, name);
    if (found == NULL || offset + SECTOR > disk->file[found->file].now_size)
        return;
    memcpy(sector, disk->file[found->file].now + offset, SECTOR);
    make_unused(&disk->file[found->file], name, offset, unused);
    set_sector(disk, name, offset, unused);
    set_sector(disk, other, other_offset, sector);
}

/* Nothing was written here since the segment was made. */
static bool is_unused(const uint8_t *sector)
{
    static const uint8_t zeros[8];
    return memcmp(sector, zeros, 8) == 0 || memcmp(sector, "not used", 8) == 0;
}

/* Segments are "….wal", of equal length: their names are in their order. */
static bool is_segment(const struct fake_disk *disk, const struct fake_name *name)
{
    size_t len = strlen(name->name);
    return len > 4 && strcmp(name->name + len - 4, ".wal") == 0 &&
           disk->file[name->file].durable_size >= SECTOR;
}

bool fake_disk_old_sector(struct fake_disk *disk, uint64_t random, char ret_name[32],
                          uint64_t *ret_offset)
{
    const struct fake_name *newest = NULL;
    for (int i = 0; i < disk->durable_names; i++) {
        const struct fake_name *name = &disk->durable_name[i];
        if (is_segment(disk, name) && !is_unused(disk->file[name->file].durable) &&
            (newest == NULL || strcmp(newest->name, name->name) < 0))
            newest = name;
    }
    for (int i = 0; i < disk->durable_names; i++) {
        const struct fake_name *name =
            &disk->durable_name[(random + (uint64_t)i) % (uint64_t)disk->durable_names];
        if (newest == NULL || !is_segment(disk, name) || strcmp(name->name, newest->name) >= 0)
            continue;
        const struct fake_file *f = &disk->file[name->file];
        uint64_t sector = (random >> 8) % (f->durable_size / SECTOR);
        if (is_unused(f->durable + sector * SECTOR))
            sector = 0;
        memcpy(ret_name, name->name, sizeof(name->name));
        *ret_offset = sector * SECTOR;
        return true;
    }
    return false;
}

/* --- runner ----------------------------------------------------------------------------------- */

static void fake_submit(struct runner *runner, enum runner_lane lane, struct job *job)
{
    struct fake_runner *fake = CONTAINER_OF(runner, struct fake_runner, runner);
    job->next = NULL;
    if (fake->first[lane] == NULL)
        fake->first[lane] = job;
    else
        fake->last[lane]->next = job;
    fake->last[lane] = job;
}

void fake_runner_init(struct fake_runner *runner)
{
    *runner = (struct fake_runner){.runner = {.submit = fake_submit}};
}

bool fake_runner_step(struct fake_runner *runner, enum runner_lane lane)
{
    struct job *job = runner->first[lane];
    if (job == NULL)
        return false;
    runner->first[lane] = job->next;
    job->run(job);
    job->done(job);
    return true;
}

void fake_runner_drain(struct fake_runner *runner)
{
    while (fake_runner_step(runner, RUNNER_LOG) || fake_runner_step(runner, RUNNER_HOUSEKEEPING))
        ;
}
