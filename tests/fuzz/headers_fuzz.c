/*
 * What a client writes into header fields: conditions and a key. What is
 * taken must fit a command that decodes to itself, and be taken again when it is written as we
 * write it. The worker's own sources are compiled in, since the fuzzers are linked with nothing of
 * app/; something simpler stands in for SHA-256.
 */
#include "app/idempotency.c" /* NOLINT(bugprone-suspicious-include) */
#define skip_blanks skip_blanks_of_conditions
#include "app/preconditions.c" /* NOLINT(bugprone-suspicious-include) */
#undef skip_blanks

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not what it is called; but the same for the same bytes, each of which it reads. */
void digest_sha256(struct bytes bytes, uint8_t ret_digest[static DIGEST_BYTES])
{
    memset(ret_digest, 0, DIGEST_BYTES);
    for (size_t i = 0; i < bytes.len; i++)
        ret_digest[i % DIGEST_BYTES] = (uint8_t)(ret_digest[i % DIGEST_BYTES] * 31 + bytes.at[i]);
}

static void must(bool good)
{
    if (!good)
        abort();
}

/* Up to the next newline, as a string of its own; NULL at the end. */
static char *next_line(struct reader *in)
{
    if (reader_left(in) == 0)
        return NULL;
    const uint8_t *end = memchr(in->at, '\n', reader_left(in));
    size_t len = end != NULL ? (size_t)(end - in->at) : reader_left(in);
    char *line = malloc(len + 1);
    must(line != NULL);
    memcpy(line, in->at, len);
    line[len] = '\0';
    in->at += len + (end != NULL);
    return line;
}

static void add_line(struct request_lines *lines, const char *line)
{
    if (lines->count < REQUEST_LINES_MAX)
        lines->line[lines->count++] = line;
}

/* A list of the tags that were found is read as the same list. */
static void expect_again(const struct condition *condition)
{
    static char text[CONDITION_TAGS_MAX * 24 + 1];
    uint8_t tags[PRECONDITIONS_BYTES];
    struct writer out = writer_of(text, sizeof(text) - 1);
    struct reader in = reader_of(condition->tags);
    if (condition->kind != CONDITION_LIST)
        return;
    while (reader_left(&in) > 0) {
        put_text(&out, "\"");
        put_decimal(&out, get_u64(&in));
        put_text(&out, "\",");
    }
    must(!out.bad);
    text[writer_len(&out)] = '\0';
    struct request request = {.if_match = {.count = 1, .line = {text}}};
    struct preconditions again;
    must(preconditions_read(&request, tags, &again) == NULL);
    must(bytes_equal(again.if_match.tags, condition->tags));
}

static void read_all(const struct request *request)
{
    static uint8_t tags[PRECONDITIONS_BYTES], encoded[USERS_COMMAND_BYTES_MAX];
    static const uint8_t scope[IDEMPOTENCY_SCOPE_BYTES];
    struct preconditions found;
    struct users_command command = {.kind = USERS_DELETE, .delete = {.id = 1}}, back;
    if (preconditions_read(request, tags, &found) != NULL)
        return;
    expect_again(&found.if_match);
    expect_again(&found.if_none_match);
    command.keyed =
        request->idempotency_key != NULL && idempotency_read(request, scope, &command.key) == NULL;
    command.if_match = found.if_match;
    command.if_none_match = found.if_none_match;
    struct writer out = writer_of(encoded, sizeof(encoded));
    users_command_put(&out, &command);
    must(!out.bad && users_command_decode(writer_bytes(&out), &back) == 0);
    must(back.keyed == command.keyed && back.if_match.kind == found.if_match.kind);
    must(bytes_equal(back.if_none_match.tags, found.if_none_match.tags));
}

/* A line each: the key, then If-Match and If-None-Match in turn. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(bytes_of(data, size));
    struct request request = {.method = METHOD_PATCH, .path = bytes_of_text("/users/1")};
    char *lines[1 + 2 * REQUEST_LINES_MAX] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        lines[i] = next_line(&in);
        if (lines[i] == NULL)
            break;
        if (i == 0)
            request.idempotency_key = lines[0];
        else
            add_line(i % 2 == 1 ? &request.if_match : &request.if_none_match, lines[i]);
    }
    read_all(&request);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        free(lines[i]);
    return 0;
}
