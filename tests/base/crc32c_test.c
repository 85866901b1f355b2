#include "raft/base/crc32c.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* RFC 3720, §B.4. */
struct example {
    const char *what;
    uint8_t at[48];
    size_t len;
    uint32_t crc;
};

static const struct example examples[] = {
    {"nothing", {0}, 0, 0},
    {"32 bytes of 0", {0}, 32, 0x8a9136aa},
    {"32 bytes of 0xff",
     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
     32,
     0x62a8ab43},
    {"32 bytes counting up",
     {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
      16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
     32,
     0x46dd794e},
    {"32 bytes counting down",
     {31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16,
      15, 14, 13, 12, 11, 10, 9,  8,  7,  6,  5,  4,  3,  2,  1,  0},
     32,
     0x113fdb5c},
    {"an iSCSI read command",
     {0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0,
      0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 2,    0, 0, 0, 0, 0, 0, 0},
     48,
     0xd9963a56},
};

Test(crc32c, gives_the_examples_of_the_rfc)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const struct example *e = &examples[i];
        cr_assert(eq(u32, crc32c(0, bytes_of(e->at, e->len)), e->crc), "%s", e->what);
        cr_assert(eq(u32, crc32c_portable(0, bytes_of(e->at, e->len)), e->crc), "%s", e->what);
    }
    cr_assert(eq(u32, crc32c(0, bytes_of_text("123456789")), 0xe3069283));
}

Test(crc32c, is_the_same_by_instruction_and_by_table)
{
    uint8_t at[300];
    uint32_t number = 1;
    for (size_t i = 0; i < sizeof(at); i++) {
        number = number * 1664525 + 1013904223;
        at[i] = (uint8_t)(number >> 24);
    }
    for (size_t start = 0; start < 16; start++)
        for (size_t len = 0; len + start < sizeof(at); len++) {
            struct bytes bytes = bytes_of(at + start, len);
            if (crc32c(number, bytes) != crc32c_portable(number, bytes))
                cr_fatal("start %zu, len %zu", start, len);
        }
}

Test(crc32c, goes_on_where_it_stopped)
{
    struct bytes all = bytes_of_text("so much for the first part, and this is the second one");
    uint32_t whole = crc32c(0, all);
    for (size_t cut = 0; cut <= all.len; cut++) {
        uint32_t first = crc32c(0, bytes_of(all.at, cut));
        cr_assert(eq(u32, crc32c(first, bytes_of(all.at + cut, all.len - cut)), whole));
    }
}

Test(crc32c, notices_every_single_flipped_bit)
{
    uint8_t at[64] = {0};
    uint32_t plain = crc32c(0, bytes_of(at, sizeof(at)));
    for (unsigned bit = 0; bit < 8 * sizeof(at); bit++) {
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert(ne(u32, crc32c(0, bytes_of(at, sizeof(at))), plain));
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
