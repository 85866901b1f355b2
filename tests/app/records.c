#include "tests/app/records.h"

#include <stdio.h>
#include <string.h>

void put_record(struct writer *out, unsigned type, unsigned id, struct bytes content,
                unsigned padding)
{
    static const uint8_t zeros[256];
    uint8_t header[8] = {1,
                         (uint8_t)type,
                         (uint8_t)(id >> 8),
                         (uint8_t)id,
                         (uint8_t)(content.len >> 8),
                         (uint8_t)content.len,
                         (uint8_t)padding,
                         0};
    put_raw(out, bytes_of(header, sizeof(header)));
    put_raw(out, content);
    put_raw(out, bytes_of(zeros, padding));
}

void put_begin(struct writer *out, unsigned id, bool keep)
{
    uint8_t content[8] = {0, 1, keep ? 1 : 0};
    put_record(out, RECORD_BEGIN, id, bytes_of(content, sizeof(content)), 0);
}

static void put_length(struct writer *out, size_t len)
{
    if (len >= 0x80) {
        put_u8(out, (uint8_t)(0x80 | len >> 24));
        put_u8(out, (uint8_t)(len >> 16));
        put_u8(out, (uint8_t)(len >> 8));
    }
    put_u8(out, (uint8_t)len);
}

void put_pair(struct writer *out, const char *name, struct bytes value)
{
    struct bytes bytes = bytes_of_text(name);
    put_length(out, bytes.len);
    put_length(out, value.len);
    put_raw(out, bytes);
    put_raw(out, value);
}

void put_request(struct writer *out, const struct fcgi_ask *ask)
{
    static uint8_t params[128 << 10];
    struct writer pairs = writer_of(params, sizeof(params));
    char length[24] = "";
    if (ask->body.len > 0)
        snprintf(length, sizeof(length), "%zu", ask->body.len);
    const char *type = ask->content_type != NULL ? ask->content_type : "application/json";
    put_pair(&pairs, "REQUEST_METHOD", bytes_of_text(ask->method != NULL ? ask->method : "GET"));
    put_pair(&pairs, "REQUEST_URI", bytes_of_text(ask->uri != NULL ? ask->uri : "/users"));
    put_pair(&pairs, "CONTENT_TYPE", bytes_of_text(type));
    put_pair(&pairs, "CONTENT_LENGTH", bytes_of_text(length));
    const char *address = ask->address != NULL ? ask->address : "127.0.0.1";
    if (*address != '\0')
        put_pair(&pairs, "SERVER_ADDR", bytes_of_text(address));
    if (ask->authorization != NULL)
        put_pair(&pairs, "HTTP_AUTHORIZATION", bytes_of_text(ask->authorization));
    if (ask->id != NULL)
        put_pair(&pairs, "REQUEST_ID", bytes_of_text(ask->id));
    for (size_t i = 0; i < ARRAY_LEN(ask->headers) && ask->headers[i] != NULL; i++) {
        char name[64];
        const char *equals = strchr(ask->headers[i], '=');
        snprintf(name, sizeof(name), "%.*s", (int)(equals - ask->headers[i]), ask->headers[i]);
        put_pair(&pairs, name, bytes_of_text(equals + 1));
    }
    put_begin(out, 1, !ask->close);
    put_record(out, RECORD_PARAMS, 1, writer_bytes(&pairs), 3);
    put_record(out, RECORD_PARAMS, 1, bytes_of(NULL, 0), 0);
    for (size_t at = 0; at < ask->body.len;) {
        size_t len = ask->body.len - at < 32768 ? ask->body.len - at : 32768;
        put_record(out, RECORD_STDIN, 1, bytes_of(ask->body.at + at, len), len % 8);
        at += len;
    }
    put_record(out, RECORD_STDIN, 1, bytes_of(NULL, 0), 0);
}
