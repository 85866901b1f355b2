/* Long lists: whole, cut, slow and given up, in memory that does not grow. */
#include "tests/app/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(listing, .timeout = 120);

#define MILLION 1000000u

/* [{"id":1,"name":"…"},…] of made-up users. */
static size_t json_len(unsigned users, size_t name_len)
{
    size_t len = 2 + (size_t)users * (name_len + strlen("{\"id\":,\"name\":\"\"},")) - 1;
    for (unsigned id = 1; id <= users; id++)
        for (unsigned rest = id; rest > 0; rest /= 10)
            len++;
    return len;
}

static struct stage *stage_with_users(unsigned users, unsigned name_bytes, bool nginx)
{
    struct stage *stage = stage_start((struct stage_options){.nginx = nginx});
    fake_node_play(&stage->node,
                   (struct fake_script){.users_made_up = users, .made_up_name_bytes = name_bytes});
    return stage;
}

Test(listing, of_a_million_users_takes_no_memory)
{
    struct stage *stage = stage_with_users(MILLION, 20, true);
    free(fcgi_get(stage, "/users?limit=1000")); /* what is allocated once */
    long before = process_kib(stage_worker(stage), "VmRSS");
    struct reply *reply = fcgi_get(stage, "/users");
    cr_assert(reply->ended);
    cr_assert(eq(int, reply->status, 200));
    cr_assert(eq(sz, reply->body_len, json_len(MILLION, 20)));
    cr_assert(eq(str, (char *)reply_header(reply, "Content-Length"), ""));
    free(reply);
    reply = http_ask(stage, "GET", "/users", NULL); /* chunked, through the real nginx */
    cr_assert(reply != NULL && reply->body_len > json_len(MILLION, 20));
    cr_assert(strstr(reply->head, "Transfer-Encoding: chunked") != NULL);
    free(reply);
    long grown = process_kib(stage_worker(stage), "VmHWM") - before;
    cr_assert(grown < 2048, "grew by %ld KiB", grown);
    stage_stop(stage);
}

/* Around the edges of one piece, one chunk, several chunks: nothing is lost between them. */
Test(listing, is_whole_at_every_length)
{
    static const unsigned counts[] = {0, 1, 10, 500, 700, 800, 900, 1000, 1400, 1500, 1600, 3000};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct stage *stage = stage_with_users(counts[i], 25, false);
        struct reply *reply = fcgi_get(stage, "/users");
        size_t expected = counts[i] > 0 ? json_len(counts[i], 25) : 2;
        cr_expect(eq(sz, reply->body_len, expected), "of %u users", counts[i]);
        cr_expect(reply->body[0] == '[' && reply->body[reply->body_len - 1] == ']');
        const char *length = reply_header(reply, "Content-Length");
        if (*length != '\0')
            cr_expect(eq(sz, (size_t)atol(length), expected));
        else
            cr_expect(counts[i] > 1000, "no length for %u users", counts[i]);
        free(reply);
        stage_stop(stage);
    }
}

Test(listing, of_names_that_need_escapes_is_whole)
{
    struct stage *stage = stage_start((struct stage_options){0});
    char body[8192];
    struct writer out = writer_of(body, sizeof(body) - 1);
    put_text(&out, "{\"name\":\"");
    for (unsigned i = 0; i < 1024; i++)
        put_text(&out, "\\u0001");
    put_text(&out, "\"}");
    body[writer_len(&out)] = '\0';
    for (unsigned i = 0; i < 40; i++)
        free(fcgi_post(stage, body));
    struct reply *reply = fcgi_get(stage, "/users");
    size_t expected = 40 * (strlen("{\"id\":1,\"name\":\"\"},") + 6 * 1024) + 31 + 1;
    cr_assert(eq(sz, reply->body_len, expected));
    free(reply);
    stage_stop(stage);
}

/* A client that does not read holds its own answer up, and nothing else; then it gets the rest. */
Test(listing, waits_for_a_slow_client_without_holding_others_up)
{
    struct stage *stage = stage_with_users(MILLION, 20, false);
    int slow[8];
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        slow[i] = fcgi_connect(stage);
        fcgi_send(slow[i], &(struct fcgi_ask){.uri = "/users"});
    }
    unsigned mores; /* until each has filled its socket */
    do {
        mores = fake_node_record(&stage->node).mores;
        for (int i = 0; i < 50; i++) {
            struct reply *reply = fcgi_get(stage, "/livez");
            cr_assert(eq(int, reply->status, 200));
            free(reply);
        }
    } while (mores == 0 || fake_node_record(&stage->node).mores != mores);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        struct reply *reply = fcgi_receive(slow[i], 20000);
        cr_assert(eq(sz, reply->body_len, json_len(MILLION, 20)));
        free(reply);
        close(slow[i]);
        unsigned all = fake_node_record(&stage->node).mores;
        cr_assert(lt(uint, mores, all), "it was read ahead, to its end");
        mores = all;
    }
    stage_stop(stage);
}

Test(listing, that_its_client_leaves_is_dropped_at_the_node)
{
    struct stage *stage = stage_with_users(MILLION, 20, false);
    for (unsigned i = 0; i < 20; i++) {
        int fd = fcgi_connect(stage);
        fcgi_send(fd, &(struct fcgi_ask){.uri = "/users"});
        uint8_t some[100];
        cr_assert(read(fd, some, sizeof(some)) > 0);
        close(fd);
        WAIT_UNTIL(fake_node_record(&stage->node).drops == i + 1, 2000);
    }
    struct reply *reply = fcgi_ask(stage, &(struct fcgi_ask){.method = "HEAD"});
    cr_assert(eq(int, reply->status, 200));
    cr_assert(eq(sz, reply->body_len, 0));
    free(reply);
    WAIT_UNTIL(fake_node_record(&stage->node).drops == 21, 2000);
    stage_stop(stage);
}

/* Of the lists that wait, the node has room for so many: it hears at once of each that need not. */
Test(listing, that_waits_for_the_node_is_dropped_there_when_its_client_leaves)
{
    static const char *const uris[] = {"/users", "/users/1", "/users?min_index=9",
                                       "/users/1?consistency=stale&min_index=9"};
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = HANGS_AFTER_MS});
    fake_node_play(&stage->node, (struct fake_script){.mute = true});
    for (unsigned i = 0; i < ARRAY_LEN(uris); i++) {
        int fd = fcgi_connect(stage);
        fcgi_send(fd, &(struct fcgi_ask){.uri = uris[i]});
        WAIT_UNTIL(fake_node_record(&stage->node).lists == i + 1, 2000);
        close(fd);
        WAIT_UNTIL(fake_node_record(&stage->node).drops == i + 1, 2000);
    }
    stage_stop(stage);
}

/* Half a list must never look like a whole one. */
Test(listing, that_the_node_breaks_off_is_cut_for_all_to_see)
{
    struct stage *stage = stage_start((struct stage_options){.nginx = true, .deadline_ms = 500});
    for (unsigned chunks = 1; chunks <= 3; chunks++) {
        fake_node_play(&stage->node, (struct fake_script){.users_made_up = MILLION,
                                                          .made_up_name_bytes = 20,
                                                          .break_lists_after = chunks});
        struct reply *reply = fcgi_get(stage, "/users");
        cr_expect(not(reply->ended));
        cr_expect(reply->closed);
        cr_expect(reply->body_len > 0 && reply->body_len < json_len(MILLION, 20));
        free(reply);
        reply = http_ask(stage, "GET", "/users", NULL);
        cr_expect(reply != NULL && memcmp(reply->body + reply->body_len - 5, "0\r\n\r\n", 5) != 0);
        free(reply);
        /* A page is not begun before all of it is there: it is asked for again, or refused. */
        reply = fcgi_get(stage, "/users?limit=1000&after=1000");
        cr_expect(reply->ended && (reply->status == 503 || reply->status == 200));
        free(reply);
    }
    cr_assert(stage_said(stage, "event=list-cut"));
    stage_stop(stage);
}

/* It is gathered before it is written: a node that sends more than was asked for cannot fill the
 * worker's memory. */
Test(listing, page_of_a_node_that_sends_more_than_was_asked_is_refused)
{
    struct stage *stage = stage_start((struct stage_options){.nginx = false});
    fake_node_play(
        &stage->node,
        (struct fake_script){.users_made_up = 10000, .made_up_name_bytes = 1000, .no_limit = true});
    unsigned connections = fake_node_record(&stage->node).connections;
    struct reply *reply = fcgi_get(stage, "/users?limit=1");
    cr_assert(eq(int, reply->status, 503));
    free(reply);
    WAIT_UNTIL(fake_node_record(&stage->node).connections > connections, 2000);
    stage_stop(stage);
}

/* The version that it is read from went with the connection. */
Test(listing, does_not_go_on_over_another_connection_to_the_node)
{
    struct stage *stage = stage_with_users(MILLION, 20, false);
    int slow = fcgi_connect(stage);
    fcgi_send(slow, &(struct fcgi_ask){.uri = "/users"});
    WAIT_UNTIL(fake_node_record(&stage->node).mores > 0, 2000);
    unsigned mores; /* until it has filled its socket */
    do {
        mores = fake_node_record(&stage->node).mores;
        for (int i = 0; i < 50; i++)
            free(fcgi_get(stage, "/livez"));
    } while (fake_node_record(&stage->node).mores != mores);
    unsigned connections = fake_node_record(&stage->node).connections;
    fake_node_stop(&stage->node);
    fake_node_start(&stage->node);
    WAIT_UNTIL(fake_node_record(&stage->node).connections > connections, 5000);
    struct reply *reply = fcgi_get(stage, "/users?limit=1"); /* it is greeted */
    cr_assert(eq(int, reply->status, 200));
    free(reply);
    reply = fcgi_receive(slow, 20000);
    cr_assert(not(reply->ended));
    cr_assert(reply->closed);
    free(reply);
    close(slow);
    cr_assert(eq(uint, fake_node_record(&stage->node).mores, mores));
    stage_stop(stage);
}
