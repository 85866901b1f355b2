/* The steps of tests/fuzz/driver_fuzz.c; what is below is the kind of a frame. */
#ifndef ROLLCALL_TESTS_FUZZ_DRIVER_STEPS_H
#define ROLLCALL_TESTS_FUZZ_DRIVER_STEPS_H

enum driver_step {
    DRIVER_STEPS = 128,
    DRIVER_TURNS = 200,
    DRIVER_TIME,
    DRIVER_WRITE,
    DRIVER_READ,
    DRIVER_PEER,
    DRIVER_SAVED,
    DRIVER_RESTART,
};

/* The low half of the id of the cluster that is heard; its high half is 0. */
#define DRIVER_CLUSTER 7u

#endif
