/*
 * FastCGI records as a web server sends them (specification 1.0, §3): what the tests feed to the
 * worker, whole or not.
 */
#ifndef ROLLCALL_TESTS_APP_RECORDS_H
#define ROLLCALL_TESTS_APP_RECORDS_H

#include "raft/base/bytes.h"

enum record_type {
    RECORD_BEGIN = 1,
    RECORD_ABORT = 2,
    RECORD_END = 3,
    RECORD_PARAMS = 4,
    RECORD_STDIN = 5,
    RECORD_STDOUT = 6,
    RECORD_GET_VALUES = 9,
};

void put_record(struct writer *out, unsigned type, unsigned id, struct bytes content,
                unsigned padding);
void put_begin(struct writer *out, unsigned id, bool keep);
/* A name-value pair, as the content of PARAMS. */
void put_pair(struct writer *out, const char *name, struct bytes value);

struct fcgi_ask {
    const char *method;       /* NULL: GET */
    const char *uri;          /* NULL: /users */
    const char *content_type; /* NULL: application/json */
    struct bytes body;
    const char *id;            /* REQUEST_ID; NULL: none */
    const char *address;       /* SERVER_ADDR; NULL: 127.0.0.1; "": none */
    const char *authorization; /* HTTP_AUTHORIZATION; NULL: none */
    const char *headers[4];    /* "HTTP_IF_MATCH=…": further parameters, up to a NULL */
    bool close;                /* do not keep the connection */
};

/* A whole request of id 1. */
void put_request(struct writer *out, const struct fcgi_ask *ask);

#endif
