/* wal verify and wal dump: over logs that are good, torn and rotten; and nothing is written. */
#include "raft/ctl/ctl.h"
#include "raft/ctl/log.h"
#include "raft/wal/disk_posix.h"
#include "raft/wal/wal.h"
#include "tests/users/support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES       60u
#define SEGMENT_BYTES 16384u

/* --- a log ------------------------------------------------------------------------------------ */

static void run_now(struct runner *runner, enum runner_lane lane, struct job *job)
{
    (void)runner, (void)lane;
    job->run(job);
    job->done(job);
}

static void on_durable(void *context, struct raft_mark mark)
{
    (void)context, (void)mark;
}

static void on_failed(void *context, const char *what, int error)
{
    (void)context;
    cr_fatal("%s: %d", what, error);
}

static struct wal_options options_on(struct disk_posix *disk)
{
    static struct runner runner = {.submit = run_now};
    return (struct wal_options){
        .disk = &disk->disk,
        .runner = &runner,
        .node = 3,
        .cluster = "test",
        .alone = true,
        .generation = 77,
        .segment_bytes = SEGMENT_BYTES,
        .on_durable = on_durable,
        .on_failed = on_failed,
    };
}

static void append(struct wal *wal, uint64_t index)
{
    uint8_t at[USERS_REQUEST_BYTES_MAX];
    char name[300];
    snprintf(name, sizeof(name), "user-%03u-%0200u", (unsigned)index, 0);
    struct users_request request = create_request(index, bytes_of_text(name));
    struct writer out = writer_of(at, sizeof(at));
    users_request_put(&out, &request);
    wal_append(wal, (raft_index){index}, (raft_term){2}, RAFT_COMMAND, writer_bytes(&out));
    wal_flush(wal, true);
}

/* Several segments, with a TRUNCATE among them; its path is the caller's to remove. */
static void make_log(char path[64])
{
    struct disk_posix disk;
    struct wal *wal;
    struct wal_recovered recovered;
    snprintf(path, 64, "/tmp/rollcall-ctl-XXXXXX");
    must(mkdtemp(path) != NULL && disk_posix_open(&disk, path) == 0);
    struct wal_options options = options_on(&disk);
    must(wal_open(&options, &wal, &recovered) == 0);
    wal_hard_state(wal, &(struct raft_hard_state){.term = {2}, .voted = true, .vote = {3}});
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        if (i == 20) {
            wal_truncate(wal, (raft_index){15}, (raft_term){2});
            i = 15;
            append(wal, i);
            for (i++; i < 20; i++)
                append(wal, i);
        }
        append(wal, i);
    }
    wal_close(wal);
    disk_posix_close(&disk);
}

static void remove_log(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        (void)unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory != NULL)
        closedir(directory);
    (void)rmdir(path);
}

/* What a directory holds: names, bytes and times of change, in one number. */
static uint64_t sum_of(const char *path)
{
    static uint8_t bytes[1u << 24];
    DIR *directory = opendir(path);
    uint64_t sum = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat about;
        int file = openat(dirfd(directory), entry->d_name, O_RDONLY);
        if (entry->d_name[0] == '.')
            continue;
        must(file >= 0 && fstat(file, &about) == 0);
        ssize_t len = read(file, bytes, sizeof(bytes));
        uint64_t one = (uint64_t)about.st_mtim.tv_nsec * 31 + (uint64_t)about.st_mtim.tv_sec;
        for (const char *c = entry->d_name; *c != '\0'; c++)
            one = one * 1099511628211u + (uint8_t)*c;
        for (ssize_t i = 0; i < len; i++)
            one = one * 1099511628211u + bytes[i];
        sum += one;
        close(file);
    }
    closedir(directory);
    return sum;
}

static void poke(const char *path, const char *name, off_t offset, const void *bytes, size_t len)
{
    char whole[128];
    snprintf(whole, sizeof(whole), "%s/%s", path, name);
    int file = open(whole, O_WRONLY);
    must(file >= 0 && pwrite(file, bytes, len, offset) == (ssize_t)len);
    close(file);
}

/* --- what is said ----------------------------------------------------------------------------- */

static char said[1u << 20];

static enum ctl_exit run(enum ctl_exit (*command)(const struct ctl_arguments *arguments),
                         const char *path)
{
    static char name[] = "/tmp/rollcall-said-XXXXXX";
    static int file = -1;
    if (file < 0) {
        file = mkstemp(name);
        must(file >= 0 && unlink(name) == 0);
        must(freopen("/dev/null", "w", stderr) != NULL);
        must(dup2(file, STDOUT_FILENO) == STDOUT_FILENO);
    }
    must(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    struct ctl_arguments arguments = {.path = path};
    uint64_t before = access(path, F_OK) == 0 ? sum_of(path) : 0;
    enum ctl_exit code = command(&arguments);
    fflush(stdout);
    ssize_t len = pread(file, said, sizeof(said) - 1, 0);
    must(len >= 0);
    said[len] = '\0';
    must(before == (access(path, F_OK) == 0 ? sum_of(path) : 0));
    return code;
}

static bool says(const char *text)
{
    return strstr(said, text) != NULL;
}

static size_t lines_with(const char *text)
{
    size_t count = 0;
    for (const char *at = said; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

Test(wal_look, a_good_log_opens_and_every_record_is_dumped)
{
    char path[64];
    make_log(path);
    must(run(ctl_wal_verify, path) == CTL_DONE);
    must(says("verdict=opens") && says(" node=3 cluster=test term=2 vote=3 "));
    must(says(" start=0 last=60 entries=60 commands=60 cut_bytes=0"));
    must(run(ctl_wal_dump, path) == CTL_DONE);
    must(lines_with("type=entry") == ENTRIES + 5 && lines_with("type=truncate") == 1);
    must(lines_with("type=segment") > 1 && says(" damages=0"));
    must(says("kind=command request=") && says("USERS_CREATE name=\"user-001-00") && says("…"));
    must(lines_with("hardstate block=") == 4);
    remove_log(path);
}

/* Where a dump that was just made says that this entry is: the file's name is returned. */
static const char *find_in_dump(const char *index, unsigned long *ret_offset)
{
    static char name[32];
    unsigned long segment = 0;
    const char *at = strstr(said, index);
    must(at != NULL);
    while (*at != '\n')
        at--;
    must(sscanf(at, "\n%lx.wal offset=%lu", &segment, ret_offset) == 2);
    snprintf(name, sizeof(name), "%016lx.wal", segment);
    return name;
}

Test(wal_look, a_torn_tail_would_be_cut_and_is_left_alone)
{
    char path[64];
    make_log(path);
    must(run(ctl_wal_dump, path) == CTL_DONE);
    unsigned long offset = 0;
    const char *name = find_in_dump("index=60 ", &offset);
    poke(path, name, (off_t)offset + 100, "torn", 4);
    must(run(ctl_wal_verify, path) == CTL_DONE);
    must(says("verdict=opens") && says(" last=59 ") && !says("cut_bytes=0") &&
         says(" is cut at offset "));
    must(run(ctl_wal_dump, path) == CTL_DAMAGED);
    must(lines_with("damaged_bytes=") == 1 && lines_with("type=entry") == ENTRIES + 4);
    remove_log(path);
}

Test(wal_look, rot_is_named_by_file_offset_and_index_and_what_follows_is_dumped)
{
    char path[64];
    make_log(path);
    must(run(ctl_wal_dump, path) == CTL_DONE);
    unsigned long offset = 0;
    const char *name = find_in_dump("index=7 ", &offset);
    char where[64];
    snprintf(where, sizeof(where), "%s is damaged at offset %lu", name, offset);
    poke(path, name, (off_t)offset + 70, "rot", 3);
    must(run(ctl_wal_verify, path) == CTL_DAMAGED);
    must(says("verdict=refused") && says(where) && says("entry 7") && says("restore"));
    must(says(" member=opens start=0 last=60 holes=1 recovering=0"));
    must(run(ctl_wal_dump, path) == CTL_DAMAGED);
    snprintf(where, sizeof(where), "%s offset=%lu damaged_bytes=", name, offset);
    must(says(where));
    must(lines_with("type=entry") == ENTRIES + 4 && says("index=60 "));
    must(says("astray=\"not the next in sequence\""));
    remove_log(path);
}

Test(wal_look, what_is_missing_is_said)
{
    char path[64], name[128];
    make_log(path);
    snprintf(name, sizeof(name), "%s/0000000000000002.wal", path);
    must(unlink(name) == 0);
    must(run(ctl_wal_verify, path) == CTL_DAMAGED && says("missing"));
    must(run(ctl_wal_dump, path) == CTL_DAMAGED && says("missing_segments=1"));
    remove_log(path);
    make_log(path);
    snprintf(name, sizeof(name), "%s/hardstate", path);
    must(unlink(name) == 0);
    must(run(ctl_wal_verify, path) == CTL_DAMAGED && says("hardstate is missing"));
    must(run(ctl_wal_dump, path) == CTL_DAMAGED && says("hardstate unreadable"));
    remove_log(path);
}

Test(wal_look, a_directory_without_a_log_is_empty_and_none_is_a_failure)
{
    char path[] = "/tmp/rollcall-ctl-XXXXXX";
    must(mkdtemp(path) != NULL);
    must(run(ctl_wal_verify, path) == CTL_DONE && says("verdict=empty"));
    must(run(ctl_wal_dump, path) == CTL_DAMAGED && says("hardstate unreadable"));
    must(rmdir(path) == 0);
    must(run(ctl_wal_verify, path) == CTL_FAILED);
    must(run(ctl_wal_dump, path) == CTL_FAILED);
}

Test(wal_look, beside_a_node_says_who_runs)
{
    char path[64];
    struct disk_posix disk;
    make_log(path);
    must(overlay_holder(path) == 0);
    must(disk_posix_open(&disk, path) == 0);
    must(overlay_holder(path) == getpid());
    must(run(ctl_wal_verify, path) == CTL_DONE && says("verdict=opens"));
    disk_posix_close(&disk);
    must(overlay_holder(path) == 0);
    remove_log(path);
}

/* --- damage by lot ---------------------------------------------------------------------------- */

/* What the node itself would say; it may change the log. */
static int opened(const char *path, struct wal_recovered *ret_recovered)
{
    struct disk_posix disk;
    struct wal *wal = NULL;
    must(disk_posix_open(&disk, path) == 0);
    struct wal_options options = options_on(&disk);
    int result = wal_open(&options, &wal, ret_recovered);
    if (result == 0)
        wal_close(wal);
    disk_posix_close(&disk);
    return result;
}

static void damage(const char *path, struct chance *chance)
{
    static const char *const names[] = {"0000000000000001.wal", "0000000000000002.wal",
                                        "0000000000000003.wal", "hardstate"};
    char whole[128];
    static const uint8_t zeros[512];
    uint8_t random[24];
    for (uint64_t count = 1 + chance_below(chance, 3); count > 0; count--) {
        const char *name = names[chance_below(chance, ARRAY_LEN(names))];
        off_t offset = (off_t)chance_below(chance, SEGMENT_BYTES - 512);
        for (size_t i = 0; i < sizeof(random); i++)
            random[i] = (uint8_t)chance_u64(chance);
        snprintf(whole, sizeof(whole), "%s/%s", path, name);
        switch (chance_below(chance, 4)) {
        case 0:
            poke(path, name, offset / 512 * 512, zeros, sizeof(zeros));
            break;
        case 1:
            (void)!truncate(whole, offset);
            break;
        case 2:
            poke(path, name, offset / 8 * 8, "\1\2\3\4RWAL", 8); /* looks like one */
            break;
        default:
            poke(path, name, offset, random, sizeof(random));
        }
    }
}

Test(wal_look, whatever_is_damaged_verify_says_what_the_node_would_and_dump_survives,
     .timeout = 120)
{
    struct chance chance = {5};
    for (int i = 0; i < 150; i++) {
        char path[64];
        struct wal_recovered recovered;
        make_log(path);
        damage(path, &chance);
        enum ctl_exit dumped = run(ctl_wal_dump, path);
        must((dumped == CTL_DONE || dumped == CTL_DAMAGED) && says("segments="));
        enum ctl_exit verified = run(ctl_wal_verify, path);
        int result = opened(path, &recovered);
        if ((verified == CTL_DONE) != (result == 0))
            cr_fatal("round %d: verify says %d (%s), the node %d (%s)", i, verified, said, result,
                     recovered.text);
        char last[64];
        snprintf(last, sizeof(last), " last=%lu ", (unsigned long)recovered.last.n);
        must(result != 0 || says(last));
        remove_log(path);
    }
}
