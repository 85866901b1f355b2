#include "app/counts.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* One writer: adding needs no locked instruction. */
typedef _Atomic uint64_t counter;

struct times {
    counter count[HISTOGRAM_BOUNDS + 1];
    counter sum_ns;
};

struct counts_slot {
    _Alignas(64) counter starts; /* no two slots in one line of a cache */
    counter running;
    counter requests[COUNTS_ROUTES][COUNTS_METHODS][COUNTS_STATUSES];
    struct times times[COUNTS_ROUTES][COUNTS_METHODS][COUNTS_CLASSES];
};

struct counts {
    size_t bytes;
    unsigned slots;
    atomic_bool tokens_refused;
    struct counts_slot slot[];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "counters are shared between processes");

struct status {
    unsigned number;
    const char *text;
};

/* In their places. What is none of them is counted in the last. */
static const struct status statuses[] = {
    {COUNTS_CUT, "cut"}, {200, "200"}, {201, "201"}, {204, "204"}, {304, "304"}, {400, "400"},
    {401, "401"},        {403, "403"}, {404, "404"}, {405, "405"}, {406, "406"}, {409, "409"},
    {412, "412"},        {413, "413"}, {415, "415"}, {422, "422"}, {428, "428"}, {429, "429"},
    {500, "500"},        {503, "503"}, {504, "504"}, {1, "other"},
};
#define OTHER_STATUS (ARRAY_LEN(statuses) - 1)
_Static_assert(ARRAY_LEN(statuses) <= COUNTS_STATUSES, "each has its place");

static unsigned place_of_status(unsigned status)
{
    for (unsigned i = 0; i < OTHER_STATUS; i++)
        if (statuses[i].number == status)
            return i;
    return OTHER_STATUS;
}

static uint64_t read_counter(const counter *counter_)
{
    return atomic_load_explicit(counter_, memory_order_relaxed);
}

static void add(counter *counter_, uint64_t n)
{
    atomic_store_explicit(counter_, read_counter(counter_) + n, memory_order_relaxed);
}

int counts_new(unsigned slots, struct counts **ret_counts)
{
    size_t bytes = sizeof(struct counts) + slots * sizeof(struct counts_slot);
    /* Zeros; a page that nobody counts in takes no memory. */
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return -errno;
    struct counts *counts = at;
    counts->bytes = bytes;
    counts->slots = slots;
    *ret_counts = counts;
    return 0;
}

void counts_tokens_refused(struct counts *counts, bool refused)
{
    atomic_store_explicit(&counts->tokens_refused, refused, memory_order_relaxed);
}

bool counts_are_tokens_refused(const struct counts *counts)
{
    return atomic_load_explicit(&counts->tokens_refused, memory_order_relaxed);
}

void counts_starting(struct counts *counts, unsigned place)
{
    assert(place < counts->slots);
    add(&counts->slot[place].starts, 1);
}

void counts_not_started(struct counts *counts, unsigned place)
{
    assert(place < counts->slots);
    add(&counts->slot[place].starts, UINT64_MAX); /* one less */
}

void counts_free(struct counts *counts)
{
    (void)munmap(counts, counts->bytes);
}

/* --- a worker's ------------------------------------------------------------------------------- */

struct counts_slot *counts_start(struct counts *counts, unsigned place)
{
    assert(place < counts->slots);
    struct counts_slot *slot = &counts->slot[place];
    atomic_store_explicit(&slot->running, 0, memory_order_relaxed);
    return slot;
}

void counts_begin(struct counts_slot *slot)
{
    add(&slot->running, 1);
}

void counts_end(struct counts_slot *slot, const struct counts_request *request)
{
    unsigned route = request->route, method = request->method, class = request->status / 100;
    assert(route < COUNTS_ROUTES && method < COUNTS_METHODS && class < COUNTS_CLASSES);
    struct times *times = &slot->times[route][method][class];
    add(&slot->running, UINT64_MAX); /* one less */
    add(&slot->requests[route][method][place_of_status(request->status)], 1);
    add(&times->count[histogram_place(request->took_ns)], 1);
    add(&times->sum_ns, request->took_ns);
}

/* --- of all workers --------------------------------------------------------------------------- */

unsigned counts_slots(const struct counts *counts)
{
    return counts->slots;
}

uint64_t counts_starts(const struct counts *counts)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < counts->slots; i++)
        sum += read_counter(&counts->slot[i].starts);
    return sum;
}

uint64_t counts_running(const struct counts *counts)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < counts->slots; i++)
        sum += read_counter(&counts->slot[i].running);
    return sum;
}

uint64_t counts_requests(const struct counts *counts, unsigned route, unsigned method,
                         unsigned place)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < counts->slots; i++)
        sum += read_counter(&counts->slot[i].requests[route][method][place]);
    return sum;
}

const char *counts_status_text(unsigned place)
{
    return place < ARRAY_LEN(statuses) ? statuses[place].text : NULL;
}

bool counts_durations(const struct counts *counts, unsigned route, unsigned method, unsigned place,
                      struct histogram *ret_durations)
{
    struct histogram sum = {.sum_ns = 0};
    uint64_t requests = 0;
    for (unsigned i = 0; i < counts->slots; i++) {
        const struct times *times = &counts->slot[i].times[route][method][place];
        for (unsigned j = 0; j <= HISTOGRAM_BOUNDS; j++) {
            uint64_t count = read_counter(&times->count[j]);
            sum.count[j] += count;
            requests += count;
        }
        sum.sum_ns += read_counter(&times->sum_ns);
    }
    if (requests > 0)
        *ret_durations = sum;
    return requests > 0;
}

const char *counts_class_text(unsigned place)
{
    static const char *const texts[COUNTS_CLASSES] = {"cut", "1xx", "2xx", "3xx", "4xx", "5xx"};
    assert(place < COUNTS_CLASSES);
    return texts[place];
}
