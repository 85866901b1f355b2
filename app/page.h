/*
 * A long body that is there at once: written piece by piece, as the client takes it.
 */
#ifndef ROLLCALL_APP_PAGE_H
#define ROLLCALL_APP_PAGE_H

#include "raft/base/bytes.h"

struct exchange;
struct response;

/* What an exchange keeps of it (exchange.h). */
struct page {
    unsigned status;
    uint8_t *owned; /* what is to be freed; NULL for nothing */
    struct bytes left;
};

/*
 * Answers and ends the exchange's request: the head of `response`, whose body is not set, then
 * `text`, unless HEAD was asked. `owned` is freed when nobody needs the text any more; NULL where
 * it lives for ever.
 */
void page_respond(struct exchange *x, struct response *response, struct bytes text, uint8_t *owned);

#endif
