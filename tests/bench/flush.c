/*
 * What the disk asks for one lone write: pwrite of a few bytes and fdatasync, again and again,
 * through a file that was written with zeros before. The floor under every durable write.
 *
 *     flush --file PATH [--bytes 128] [--ms 1000]
 *
 * The file stays, so that rounds of one run pay for its zeros once.
 */
#include "tests/bench/samples.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES (16u << 20)

static int open_filled(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    struct stat info;
    if (fstat(fd, &info) != 0)
        die(path);
    if (info.st_size == FILE_BYTES)
        return fd;
    static const uint8_t zeros[1u << 20];
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += (off_t)sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
            die(path);
    if (fsync(fd) != 0)
        die(path);
    return fd;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"bytes", required_argument, NULL, 'b'},
        {"ms", required_argument, NULL, 'm'},
        {0},
    };
    const char *path = NULL;
    size_t write_bytes = 128;
    uint64_t run_ms = 1000;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'f')
            path = optarg;
        else if (option == 'b')
            write_bytes = (size_t)number_option("bytes", optarg, 1, 1u << 20);
        else if (option == 'm')
            run_ms = number_option("ms", optarg, 1, 600000);
        else
            return 2;
    }
    if (path == NULL) {
        fputs("flush: --file is missing\n", stderr);
        return 2;
    }

    int fd = open_filled(path);
    uint8_t *payload = malloc(write_bytes);
    if (payload == NULL)
        die("malloc");
    memset(payload, 0x5a, write_bytes);
    struct samples samples = {0};
    off_t at = 0;
    uint64_t begin_ns = now_ns();
    uint64_t end_ns = begin_ns + run_ms * 1000000u;
    for (uint64_t before_ns = begin_ns; before_ns < end_ns;) {
        payload[0]++;
        if (pwrite(fd, payload, write_bytes, at) != (ssize_t)write_bytes || fdatasync(fd) != 0)
            die(path);
        uint64_t after_ns = now_ns();
        samples_add(&samples, after_ns - before_ns);
        before_ns = after_ns;
        at += (off_t)write_bytes;
        if (at + (off_t)write_bytes > (off_t)FILE_BYTES)
            at = 0;
    }
    printf("bytes=%zu", write_bytes);
    samples_print(&samples, "");
    putchar('\n');
    samples_done(&samples);
    free(payload);
    close(fd);
    return 0;
}
