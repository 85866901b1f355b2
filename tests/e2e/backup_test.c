/*
 * Backups: taken while clients write, restored into clusters of one and of three; and what is not
 * restored.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/load.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKUP  CTL "backup $D/file --socket $N/raft.sock"
#define RESTORE CTL "restore $FROM/file --dir $D/node-$I/wal --cluster $NAME"
#define EACH    "for I in $(seq $NODES); do "

static long number_after(const char *text, const char *what)
{
    const char *at = strstr(text, what);

    cr_assert_not_null(at, "%s is not in %s", what, text);
    return strtol(at + strlen(what), NULL, 10);
}

/* Of a user in a list of them. */
static long id_of(const char *users, const char *name)
{
    const char *at = users, *next;
    char wanted[64];

    snprintf(wanted, sizeof wanted, "\"name\":\"%s\"", name);
    while ((next = strstr(at, "{\"id\":")) != NULL && next < strstr(users, wanted))
        at = next + 1;
    cr_assert(at != users, "%s is not in %s", name, users);
    return number_after(at, "\"id\":");
}

/* A stack of so many nodes that starts from $FROM/file, as the cluster $NAME. */
static struct stack restored_as(const char *name, const struct stack *from, int nodes)
{
    struct stack stack = stack_prepare_nodes(nodes);

    setenv("FROM", from->dir, 1);
    setenv("NAME", name, 1);
    operator_does(&stack, 0, "restore_ready", EACH RESTORE " || exit; done");
    setenv("ROLLCALL_CLUSTER", name, 1);
    stack_up(&stack);
    unsetenv("ROLLCALL_CLUSTER");
    return stack;
}

static struct stack restored(const struct stack *from, int nodes)
{
    return restored_as("second", from, nodes);
}

Test(backup, taken_while_clients_write_it_holds_all_that_was_acknowledged_before, .timeout = 120)
{
    struct stack stack = stack_start_nodes(3);
    struct load *load = load_start(stack.port, 8, true);

    for (int i = 0; i < 10; i++) {
        char command[160];
        long before = load_counts(load).created, users;

        snprintf(command, sizeof command, CTL "backup $D/file --socket $D/node-%d/raft.sock",
                 i % 3 + 1);
        users = number_after(operator_does(&stack, 0, "backup_done", command), " users=");
        cr_expect_geq(users, before);
        cr_expect_leq(users, load_counts(load).created + 8);
        cr_expect_eq(number_after(operator_does(&stack, 0, NULL, CTL "check $D/file"), " users="),
                     users);
        sleep_ms(200);
    }
    cr_expect_gt(load_stop(load).created, 100);
    load_judge(load, stack.port);
    load_free(load);
    operator_does(&stack, 0, NULL, "! ls $D/file.tmp");
    stack_stop(&stack);
}

/*
 * Into a cluster of so many: ids, names, answers; and it goes on, over a restart, too. Its first
 * new id, returned, is far above all that the old cluster may have given since the backup.
 */
static long restore_into(const char *name, struct stack *first, const char *users, const char *once,
                         int nodes)
{
    struct stack second = restored_as(name, first, nodes);
    long last = number_after(once, "\"id\":"), next;
    char *all;

    operator_expects(&second, users);
    cr_expect_str_eq(operator_tries(&second, nodes, "Once"), once);
    operator_expects(&second, users);
    operator_does(&second, 0, NULL, "! ls $D/node-*/wal/restore");
    operator_enrols(second.port, 1000, 1010);
    all = operator_lists(second.port);
    next = id_of(all, "user-1000");
    cr_expect(next > last + (1L << 40), "%ld after %ld", next, last);
    cr_expect(next <= last + (1L << 40) + (1L << 46), "%ld after %ld", next, last);

    stack_down(&second);
    stack_up(&second); /* the folder remembers the cluster's name */
    operator_expects(&second, all);
    free(all);
    stack_stop(&second);
    return next;
}

/* Two clusters that begin with one backup do not hand out the same ids. */
Test(backup, restored_into_clusters_of_one_and_three_it_keeps_ids_and_answers, .timeout = 240)
{
    struct stack first;
    char once[64], *users;
    long one, three;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    first = stack_start();
    operator_enrols(first.port, 1, 200);
    snprintf(once, sizeof once, "%s", operator_tries(&first, 1, "Once"));
    users = operator_lists(first.port);
    operator_does(&first, 0, "users=201 answers=201", BACKUP);
    one = restore_into("second", &first, users, once, 1);
    three = restore_into("third", &first, users, once, 3);
    cr_expect(labs(three - one) > 1000000, "one goes on with %ld, the other with %ld", one, three);
    operator_expects(&first, users);
    free(users);
    stack_stop(&first);
}

Test(backup, is_refused_where_it_could_do_harm, .timeout = 120)
{
    struct stack first = stack_start(), second;

    operator_enrols(first.port, 1, 20);
    setenv("FROM", first.dir, 1);
    operator_does(&first, 0, NULL, BACKUP);
    operator_does(&first, 1, "very name",
                  CTL "restore $D/file --dir $D/new/wal --cluster rollcall");
    operator_does(&first, 1, "the directory has a file",
                  CTL "restore $D/file --dir $N/wal --cluster second");
    operator_does(&first, 2, "--cluster is missing", CTL "restore $D/file --dir $D/new/wal");
    operator_does(&first, 2, "--cluster is no name",
                  CTL "restore $D/file --dir $D/new/wal --cluster 'a b'");
    operator_does(&first, 1, "No such file", CTL "restore $D/none --dir $D/new --cluster second");
    operator_does(&first, 1, "No such file", CTL "backup $D/file --socket $D/none");
    operator_does(&first, 0, NULL,
                  "cp $D/file $D/bad; printf X | dd of=$D/bad bs=1 seek=300 "
                  "conv=notrunc 2>/dev/null");
    operator_does(&first, 3, "damaged at offset",
                  CTL "restore $D/bad --dir $D/new/wal --cluster second");
    operator_does(&first, 3, "cut short",
                  "head -c 500 $D/file >$D/bad; " CTL
                  "restore $D/bad --dir $D/new/wal --cluster second");
    operator_does(&first, 3, "no backup of rollcall", CTL "check $ROOT/Makefile");
    operator_does(&first, 0, NULL, "! ls -d $D/new");

    /* A node whose Redis has something under its name already; or that is of another cluster. */
    second = restored(&first, 1);
    operator_enrols(second.port, 100, 120);
    operator_does(&second, 0, NULL,
                  "kill -USR1 $(cat $N/raft.pid); until [ \"$(redis-cli -s $N/redis.sock HGET "
                  "rollcall:second:1:meta users)\" = 41 ]; do sleep 0.1; done");
    stack_down(&second);
    operator_does(&second, 0, NULL, "mv $N/wal $N/kept; I=1; " RESTORE);
    operator_does(&second, 1, "it is for cluster 'second'",
                  "ROLLCALL_CLUSTER=other \"$ROOT/deploy/local\" up --dir $D --port $P");
    operator_does(&second, 1, "Redis holds a snapshot of another state",
                  "\"$ROOT/deploy/local\" up --dir $D --port $P");
    operator_does(&second, 0, NULL, "rm -r $N/wal; mv $N/kept $N/wal");
    stack_up(&second);
    operator_enrols(second.port, 121, 130);
    stack_stop(&second);
    stack_stop(&first);
}

/* A first start that was cut off by a crash, at each of its steps, is done over. */
Test(backup, whose_restore_is_cut_off_anywhere_is_restored_all_the_same, .timeout = 120)
{
    struct stack first = stack_start(), second;
    char *users;

    operator_enrols(first.port, 1, 50);
    users = operator_lists(first.port);
    operator_does(&first, 0, NULL, BACKUP);
    second = restored(&first, 3);
    operator_expects(&second, users);
    stack_down(&second);

    /* The log has begun, and only the file is left: the log counts. */
    operator_does(&second, 0, NULL,
                  EACH "mkdir $D/x && ( cd $D && " CTL "restore $FROM/file --dir $D/x/wal "
                       "--cluster second ) && mv $D/x/wal/restore $D/node-$I/wal/ && rm -r $D/x "
                       "|| exit; done");
    stack_up(&second);
    operator_does(&second, 0, NULL, "! ls $D/node-*/wal/restore");
    operator_expects(&second, users);
    stack_down(&second);

    /* Redis has it, and the log has not begun. */
    operator_does(&second, 0, NULL, EACH "rm -r $D/node-$I/wal && " RESTORE " || exit; done");
    stack_up(&second);
    operator_expects(&second, users);
    operator_enrols(second.port, 51, 60);
    free(users);
    stack_stop(&second);
    stack_stop(&first);
}

/* One node of a restored cluster is restored again: it has forgotten what it acknowledged since. */
Test(backup, restored_again_into_a_cluster_that_lives_takes_nothing_from_it, .timeout = 120)
{
    struct stack first = stack_start(), second;
    char *users;

    operator_enrols(first.port, 1, 20);
    operator_does(&first, 0, NULL, BACKUP);
    operator_does(&first, 0, NULL, CTL "restore $D/file --dir $D/new/wal --cluster second");
    operator_does(&first, 0, "there to be restored", CTL "wal verify $D/new/wal");
    second = restored(&first, 3);
    operator_enrols(second.port, 21, 60);
    users = operator_lists(second.port);
    operator_does(&second, 0, NULL,
                  "\"$ROOT/deploy/node\" down --dir $D/node-3 && rm -r $D/node-3/wal "
                  "$D/node-3/redis && I=3 && " RESTORE);
    stack_up(&second);
    operator_expects(&second, users);
    operator_enrols(second.port + 3, 61, 70);
    free(users);
    stack_stop(&second);
    stack_stop(&first);
}
