/* The kernel tables that this machine can run, and the emulated ones of the tests. */
#ifndef RAD_TEST_TABLES_H
#define RAD_TEST_TABLES_H

#include "tests/kernels/entries.h"

enum { MAX_TABLES = 12 };

/* One instruction set. Either half may be missing: NULL where another table has the same one, or
 * where nothing is to be checked. */
typedef struct table {
    const char *name;
    const rad_kernels *products;
    const rad_layer_kernels *layer;
} table;

/* All of them, the scalar ones first. Returns how many. */
int all_tables(table tables[MAX_TABLES]);

/* The names of those that this build has and this processor cannot run. Returns how many. */
int missing_tables(const char *names[MAX_TABLES]);

#endif
