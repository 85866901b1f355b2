/*
 * What is on disk when a log is opened: which records are known, where the log ends, and whether
 * that is where it ended. Reads and judges; wal/open.c acts on it. For wal*.c only; wal.h says the
 * rules.
 */
#ifndef ROLLCALL_WAL_JUDGE_H
#define ROLLCALL_WAL_JUDGE_H

#include "raft/wal/walk.h"

struct wal_listing {
    uint32_t count;
    uint64_t number[WAL_SEGMENTS_MAX];
};

/* A place in the log, and all that changes on the way to it. */
struct wal_place {
    uint32_t i; /* of the listing */
    struct wal_walk walk;
    uint32_t segments;
    raft_index highest; /* of the last segment */
    uint32_t truncations;
    uint32_t holes;
    size_t patches;
    uint32_t repaired;
    raft_index start;
    raft_term start_term;
};

enum wal_ending {
    WAL_ENDS_CLEAN,      /* nothing is missing */
    WAL_ENDS_TORN,       /* a write that nobody was told of */
    WAL_ENDS_RECOVERING, /* a write that was torn, or rotted after it was told of */
    WAL_ENDS_SHORT,      /* more was there, and durable */
};

struct wal_judge {
    struct wal *wal;
    struct wal_recovered *recovered;
    const struct wal_listing *listing;
    uint8_t *bytes; /* the segment at which `at` is; aligned, so that it can be written */
    size_t capacity;
    uint32_t loaded; /* of the listing, +1; 0: none */
    struct wal_patches patches;
    struct wal_place at;   /* where the known records end, or those that are kept */
    struct wal_place part; /* where the last part of them begins */
    uint64_t pending_cut;  /* of a start that crashed; 0: none */
    /* The verdict. */
    bool lost; /* it is not known where the log begins: all of it goes */
    enum wal_ending ending;
    uint64_t cut;            /* the sequence of the first record that goes; 0: none */
    bool untidy;             /* behind the end there is more than unused sectors */
    uint64_t damage_segment; /* where that is */
    uint64_t damage_offset;
    uint64_t used_end;     /* of that segment, or after it */
    struct raft_floor end; /* of the log that was there, if known */
};

/* -EBADMSG: another node's log, or another format's; see the text. */
NODISCARD int wal_judge(struct wal_judge *judge);
/* Brings the segment of `judge->at` to memory, as it is on disk now. */
NODISCARD int wal_judge_load(struct wal_judge *judge);
void wal_judge_done(struct wal_judge *judge);

#endif
