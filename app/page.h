/*
 * A long body that is there at once: written piece by piece, as the client takes it.
 */
#ifndef ROLLCALL_APP_PAGE_H
#define ROLLCALL_APP_PAGE_H

#include "app/handlers.h"

/*
 * Answers and ends the exchange's request: the head of `response`, whose body is not set, then
 * `text`, unless HEAD was asked. `owned` is freed when nobody needs the text any more; NULL where
 * it lives for ever.
 */
void page_respond(struct exchange *x, struct response *response, struct bytes text, uint8_t *owned);

/* struct fastcgi_events.on_room of an exchange whose page is on its way. */
void page_on_room(struct exchange *x);
bool page_is_open(const struct page *page);
void page_done(struct page *page);

#endif
