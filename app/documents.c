#include "app/documents.h"

#include "app/page.h"

/* The file as it is, at build. (The Makefile knows that this object depends on it.) */
__asm__(".pushsection .rodata\n"
        ".hidden openapi_json, openapi_json_end\n"
        ".global openapi_json, openapi_json_end\n"
        "openapi_json: .incbin \"app/openapi.json\"\n"
        "openapi_json_end:\n"
        ".popsection\n");
extern const uint8_t openapi_json[], openapi_json_end[];

void handle_openapi(struct exchange *x)
{
    struct response response = {
        .status = 200,
        .content_type = "application/json",
        .cache_control = "no-cache",
    };
    /* cppcheck-suppress comparePointers; the linker lays them out, one after the other */
    size_t len = (size_t)(openapi_json_end - openapi_json);
    page_respond(x, &response, bytes_of(openapi_json, len), NULL);
}
