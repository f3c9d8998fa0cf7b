/* What the checks of kernels share: names and which of them are wanted, random numbers that depend
 * on the name alone, memory whose borders are watched, comparing, timing. Knows no kernel. */
#ifndef RAD_TEST_CHECK_H
#define RAD_TEST_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "tests/kernels/tables.h"

/* ---- units ----------------------------------------------------------------------------------- */

/* What is checked and timed as a whole, with one stream of random numbers. */
typedef struct unit {
    const char *name;                       /* "rms_norm", "product Q4_K" */
    void (*check)(const struct unit *unit); /* NULL: only timed */
    void (*bench)(const struct unit *unit); /* NULL: only checked */
    entry_set entries;                      /* those that the check calls */
    bool of_products, of_layer;             /* whose tables it takes; neither: none */
    const void *data;                       /* the unit's own */
} unit;

typedef struct settings {
    const char *match;
    uint32_t seed;
    bool list; /* names instead of timings */
    double seconds;
    uint32_t rows, columns; /* of timed products */
} settings;
extern settings chosen;

/* Each file of checks adds its units. */
void unit_add(const unit *new);
void add_quantize_units(void);
void add_product_units(void);
void add_layout_units(void);
void add_row_units(void);
void add_cache_units(void);
void add_attention_units(void);
void add_host_units(void);

/* The tables that are wanted for a unit and have what it takes, by names such as "rms_norm avx2".
 * Returns how many. */
int unit_tables(const unit *unit, table tables[MAX_TABLES]);

/* ---- names ----------------------------------------------------------------------------------- */

/* Whether what has this name was asked for (--match). */
bool is_wanted(const char *name);
/* The check whose outcomes are told next, printf style. */
void check_begin(const char *format, ...) RAD_PRINTF(1, 2);
const char *check_name(void);
/* Bits that follow from its name (and --seed) alone, the next ones at each call. */
uint32_t check_bits(void);
/* One outcome of it; what failed is printed with its name, `what` says what it is. */
void expect(bool truth, const char *what);
/* The same for n floats, bit for bit; any NaN is the same as any other. */
void expect_floats(const float *expected, const float *got, size_t n, const char *what);
bool same_float(float a, float b);

extern int n_wanted, n_checks, n_failures;

/* A function of a table, noted as called. */
void entry_called(const table *of, entry_index entry);
bool entry_was_called(const table *of, entry_index entry);
void entries_forget(void);
#define LAYER_KERNEL(table, name)   (entry_called((table), ENTRY_##name), (table)->layer->name)
#define PRODUCT_KERNEL(table, name) (entry_called((table), ENTRY_##name), (table)->products->name)

/* ---- random numbers -------------------------------------------------------------------------- */

/* The stream begins anew, by this name and --seed. */
void random_begin(const char *name);
uint32_t random_bits(void);
uint32_t random_below(uint32_t limit);
/* -1 to 1, not 1 itself. */
float random_unit(void);

/* Floats of several kinds: -2 to 2; many magnitudes; any at all, often at the borders (NaN,
 * infinities, zeros, subnormals, the greatest, where halves overflow or vanish, where exp() does);
 * subnormal ones and zeros; near the greatest. */
typedef enum flavour { ORDINARY, WIDE, EXTREME, TINY, LARGE, FLAVOURS } flavour;
extern const char *const flavour_names[FLAVOURS];
float random_value(flavour kind);
void fill(float *values, size_t n, flavour kind);
/* Blocks of 32 whose values are beside the middle between two integers once they are divided by the
 * scale: where a factor that is off by one bit shows. */
void fill_middles(float *x, size_t n);

/* ---- memory ---------------------------------------------------------------------------------- */

/* An input: behind its end, or a few elements behind, begin pages that nobody may touch, and once
 * it is sealed nobody may write to it. Who does is stopped, and the check's name printed. */
typedef struct input {
    uint8_t *data;
    size_t size;
    uint8_t *pages;
    size_t pages_size;
} input;
/* size bytes, aligned to `element` bytes and, every other time, to no more than that. */
input input_new(size_t size, size_t element);
void input_seal(const input *in);
void input_unseal(const input *in);
void input_free(input *in);

/* An output: size bytes at an address that is a multiple of 64 plus `misalign`, bytes of 0xa5
 * before, behind, and at first in it. */
typedef struct output {
    uint8_t *base;
    uint8_t *data;
    size_t size, misalign;
} output;
enum { GUARD_BYTE = 0xa5 };
output output_new(size_t size, size_t misalign);
/* 0xa5 everywhere again. */
void output_reset(const output *out);
/* Tells (expect()) whether what is around it is as it was. */
void expect_intact(const output *out, const char *what);
void output_free(output *out);

/* The two as floats. */
static inline float *floats_of(const void *data)
{
    return (float *)(uintptr_t)data;
}
input input_floats(size_t n, flavour kind); /* not sealed yet */
output output_floats(size_t n);             /* misaligned by some floats */

/* ---- timing ---------------------------------------------------------------------------------- */

/* What is timed; amounts are those of one call, 0: not told. */
typedef struct timed {
    void (*call)(void *data);
    void *data;
    double macs, bytes, elements;
    double seconds_at_peak; /* what the work would take at the processor's best */
} timed;

/* Whether a timing of this name is wanted; with --list prints the name and says no. */
bool time_wanted(const char *format, ...) RAD_PRINTF(1, 2);
/* Times what time_wanted() named, prints a line. */
void time_call(const timed *job);
/* Seconds: of the clock on the wall, of this thread's processor time. */
double wall_clock(void);
double thread_clock(void);
/* The best of a thread with the instructions that a table may use, in registers alone:
 * multiply-adds a second of bytes and of floats. And bytes a second that loops read which only
 * read, from `size` bytes over and over. */
typedef struct peaks {
    double bytes, floats;
} peaks;
peaks peak_of(const table *of);
/* Seconds that it takes to copy in the cache, as many bytes read and written. */
double peak_copying(double bytes);

#endif
