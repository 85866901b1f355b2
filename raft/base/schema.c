#include "raft/base/schema.h"

static void put_hex(struct writer *out, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    put_u8(out, (uint8_t)digits[byte >> 4]);
    put_u8(out, (uint8_t)digits[byte & 15]);
}

static void print_name(struct writer *out, const char *name)
{
    put_text(out, " ");
    put_text(out, name);
    put_text(out, "=");
}

void print_u64(struct writer *out, const char *name, uint64_t value)
{
    print_name(out, name);
    put_decimal(out, value);
}

void print_u8(struct writer *out, const char *name, uint8_t value)
{
    print_u64(out, name, value);
}

void print_u16(struct writer *out, const char *name, uint16_t value)
{
    print_u64(out, name, value);
}

void print_u32(struct writer *out, const char *name, uint32_t value)
{
    print_u64(out, name, value);
}

void print_request_id(struct writer *out, const char *name, struct request_id value)
{
    print_name(out, name);
    for (size_t i = 0; i < sizeof(value.at); i++)
        put_hex(out, value.at[i]);
}

void print_bytes(struct writer *out, const char *name, struct bytes value)
{
    print_name(out, name);
    put_text(out, "\"");
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.at[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
            put_u8(out, byte);
        } else {
            put_text(out, "\\x");
            put_hex(out, byte);
        }
    }
    put_text(out, "\"");
}
