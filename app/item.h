/* GET and HEAD of /users/{id}. */
#ifndef ROLLCALL_APP_ITEM_H
#define ROLLCALL_APP_ITEM_H

#include "app/exchange.h"

void handle_item(struct exchange *x);

#endif
