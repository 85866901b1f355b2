#include "app/page.h"

#include "app/exchange.h"

#include <stdlib.h>

static void free_owned(struct exchange *x)
{
    free(x->page.owned);
}

/* Writes what the peer takes now, then waits for room. */
static void go_on(struct exchange *x)
{
    struct page *page = &x->page;
    while (page->left.len > 0) {
        if (!connection_has_room(x->connection)) {
            connection_await_room(x->connection);
            return;
        }
        size_t len =
            page->left.len < FASTCGI_WRITE_BYTES_MAX ? page->left.len : FASTCGI_WRITE_BYTES_MAX;
        if (!connection_write(x->connection, bytes_of(page->left.at, len))) {
            exchange_body_done(x);
            exchange_ended(x, COUNTS_CUT);
            connection_abort(x->connection);
            return;
        }
        page->left = bytes_of(page->left.at + len, page->left.len - len);
    }
    unsigned status = page->status;
    exchange_body_done(x);
    exchange_ended(x, status);
    connection_finish(x->connection);
}

static const struct body_sender sender = {.on_room = go_on, .done = free_owned};

void page_respond(struct exchange *x, struct response *response, struct bytes text, uint8_t *owned)
{
    static uint8_t store[RESPONSE_HEAD_BYTES_MAX]; /* one loop, one answer at a time */
    struct writer out = writer_of(store, sizeof(store));
    bool head = x->request.method == METHOD_HEAD;
    response->length_is = LENGTH_GIVEN;
    response->length = text.len;
    exchange_set_raft_headers(x, response);
    response_put(&out, response);
    assert(!out.bad);
    exchange_body_done(x);
    x->sender = &sender;
    x->page = (struct page){
        .status = response->status,
        .owned = owned,
        .left = head ? bytes_of(NULL, 0) : text,
    };
    (void)!connection_write(x->connection, writer_bytes(&out)); /* what follows fails as well */
    go_on(x);
}
