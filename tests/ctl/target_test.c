/* Files of rollcallctl: whole or not there, and nothing else is written. */
#include "raft/ctl/target.h"
#include "tests/users/support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/rollcall-target-XXXXXX";

static void enter(void)
{
    must(mkdtemp(directory) != NULL && chdir(directory) == 0);
}

static void leave(void)
{
    for (;;) {
        struct dirent *entry;
        DIR *folder = opendir(directory);
        must(folder != NULL);
        do
            entry = readdir(folder);
        while (entry != NULL &&
               (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
        if (entry != NULL)
            must(remove(entry->d_name) == 0);
        closedir(folder);
        if (entry == NULL)
            break;
    }
    must(rmdir(directory) == 0);
}

TestSuite(target, .init = enter, .fini = leave);

static int put(const char *path, const char *text)
{
    struct target target;
    int result = target_open(&target, path);
    if (result == 0)
        result = target_write(&target, bytes_of_text(text));
    return result == 0 ? target_finish(&target) : result;
}

static const char *contents(const char *path)
{
    static char text[64];
    memset(text, 0, sizeof(text));
    int file = open(path, O_RDONLY);
    must(file >= 0 && read(file, text, sizeof(text) - 1) >= 0);
    close(file);
    return text;
}

static void make(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT, 0644);
    must(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
    close(file);
}

Test(target, replaces_an_older_file_whole_and_keeps_it_private)
{
    struct stat stat_of;
    make("file", "older and longer");
    cr_assert(eq(int, put("file", "new"), 0));
    cr_assert(eq(str, (char *)contents("file"), "new"));
    must(stat("file", &stat_of) == 0);
    cr_assert(eq(uint, stat_of.st_mode & 0777u, 0600));
    struct target target;
    cr_assert(eq(int, target_open(&target, "file"), 0));
    target_abandon(&target);
    cr_assert(eq(str, (char *)contents("file"), "new"));
    must(unlink("file") == 0 && chdir("/") == 0);
    cr_assert(eq(int, rmdir(directory), 0), "it leaves something behind");
    must(mkdir(directory, 0700) == 0 && chdir(directory) == 0);
}

Test(target, writes_through_nothing_that_somebody_else_put_there)
{
    make("victim", "mine");
    must(symlink("victim", "file.tmp") == 0 && symlink("victim", "link") == 0);
    cr_assert(eq(int, put("file", "new"), 0));
    cr_assert(eq(int, put("link", "new"), -EMLINK));
    cr_assert(eq(str, (char *)contents("victim"), "mine"));
    cr_assert(eq(str, (char *)contents("file.tmp"), "mine"));
    must(mkfifo("pipe", 0600) == 0 && mkdir("folder", 0700) == 0);
    cr_assert(eq(int, put("pipe", "new"), -EMLINK));
    cr_assert(eq(int, put("/dev/null", "new"), -EMLINK));
    cr_assert(eq(int, put("folder", "new"), -EISDIR));
    cr_assert(eq(int, put("folder/", "new"), -EISDIR));
    cr_assert(eq(int, put("nowhere/file", "new"), -ENOENT));
    must(symlink("nowhere", "dangling") == 0);
    cr_assert(eq(int, put("dangling", "new"), -EMLINK));
    /* It became a link while the file was written. */
    struct target target;
    must(unlink("file") == 0);
    cr_assert(eq(int, target_open(&target, "file"), 0));
    must(symlink("victim", "file") == 0);
    cr_assert(eq(int, target_finish(&target), -EMLINK));
    cr_assert(eq(str, (char *)contents("victim"), "mine"));
}

Test(target, is_standard_output_when_that_is_asked_for)
{
    int ends[2], before = dup(STDOUT_FILENO);
    char text[8] = "";
    fflush(stdout);
    must(pipe(ends) == 0 && dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO);
    int result = put("-", "new");
    must(dup2(before, STDOUT_FILENO) == STDOUT_FILENO);
    cr_assert(eq(int, result, 0));
    must(read(ends[0], text, sizeof(text)) == 3);
    cr_assert(eq(str, text, "new"));
}
