/* A story told: one line a step, what happened and what came of it. */
#include "tests/core/cluster_state.h"

static const char *event_name(const struct raft_event *e)
{
    switch (e->kind) {
    case RAFT_TICKED:
        return "ticked";
    case RAFT_RECEIVED:
        return "received";
    case RAFT_PROPOSED:
        return "proposed";
    case RAFT_CHANGE_PROPOSED:
        return "change_proposed";
    case RAFT_READ_ASKED:
        return "read_asked";
    case RAFT_TRANSFER_ASKED:
        return "transfer_asked";
    case RAFT_PERSISTED:
        return "persisted";
    case RAFT_COMPACTED:
        return "compacted";
    case RAFT_SNAPSHOT_INSTALLED:
        return "snapshot_installed";
    case RAFT_SNAPSHOT_SENT:
        return "snapshot_sent";
    case RAFT_PEER_LOST:
        return "peer_lost";
    case RAFT_FLOOR_KNOWN:
        return "floor_known";
    case RAFT_SELF_ROLLED_BACK:
        return "self_rolled_back";
    case RAFT_PEER_ROLLED_BACK:
        return "peer_rolled_back";
    case RAFT_DAMAGED:
        return "damaged";
    case RAFT_CONFIGURATION_REPAIRED:
        return "configuration_repaired";
    case RAFT_REPAIRED:
        return "repaired";
    }
    return "?";
}

#define N(number) ((unsigned long long)(number).n)
#define U(number) ((unsigned long long)(number))

static void tell_message(FILE *to, const struct raft_message *m)
{
    fprintf(to, " %llu>%llu t%llu ", N(m->from), N(m->to), N(m->term));
    switch (m->kind) {
    case RAFT_REQUEST_PRE_VOTE:
        fprintf(to, "pre_vote? t%llu last=%llu/%llu", N(m->request_pre_vote.next_term),
                N(m->request_pre_vote.last), N(m->request_pre_vote.last_term));
        return;
    case RAFT_REQUEST_PRE_VOTE_RESPONSE:
        fprintf(to, "pre_vote! t%llu %s", N(m->request_pre_vote_response.next_term),
                m->request_pre_vote_response.granted ? "yes" : "no");
        return;
    case RAFT_REQUEST_VOTE:
        fprintf(to, "vote? last=%llu/%llu%s", N(m->request_vote.last), N(m->request_vote.last_term),
                m->request_vote.transfer ? " transfer" : "");
        return;
    case RAFT_REQUEST_VOTE_RESPONSE:
        fprintf(to, "vote! %s", m->request_vote_response.granted ? "yes" : "no");
        return;
    case RAFT_APPEND_ENTRIES:
        fprintf(to, "append? prev=%llu/%llu +%u commit=%llu round=%llu", N(m->append_entries.prev),
                N(m->append_entries.prev_term), raft_runs_entries(&m->append_entries.entries),
                N(m->append_entries.commit), U(m->append_entries.round));
        return;
    case RAFT_APPEND_ENTRIES_RESPONSE:
        if (m->append_entries_response.accepted)
            fprintf(to, "append! match=%llu", N(m->append_entries_response.match));
        else
            fprintf(to, "append! no prev=%llu hint=%llu/%llu", N(m->append_entries_response.prev),
                    N(m->append_entries_response.hint), N(m->append_entries_response.hint_term));
        fprintf(to, " round=%llu%s", U(m->append_entries_response.round),
                m->append_entries_response.recovering ? " recovering" : "");
        return;
    case RAFT_READ_INDEX:
        fprintf(to, "read? %llu", U(m->read_index.token));
        return;
    case RAFT_READ_INDEX_RESPONSE:
        fprintf(to, "read! %llu %s %llu", U(m->read_index_response.token),
                m->read_index_response.granted ? "yes" : "no", N(m->read_index_response.index));
        return;
    case RAFT_TIMEOUT_NOW:
        fprintf(to, "campaign now");
        return;
    case RAFT_FORGOT:
        fprintf(to, "you forgot up to %llu@%llu", N(m->forgot.index), N(m->forgot.index_term));
        return;
    }
}

static void tell_configuration(FILE *to, const struct raft_configuration *c)
{
    fprintf(to, " of={");
    for (uint32_t i = 0; i < c->voters; i++)
        fprintf(to, "%s%llu", i > 0 ? "," : "", N(c->voter[i]));
    for (uint32_t i = 0; i < c->outgoing; i++)
        fprintf(to, "%s%llu", i > 0 ? "," : "|", N(c->outgoing_voter[i]));
    fprintf(to, "}");
}

void cluster_tell(const struct cluster *c, const struct node *n, const struct raft_event *e,
                  const struct raft_output *out)
{
    static const char *const role[] = {"follower", "pre_candidate", "candidate", "leader"};
    FILE *to = c->trace;
    fprintf(to, "%llu node %u %s", U(c->now_ms), n->id, event_name(e));
    if (e->kind == RAFT_RECEIVED)
        tell_message(to, e->received.message);
    if (e->kind == RAFT_SNAPSHOT_INSTALLED)
        fprintf(to, " %llu/%llu", N(e->snapshot_installed.index), N(e->snapshot_installed.term));
    if (e->kind == RAFT_SNAPSHOT_SENT)
        fprintf(to, " to=%llu index=%llu %s", N(e->snapshot_sent.to), N(e->snapshot_sent.index),
                e->snapshot_sent.installed ? "installed" : "lost");
    struct raft_status s = raft_status(n->raft);
    fprintf(to, "\n    = %s t%llu start=%llu commit=%llu durable=%llu last=%llu snapshot=%llu",
            role[s.role], N(s.term), U(n->now->start), N(s.commit), N(s.durable), N(s.last),
            U(n->snapshot));
    if (s.recovering)
        fprintf(to, " recovering");
    if (s.floor.known)
        fprintf(to, " floor=%llu/%llu", N(s.floor.index), N(s.floor.term));
    tell_configuration(to, raft_configuration(n->raft));
    const struct raft_persist *p = &out->persist;
    if (p->wanted)
        fprintf(to, "\n    persist t%llu vote=%llu%s%s +%u", N(p->hard.term),
                p->hard.voted ? N(p->hard.vote) : 0ULL, p->reset ? " reset" : "",
                p->truncate ? " truncate" : "", raft_runs_entries(&p->entries));
    for (uint32_t i = 0; i < out->sends.count; i++) {
        fprintf(to, "\n    ");
        tell_message(to, &out->sends.at[i]);
    }
    for (uint32_t i = 0; i < out->results.count; i++) {
        if (out->results.at[i].kind == RAFT_SEND_SNAPSHOT)
            fprintf(to, "\n    send snapshot to %llu", N(out->results.at[i].send_snapshot.to));
    }
    fprintf(to, "\n");
}
