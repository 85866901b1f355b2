/*
 * The reference's recorded answers, parity.txt, through the front and through a node's own nginx.
 * After every row GET /users must show what the rows so far have created, and nothing else.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *name;
    struct request request;
    char path[9000];
    char body[1024];
    char creates[512]; /* the name as JSON */
    const char *status, *allow;
};

/* What the directory must hold: the text of GET /users, and how many there are. */
struct directory {
    char json[65536];
    int users;
};

/* "%XX" and "%(c*count)", to bytes; a NUL is put behind them. */
static size_t unescape(const char *in, char *out, size_t room)
{
    size_t len = 0;

    while (*in != '\0') {
        char c = *in;
        int count = 1, used = 1;
        unsigned byte;

        if (sscanf(in, "%%(%c*%d)%n", &c, &count, &used) == 2) {
            /* so many of one */
        } else if (sscanf(in, "%%%2x%n", &byte, &used) == 1) {
            c = (char)byte;
        }
        cr_assert_lt(len + (size_t)count, room);
        memset(out + len, c, (size_t)count);
        len += (size_t)count;
        in += used;
    }
    out[len] = '\0';
    return len;
}

/* Cuts the next column off the line, without the spaces that align it. */
static char *column(char **line, const char *separator)
{
    char *start = *line, *end = strstr(start, separator);

    *line = end != NULL ? end + strlen(separator) : start + strlen(start);
    if (end != NULL)
        *end = '\0';
    for (size_t len = strlen(start); len > 0 && start[len - 1] == ' '; len--)
        start[len - 1] = '\0';
    return start;
}

/* The row points into the line, which it cuts up. */
static void row_read(char *line, struct row *row)
{
    char *path, *headers, *body, *what;
    size_t count = 0;

    *row = (struct row){0};
    line[strcspn(line, "\n")] = '\0';
    row->name = column(&line, " | ");
    path = column(&line, " | ");
    row->request.method = column(&path, " ");
    unescape(path, row->path, sizeof row->path);
    row->request.path = row->path;

    headers = column(&line, " | ");
    if (strcmp(headers, "json") == 0)
        row->request.headers[count++] = "Content-Type: application/json";
    else if (strcmp(headers, "-") != 0)
        while (*headers != '\0')
            row->request.headers[count++] = column(&headers, " & ");

    body = column(&line, " | ");
    if (strcmp(body, "-") != 0)
        row->request.body = bytes_of(row->body, unescape(body, row->body, sizeof row->body));

    row->status = column(&line, " ");
    what = line;
    if (strncmp(what, "Allow: ", 7) == 0)
        row->allow = what + 7;
    else
        unescape(what, row->creates, sizeof row->creates);
}

static void expect_users(int port, const struct row *row, const struct directory *directory)
{
    struct answer users = http_get(port, "/users");
    char expected[sizeof directory->json + 2];

    snprintf(expected, sizeof expected, "[%s]", directory->json);
    cr_expect_eq(users.status, 200, "%s: then GET /users gives %ld", row->name, users.status);
    cr_expect_str_eq(users.body, expected, "%s: then GET /users gives\n%s\nfor\n%s", row->name,
                     users.body, expected);
    answer_done(&users);
}

static void expect_created(const struct row *row, const struct answer *answer,
                           struct directory *directory)
{
    char expected[1024], location[64];
    size_t len = strlen(directory->json);

    directory->users++;
    snprintf(expected, sizeof expected, "{\"id\":%d,\"name\":%s}", directory->users, row->creates);
    snprintf(location, sizeof location, "/users/%d", directory->users);
    snprintf(directory->json + len, sizeof directory->json - len, "%s%s", len > 0 ? "," : "",
             expected);
    cr_expect_str_eq(answer->body, expected, "%s: %s for %s", row->name, answer->body, expected);
    cr_expect_str_eq(answer_header(answer, "Location"), location, "%s: Location", row->name);
    cr_expect_str_not_empty(answer_header(answer, "ETag"), "%s: no ETag", row->name);
}

static void expect_answer(const struct row *row, const struct answer *answer,
                          struct directory *directory)
{
    char status[16];

    snprintf(status, sizeof status, "%ld", answer->status);
    cr_expect_not_null(strstr(row->status, status), "%s: %s for %s, %s", row->name, status,
                       row->status, answer->body);
    if (answer->status == 201)
        expect_created(row, answer, directory);
    if (answer->status == 200 || answer->status == 201)
        cr_expect_str_eq(answer_header(answer, "Content-Type"), "application/json", "%s",
                         row->name);
    if (row->allow != NULL)
        cr_expect_str_eq(answer_header(answer, "Allow"), row->allow, "%s: Allow", row->name);
    if (answer->status >= 400) {
        char member[32];

        snprintf(member, sizeof member, "\"status\":%s,", status);
        cr_expect_str_eq(answer_header(answer, "Content-Type"), "application/problem+json", "%s",
                         row->name);
        cr_expect(strstr(answer->body, "\"type\":") != NULL &&
                      strstr(answer->body, member) != NULL &&
                      strstr(answer->body, "\"title\":") != NULL &&
                      strstr(answer->body, "\"detail\":") != NULL,
                  "%s: no problem: %s", row->name, answer->body);
    }
}

static int run_table(int port, struct directory *directory)
{
    FILE *table = fopen("tests/e2e/parity.txt", "re");
    char line[2048];
    int rows = 0;

    cr_assert_not_null(table);
    while (fgets(line, sizeof line, table) != NULL) {
        static struct row row;
        struct answer answer;

        if (line[0] == '#' || line[0] == '\n')
            continue;
        row_read(line, &row);
        answer = http_send(port, &row.request);
        expect_answer(&row, &answer, directory);
        answer_done(&answer);
        expect_users(port, &row, directory);
        rows++;
    }
    fclose(table);
    return rows;
}

Test(parity, every_recorded_answer_holds_through_front_and_node, .timeout = 120)
{
    static struct directory directory;
    struct stack stack = stack_start();
    struct row empty = {.name = "at first"};

    expect_users(stack.port, &empty, &directory);
    cr_assert_geq(run_table(stack.port, &directory), 82);
    cr_assert_geq(run_table(stack.port + 1, &directory), 82);
    stack_stop(&stack);
}
