/* The kernel tables that this machine can run, and the emulated ones of the tests. */
#ifndef RAD_TEST_TABLES_H
#define RAD_TEST_TABLES_H

#include "kernels/kernels.h"

enum { MAX_TABLES = 10 };

/* All tables but the scalar one first; scalar is included, against itself. Returns how many. */
int all_tables(const rad_kernels *tables[MAX_TABLES]);

#endif
