#include "raft/node/peers.h"

#include <errno.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

Test(peers_address, is_host_and_port)
{
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    cr_assert(eq(int, peers_address("10.0.0.1:7001", host, &port), 0));
    cr_assert(eq(str, host, "10.0.0.1"));
    cr_assert(eq(int, port, 7001));
    cr_assert(eq(int, peers_address("[fe80::1]:65535", host, &port), 0));
    cr_assert(eq(str, host, "fe80::1"));
    cr_assert(eq(int, peers_address("node-2.example:1", host, &port), 0));
    static const char *const bad[] = {"",      ":",    "a",    "a:",    ":7",   "a:0", "a:65536",
                                      "::1:7", "a:7x", "a: 7", "[::1]", "[]:7", "a:-1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert(eq(int, peers_address(bad[i], host, &port), -EINVAL), "%s", bad[i]);
}
