/* GET /openapi.json: what the API is, for programs. The text is openapi.json beside this file. */
#ifndef ROLLCALL_APP_DOCUMENTS_H
#define ROLLCALL_APP_DOCUMENTS_H

#include "app/exchange.h"

void handle_openapi(struct exchange *x);

#endif
