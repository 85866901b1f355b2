#include "tests/e2e/http.h"

#include "tests/e2e/stack.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    CURL *curl;
    int port;
    bool keep;
};

struct text {
    char *at;
    size_t len, room;
};

static void text_put(struct text *text, const char *at, size_t len)
{
    if (text->room - text->len <= len) {
        text->room = 2 * (text->room + len) + 1;
        text->at = realloc(text->at, text->room);
        assert(text->at != NULL);
    }
    memcpy(text->at + text->len, at, len);
    text->len += len;
    text->at[text->len] = '\0';
}

static size_t on_bytes(char *at, size_t size, size_t count, void *text)
{
    text_put(text, at, size * count);
    return size * count;
}

void answer_done(struct answer *answer)
{
    free(answer->body);
    free(answer->head);
    *answer = (struct answer){0};
}

const char *answer_header(const struct answer *answer, const char *name)
{
    static _Thread_local char value[512];
    size_t len = strlen(name);

    value[0] = '\0';
    for (const char *line = answer->head; line != NULL && *line != '\0';
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            line += len + 1;
            line += strspn(line, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r\n"), line);
            break;
        }
    }
    return value;
}

struct client *client_open(int port, bool keep)
{
    struct client *client = malloc(sizeof *client);

    assert(client != NULL);
    client->curl = curl_easy_init();
    assert(client->curl != NULL);
    client->port = port;
    client->keep = keep;
    return client;
}

void client_close(struct client *client)
{
    curl_easy_cleanup(client->curl);
    free(client);
}

struct answer client_send(struct client *client, const struct request *request)
{
    struct text body = {0}, head = {0};
    struct curl_slist *headers = NULL;
    struct answer answer = {0};
    char url[20000];
    CURL *curl = client->curl;

    text_put(&body, "", 0);
    text_put(&head, "", 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", client->port, request->path);
    /* What curl adds by itself is taken out, so that a request has the headers it says. */
    headers = curl_slist_append(headers, "Expect:");
    headers = curl_slist_append(headers, "Accept:");
    if (request->body.len > 0 || strcmp(request->method, "POST") == 0)
        headers = curl_slist_append(headers, "Content-Type:");
    for (size_t i = 0; i < ARRAY_LEN(request->headers) && request->headers[i] != NULL; i++)
        headers = curl_slist_append(headers, request->headers[i]);

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, request->socket);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, client->keep ? 0L : 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 40L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &head);
    if (request->body.len > 0 || strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)request->body.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         request->body.len ? (const char *)request->body.at : "");
    }
    if (strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);

    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_slist_free_all(headers);
    answer.body = body.at;
    answer.len = body.len;
    answer.head = head.at;
    return answer;
}

struct answer http_send(int port, const struct request *request)
{
    struct client *client = client_open(port, false);
    struct answer answer = client_send(client, request);

    client_close(client);
    return answer;
}

struct answer http_get(int port, const char *path)
{
    return http_send(port, &(struct request){.method = "GET", .path = path});
}

struct answer http_post_name(struct client *client, const char *name)
{
    char body[2048];
    int len = snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);

    return client_send(client, &(struct request){.method = "POST",
                                                 .path = "/users",
                                                 .headers = {"Content-Type: application/json"},
                                                 .body = bytes_of(body, (size_t)len)});
}

int http_connect_from(const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)},
                             .sin_port = htons((uint16_t)port)};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {inet_addr(address)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* The answer that says "Connection: close" is there, and all of its body. */
static bool is_last_and_whole(const char *text)
{
    const char *close_line = strstr(text, "\r\nConnection: close\r\n"), *begin = text, *end,
               *length;

    if (close_line == NULL)
        return false;
    end = strstr(close_line, "\r\n\r\n");
    for (const char *at = text; (at = strstr(at, "HTTP/1.")) != NULL && at < close_line; at++)
        begin = at;
    length = strstr(begin, "\r\nContent-Length: ");
    if (end == NULL || length == NULL || length > end)
        return false; /* it ends with the connection */
    return strlen(end + 4) >= strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
}

struct answer http_raw(int port, struct bytes bytes)
{
    return http_raw_from("127.0.0.1", port, bytes);
}

struct answer http_raw_from(const char *address, int port, struct bytes bytes)
{
    int fd = http_connect_from(address, port);
    struct answer answer = {0};
    struct text text = {0};
    char part[4096], *end;
    ssize_t got;

    text_put(&text, "", 0);
    (void)!send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);
    while (!is_last_and_whole(text.at)) {
        cr_assert_gt(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, HANGS_AFTER_S * 1000), 0,
                     "%.200s: nothing more comes after %.200s", (const char *)bytes.at, text.at);
        got = read(fd, part, sizeof part);
        if (got <= 0)
            break;
        text_put(&text, part, (size_t)got);
    }
    close(fd);
    if (sscanf(text.at, "HTTP/1.1 %ld", &answer.status) != 1)
        answer.status = 0;
    end = strstr(text.at, "\r\n\r\n");
    answer.body = strdup(end != NULL ? end + 4 : "");
    if (end != NULL)
        end[2] = '\0';
    answer.len = strlen(answer.body);
    answer.head = text.at;
    return answer;
}

/* Past `text`, when `at` begins with it; else NULL. */
static const char *skip(const char *at, const char *text)
{
    return strncmp(at, text, strlen(text)) == 0 ? at + strlen(text) : NULL;
}

/* One user; returns what follows, or NULL. (sscanf would measure the whole rest each time.) */
static const char *user_read(const char *at, uint64_t *ret_id, char *ret_name, size_t size)
{
    char *end;
    size_t len;

    at = skip(at, "{\"id\":");
    if (at == NULL || *at < '0' || *at > '9')
        return NULL;
    *ret_id = strtoull(at, &end, 10);
    at = skip(end, ",\"name\":\"");
    if (at == NULL)
        return NULL;
    len = strcspn(at, "\"\\");
    if (len == 0 || len >= size)
        return NULL;
    memcpy(ret_name, at, len);
    ret_name[len] = '\0';
    return skip(at + len, "\"}");
}

long users_read(const char *body, void (*each)(void *context, uint64_t id, const char *name),
                void *context)
{
    long count = 0;

    if (*body++ != '[')
        return -1;
    while (*body != ']') {
        uint64_t id;
        char name[1100];

        if (count > 0 && *body++ != ',')
            return -1;
        body = user_read(body, &id, name, sizeof name);
        if (body == NULL)
            return -1;
        count++;
        if (each != NULL)
            each(context, id, name);
    }
    return body[1] == '\0' ? count : -1;
}
