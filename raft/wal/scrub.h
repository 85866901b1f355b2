/* Reading what is durable to see whether it is whole. For wal*.c only. */
#ifndef ROLLCALL_WAL_SCRUB_H
#define ROLLCALL_WAL_SCRUB_H

#include "raft/wal/walk.h"

/* All of segment i of wal->segment, here and now; repairs headers, and notes holes. */
NODISCARD int wal_examine(struct wal *wal, uint32_t i, bool *ret_repaired);

#endif
