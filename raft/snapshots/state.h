/* struct snapshots, for snapshots*.c only. */
#ifndef ROLLCALL_SNAPSHOTS_STATE_H
#define ROLLCALL_SNAPSHOTS_STATE_H

#include "raft/snapshots/snapshots.h"
#include "raft/users/user_json.h"
#include "raft/wire/record.h"

#define SNAPSHOTS_FORMAT "4"

/* Commands under way while pages are written or read. */
#define SNAPSHOTS_WINDOW 16u

/* Pages that are encoded before the loop gets its turn again, or that a look reads. */
#define SNAPSHOTS_STEP_PAGES 4u

#define SNAPSHOTS_TEXT_BYTES 512u
#define SNAPSHOTS_KEY_BYTES  128u

/* 40 hexadecimal digits and a NUL. */
#define SNAPSHOTS_RUN_ID_BYTES 48u

/* One page of users as JSON, or of answers as lines; and its field names. */
#define SNAPSHOTS_SCRATCH_BYTES (USERS_PAGE * (USER_JSON_BYTES_MAX + 256u))

enum snapshots_key {
    KEY_META,
    KEY_USERS,
    KEY_INDEXES,
    KEY_ANSWERS,
    KEY_NEW_USERS,
    KEY_NEW_INDEXES,
    KEY_NEW_ANSWERS,
    KEY_SERVER,
};
#define SNAPSHOTS_KEYS 8u

enum snapshots_phase {
    SNAPSHOTS_IDLE,
    SNAPSHOTS_ASKING,     /* save: what does Redis hold, and how durable is it? */
    SNAPSHOTS_WRITING,    /* save: pages, then EXEC */
    SNAPSHOTS_CONFIRMING, /* save: is it on disk? */
    SNAPSHOTS_READING,    /* load */
    SNAPSHOTS_JUDGING,    /* a load that failed: whether meta is still the same */
};

/* What Redis is set to. */
struct snapshots_settings {
    bool known; /* else CONFIG is forbidden: nothing but `evicts` is known */
    bool append, append_always;
    bool dumps;
    bool evicts;
    char policy[32]; /* maxmemory-policy */
};

struct snapshots_save {
    struct users_meta meta;
    raft_term term;
    struct members members;
    bool full;
    char run_id[SNAPSHOTS_RUN_ID_BYTES]; /* of the Redis that is asked; "": it does not say */
    bool began_always;                   /* append_always, before it was written */
    struct snapshots_settings settings;
    void (*then)(struct snapshots *snapshots); /* when they are known */
    uint64_t next_page;                        /* of users, then of answers */
    bool users_written, answers_written, executed;
    bool any_user, any_answer; /* full: there is something to rename */
    uint64_t users, answers, bytes;
    uint64_t index_pages; /* that there are to be */
    uint32_t polls;
};

/* How many fields the hashes of a snapshot have. */
struct snapshots_sizes {
    uint64_t users, indexes, answers;
};

struct snapshots_load {
    struct users *users;
    struct users_meta meta;
    char checksum[16]; /* of meta, as it was when the load began; "": not read yet */
    raft_term term;
    struct raft_cluster_id cluster_id;
    struct members members;
    uint64_t *page; /* numbers of the pages of users that Redis has, ascending */
    size_t pages;
    size_t pages_asked, pages_had;
    bool answers_asked;
    uint64_t next_answers, answers_page; /* to ask for, and that the next reply is of */
    uint64_t index[USERS_PAGE];          /* of the users of the page that is next to be had */
    uint64_t index_pages;                /* that were there */
    struct snapshots_sizes sizes;
};

/* A look at what Redis holds, beside saves and loads: it counts its commands itself. */
struct snapshots_look {
    uint32_t open;
    bool bad; /* or overtaken: nothing more is said of it */
    bool answers;
    uint64_t next_page;                  /* of users, or of answers */
    uint64_t page[SNAPSHOTS_STEP_PAGES]; /* that were asked for */
    uint32_t pages, pages_seen;
};

struct snapshots {
    struct store *store;
    const struct snapshots_hooks *hooks;
    void *context;
    char key[SNAPSHOTS_KEYS][SNAPSHOTS_KEY_BYTES];
    char cluster[64];
    struct raft_cluster_id cluster_id; /* zeros while it is not known */
    uint64_t node;

    struct users_view *base;    /* what Redis held last, whole; */
    bool base_durable;          /* and on its disk, so far as is known */
    uint64_t base_indexes;      /* fields of its indexes */
    struct users_view *attempt; /* what is being saved, or was in vain */

    enum snapshots_phase phase;
    uint32_t open; /* commands whose reply is to come */
    bool failed;   /* this save or load is lost; it ends when nothing is open */
    bool away;     /* because the connection ended */
    bool refused;  /* because Redis answered an error, or something else than data */
    char text[SNAPSHOTS_TEXT_BYTES];
    struct snapshots_save save;
    struct snapshots_load load;
    struct snapshots_look look;
    uint8_t scratch[SNAPSHOTS_SCRATCH_BYTES];
};

/* --- snapshots.c ------------------------------------------------------------------------------ */

typedef void snapshots_on_reply(struct snapshots *snapshots, const struct store_reply *reply);

/* The key as an argument. */
struct bytes snapshots_key(const struct snapshots *snapshots, enum snapshots_key key);
/* A command of plain words, all but `count` arguments given; counts it as open. */
void snapshots_send(struct snapshots *snapshots, size_t count, const struct bytes *arguments,
                    store_on_reply *on_reply);
/* Marks this save or load as lost, with the first reason. */
void snapshots_fail(struct snapshots *snapshots, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same where the reply is an error, or not of the kind that the command has: nothing was read.
 * The reason says what Redis answered and what to do. */
void snapshots_refuse(struct snapshots *snapshots, const struct store_reply *reply);
/* A reply to one of our keys that holds something else than a hash. */
bool snapshots_is_wrong_type(const struct store_reply *reply);
/* Takes a reply of this kind; false, and the save or load is lost, where it is another. */
bool snapshots_take_kind(struct snapshots *snapshots, const struct store_reply *reply,
                         enum store_reply_kind kind);
/*
 * At the head of each reply's callback: counts it, and judges it. False when there is nothing to
 * look at: no reply, or an error, which fails the save or load.
 */
bool snapshots_take(struct snapshots *snapshots, const struct store_reply *reply);
/* Before those, where an error fails nothing, since Redis need not know the command: takes one.
 * False for any other reply, which is left to them. */
bool snapshots_take_error(struct snapshots *snapshots, const struct store_reply *reply);

/* HGETALL of meta; HLEN of a key. */
void snapshots_ask_meta(struct snapshots *snapshots, store_on_reply *on_reply);
void snapshots_ask_size(struct snapshots *snapshots, enum snapshots_key key,
                        store_on_reply *on_reply);
/* Redis does not hold the base any more: says so, once. */
void snapshots_lose(struct snapshots *snapshots, const char *format, ...) PRINTF_LIKE(2, 3);

/* A decimal number that is all of `text`. */
bool snapshots_number(struct bytes text, uint64_t *ret_number);
/* The value of a field in a HGETALL reply; false where it has none. */
bool snapshots_field(const struct store_reply *hash, const char *name, struct bytes *ret_value);
/* The digest as it stands in meta: 16 hexadecimal digits and a NUL. */
void snapshots_digest(uint64_t digest, char ret_text[17]);

/* What meta says of itself, in this order; then comes the checksum of these. */
#define SNAPSHOTS_META_FIELDS 16u
extern const char *const snapshots_meta_field[SNAPSHOTS_META_FIELDS];
/* Of the values, in the order of the names: 8 hexadecimal digits and a NUL. */
void snapshots_checksum(const struct bytes value[SNAPSHOTS_META_FIELDS], char ret_text[9]);

/* A meta record with all its fields, no others, and the checksum of these. */
bool snapshots_meta_is_whole(const struct store_reply *meta);
/* It is whole and says that this version is what Redis holds. */
bool snapshots_meta_is_of(const struct store_reply *meta, const struct users_view *view);
/* False: the record has none, or it is no id. */
bool snapshots_cluster_id(const struct store_reply *meta, struct raft_cluster_id *ret_id);
/* It says that it is of this node, of this cluster. */
bool snapshots_meta_is_ours(const struct snapshots *snapshots, const struct store_reply *meta);
/* What it says, for people: "that of entry 7", or what else it is. */
void snapshots_meta_print(const struct store_reply *meta, char *ret_text, size_t text_bytes);
/* Pages that the answers of this version take, and the first of them from *number on, if any. */
uint64_t snapshots_answers_pages(struct users_meta meta);
bool snapshots_answers_page(struct users_meta meta, uint64_t *number);

/* --- snapshots/save.c ------------------------------------------------------------------------- */

/* Nothing is open: hooks.saved. */
void snapshots_end_save(struct snapshots *snapshots);

/* --- snapshots/confirm.c ---------------------------------------------------------------------- */

/* Asks what Redis is set to, into save.settings; then calls, with nothing open of it. A setting
 * with which no snapshot can count fails the save. */
void snapshots_ask_settings(struct snapshots *snapshots, void (*then)(struct snapshots *snapshots));
/* EXEC was done: sees to it that it is on disk, and ends the save. */
void snapshots_confirm(struct snapshots *snapshots);

/* --- snapshots/text.c ------------------------------------------------------------------------- */

/* The number, written behind what is there. */
struct bytes snapshots_decimal(struct writer *scratch, uint64_t value);

/* "7:12 8:13": the indexes of a page. */
void snapshots_put_indexes(struct writer *out, const struct users_page *page);
/* By place in the page, 0 where there is none. */
NODISCARD int snapshots_get_indexes(struct bytes text, uint64_t page,
                                    uint64_t ret_index[USERS_PAGE]);
/* The name of a page's field: its number, that of a page of keyed answers with a k before it. */
struct bytes snapshots_answers_field(struct writer *scratch, uint64_t number);
/* A line for each answer of a page. */
void snapshots_put_answers(struct writer *out, const struct users_past_page *page);
/* Hands each answer of the text to the state. `texts`: room for the names and emails of a page. */
NODISCARD int snapshots_load_answers(struct bytes text, struct writer *texts, struct users *users);

#endif
