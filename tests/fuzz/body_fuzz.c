/*
 * Bodies: a user or a patch that is taken is within its limits, and is taken again as the same when
 * it is written as we write it. The worker's own source is compiled in.
 */
#include "app/body.c" /* NOLINT(bugprone-suspicious-include) */

#include "raft/users/user_json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static void expect_again(const struct body_user *user)
{
    static uint8_t json[USER_JSON_BYTES_MAX];
    struct writer out = writer_of(json, sizeof(json));
    struct body_text text;
    struct body_user again;
    struct body_fault fault;
    user_json_put(&out, &(struct user){.id = 1, .texts = user->texts});
    must(!out.bad && body_read_user(writer_bytes(&out), &text, &again, &fault) == 0);
    must(user_texts_equal(&again.texts, &user->texts));
}

static void expect_limits(const struct body_user *user)
{
    must(user_texts_valid(&user->texts));
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        must(json_utf8_valid(user->texts.at[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* so that the sanitizer sees a read beyond the end */
    must(copy != NULL);
    memcpy(copy, data, size);
    struct bytes body = bytes_of(copy, size);
    struct body_text text, patch_text;
    struct body_user user = {.sets = 0}, patch = {.sets = 0};
    struct body_fault fault = {.malformed = false}, patch_fault = {.malformed = false};
    int bad = body_read_user(body, &text, &user, &fault);
    int bad_patch = body_read_patch(body, &patch_text, &patch, &patch_fault);
    must(bad == 0 || bad == -EBADMSG);
    must(bad_patch == 0 || bad == bad_patch); /* what is no patch is no user */
    must(bad_patch == 0 || fault.malformed == patch_fault.malformed);
    if (bad_patch == 0)
        expect_limits(&patch);
    if (bad == 0)
        expect_again(&user);
    free(copy);
    return 0;
}
