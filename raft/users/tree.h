/*
 * A persistent radix tree: from numbers to pages, each page standing for TREE_FANOUT consecutive
 * things that its owner knows about and the tree does not.
 *
 *     version 1 ──▶ root ─┬─▶ node ─┬─▶ page 0
 *                         │         └─▶ page 1 ◀─┐
 *                         └─▶ node ◀───────────┐ │     version 2 is version 1 with page 0 changed:
 *     version 2 ──▶ root ─┬─▶ node ─┬─▶ page 0'│ │     it has a path of its own and shares the rest
 *                         │         └──────────┼─┘
 *                         └────────────────────┘
 *
 * Invariants: a part (node or page) counts the places that point to it, roots included, and lives
 * as long as there is one. A part reached through references that are all 1 belongs to one version
 * and is edited in place; any other is copied first. A node is never empty. A tree only gets
 * higher; page `number` hangs below the digits of number in base TREE_FANOUT.
 *
 * So holding a version costs one reference, and two versions differ only in parts at different
 * addresses: what both hold cannot have changed.
 */
#ifndef ROLLCALL_USERS_TREE_H
#define ROLLCALL_USERS_TREE_H

#include "raft/base/attr.h"

#define TREE_FANOUT_BITS 6u
#define TREE_FANOUT      (1u << TREE_FANOUT_BITS)
#define TREE_LEVELS_MAX  10u
/* Page numbers are below this. */
#define TREE_PAGES_MAX (UINT64_C(1) << (TREE_FANOUT_BITS * TREE_LEVELS_MAX))

/* What nodes and pages begin with. */
struct tree_part {
    uint32_t refs;
};

/* What the tree must know about its pages. A new page and a copy have one reference. */
struct tree_kind {
    struct tree_part *(*page_new)(void);
    struct tree_part *(*page_copy)(const struct tree_part *page);
    void (*page_free)(struct tree_part *page);
};

/* One version. A tree of no levels is its page 0; an empty tree has no root. */
struct tree {
    const struct tree_kind *kind;
    struct tree_part *root;
    uint32_t levels;
};

struct tree tree_empty(const struct tree_kind *kind);

/* This version, held once more: unchanged by edits of `tree`, until tree_drop. */
struct tree tree_hold(const struct tree *tree);

/* Lets the version go; what nobody else holds is freed. `tree` is then empty. */
void tree_drop(struct tree *tree);

/* The page, borrowed; NULL when there is none. */
const struct tree_part *tree_get(const struct tree *tree, uint64_t number);

/* The page for writing until the next call: made when there is none, copied when it is shared. */
struct tree_part *tree_edit(struct tree *tree, uint64_t number);

/* Takes out a page, which must be there. */
void tree_remove(struct tree *tree, uint64_t number);

/*
 * The first page with number ≥ `from` that `old` and `now` do not share; false when there is none.
 * Either pointer is NULL where that version has no such page.
 */
bool tree_diff(const struct tree *old, const struct tree *now, uint64_t from, uint64_t *ret_number,
               const struct tree_part **ret_old, const struct tree_part **ret_now);

/* The first page with number ≥ `from`, or NULL. */
const struct tree_part *tree_next(const struct tree *tree, uint64_t from, uint64_t *ret_number);

/* Asserts the invariants of a tree of which at most `versions` are held; counts its pages. */
uint64_t tree_check(const struct tree *tree, uint32_t versions);

#endif
