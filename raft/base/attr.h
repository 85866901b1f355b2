/*
 * What every file may lean on: attributes, and assertions that stay on.
 *
 * assert() states what this program guarantees to itself and ends it when broken, in every
 * variant: a process that has lost its invariants must not go on acknowledging. What others send
 * (bytes from a socket, a disk, a command line) is never asserted, it is judged and refused.
 */
#ifndef ROLLCALL_BASE_ATTR_H
#define ROLLCALL_BASE_ATTR_H

#ifdef NDEBUG
#error "assertions stay on in every variant: do not define NDEBUG"
#endif

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The result says whether the call failed and must be looked at. ([[nodiscard]] is not C17.) */
#define NODISCARD __attribute__((warn_unused_result))

/* Made by a macro for whoever wants it. */
#define UNUSED __attribute__((unused))

/* Stands after an exhaustive switch: an enum that holds none of its values is memory gone wrong. */
#define UNREACHABLE()    __assert_fail("unreachable", __FILE__, __LINE__, __func__)

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of `type` whose member `name` is at `pointer`. */
#define CONTAINER_OF(pointer, type, name) ((type *)(void *)((char *)(pointer)-offsetof(type, name)))

#define PRINTF_LIKE(text, first)          __attribute__((format(printf, text, first)))

#endif
