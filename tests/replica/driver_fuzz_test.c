/* The fuzzer of the driver for some seconds, from its seeds, without a compiler's help. */
#include "tests/users/support.h"

#define DRIVER_FUZZ_LINKED
#include "tests/fuzz/driver_fuzz.c"

#include <dirent.h>

#define SEEDS     "tests/fuzz/seeds/driver"
#define SEEDS_MAX 32u
#define BYTES_MAX 16384u
#define INPUTS    1500u

struct seed {
    size_t len;
    uint8_t bytes[BYTES_MAX];
};

static size_t read_seeds(struct seed *seeds)
{
    size_t count = 0;
    DIR *folder = opendir(SEEDS);
    must(folder != NULL);
    for (const struct dirent *found = readdir(folder); found != NULL; found = readdir(folder)) {
        char path[512];
        if (found->d_name[0] == '.')
            continue;
        must(count < SEEDS_MAX);
        snprintf(path, sizeof(path), SEEDS "/%s", found->d_name);
        FILE *file = fopen(path, "r");
        must(file != NULL);
        seeds[count].len = fread(seeds[count].bytes, 1, BYTES_MAX, file);
        must(seeds[count].len > 0);
        count++;
        fclose(file);
    }
    closedir(folder);
    return count;
}

/* Bits and bytes that are others, a piece that is gone or doubled, the end of another seed. */
static void mutate(struct chance *chance, struct seed *input, const struct seed *other)
{
    size_t at = chance_below(chance, input->len), len = chance_below(chance, 64);
    if (at + len > input->len)
        len = input->len - at;
    switch (chance_below(chance, 6)) {
    case 0:
        input->bytes[at] ^= (uint8_t)(1u << chance_below(chance, 8));
        break;
    case 1:
        input->bytes[at] = (uint8_t)chance_u64(chance);
        break;
    case 2:
        memset(input->bytes + at, chance_below(chance, 2) == 0 ? 0 : 0xff, len < 8 ? len : 8);
        break;
    case 3:
        memmove(input->bytes + at, input->bytes + at + len, input->len - at - len);
        input->len -= input->len > len ? len : 0;
        break;
    case 4:
        if (input->len + len <= BYTES_MAX) {
            memmove(input->bytes + at + len, input->bytes + at, input->len - at);
            input->len += len;
        }
        break;
    default:
        if (at < other->len) {
            memcpy(input->bytes + at, other->bytes + at, other->len - at);
            input->len = other->len;
        }
    }
}

Test(driver_fuzz, no_input_ends_the_process_or_outgrows_its_bounds, .timeout = 120)
{
    static struct seed seeds[SEEDS_MAX], input;
    size_t count = read_seeds(seeds);
    must(count > 0);
    for (size_t i = 0; i < count; i++)
        (void)LLVMFuzzerTestOneInput(seeds[i].bytes, seeds[i].len);
    must(most_applied > 10); /* else the seeds must be made anew: sim --heard */
    for (uint64_t i = 1; i <= INPUTS; i++) {
        struct chance chance = {i};
        input = seeds[chance_below(&chance, count)];
        for (uint64_t m = 1 + chance_below(&chance, 8); m > 0; m--)
            mutate(&chance, &input, &seeds[chance_below(&chance, count)]);
        (void)LLVMFuzzerTestOneInput(input.bytes, input.len);
    }
}
