#include "tests/kernels/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/numeric_f32.h"

settings chosen = {.match = "", .seconds = 0.05, .rows = 2048, .columns = 2048};
int n_wanted, n_checks, n_failures;

/* ---- names ----------------------------------------------------------------------------------- */

static char current[192] = "nothing";
static uint64_t placing; /* where things stand in memory: by the check's name */

static uint64_t hash_of(const char *text, uint64_t seed)
{
    uint64_t hash = 0xcbf29ce484222325u ^ seed * 0x9e3779b97f4a7c15u;
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

bool is_wanted(const char *name)
{
    /* Also by what is printed of a failure, which goes on where the names of --list end. */
    size_t length = strlen(name);
    bool wanted = strstr(name, chosen.match) != NULL ||
                  (strncmp(name, chosen.match, length) == 0 && chosen.match[length] == ',');
    n_wanted += wanted;
    return wanted;
}

void check_begin(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(current, sizeof current, format, arguments);
    va_end(arguments);
    placing = hash_of(current, chosen.seed);
}

const char *check_name(void)
{
    return current;
}

static uint32_t next_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) ^ (uint32_t)(*state >> 13);
}

uint32_t check_bits(void)
{
    return next_bits(&placing);
}

static bool tell(bool truth)
{
    enum { TOLD = 50 };
    n_checks++;
    n_failures += !truth;
    return !truth && n_failures <= TOLD;
}

void expect(bool truth, const char *what)
{
    if (tell(truth))
        printf("FAILED %s: %s\n", current, what);
}

bool same_float(float a, float b)
{
    return rad_float_bits(a) == rad_float_bits(b) || (a != a && b != b);
}

void expect_floats(const float *expected, const float *got, size_t n, const char *what)
{
    size_t i = 0;
    while (i < n && same_float(expected[i], got[i]))
        i++;
    if (tell(i == n))
        printf("FAILED %s: %s: value %zu of %zu is %a, not %a\n", current, what, i, n,
               (double)got[i], (double)expected[i]);
}

static entry_set called[MAX_TABLES];

static size_t index_of(const table *of)
{
    static table tables[MAX_TABLES];
    static int n_tables;
    if (n_tables == 0)
        n_tables = all_tables(tables);
    for (int i = 0; i < n_tables; i++)
        if (tables[i].products == of->products && tables[i].layer == of->layer)
            return (size_t)i;
    abort();
}

void entry_called(const table *of, entry_index entry)
{
    called[index_of(of)] |= (entry_set)1 << entry;
}

void entries_forget(void)
{
    memset(called, 0, sizeof called);
}

bool entry_was_called(const table *of, entry_index entry)
{
    return (called[index_of(of)] & (entry_set)1 << entry) != 0;
}

int unit_tables(const unit *unit, table tables[MAX_TABLES])
{
    table all[MAX_TABLES];
    int n_all = all_tables(all), n = 0;
    for (int i = 0; i < n_all; i++) {
        char name[96];
        if ((unit->of_products && all[i].products == NULL) ||
            (unit->of_layer && all[i].layer == NULL))
            continue;
        snprintf(name, sizeof name, "%s %s", unit->name, all[i].name);
        if (is_wanted(name))
            tables[n++] = all[i];
    }
    return n;
}

/* ---- random numbers -------------------------------------------------------------------------- */

const char *const flavour_names[FLAVOURS] = {"ordinary", "wide", "extreme", "tiny", "large"};

static uint64_t stream;

void random_begin(const char *name)
{
    stream = hash_of(name, chosen.seed);
}

uint32_t random_bits(void)
{
    return next_bits(&stream);
}

uint32_t random_below(uint32_t limit)
{
    return (uint32_t)((uint64_t)random_bits() * limit >> 32);
}

float random_unit(void)
{
    return (float)(random_bits() >> 8) * 0x1p-23f - 1.0f;
}

float random_value(flavour kind)
{
    static const uint32_t extremes[] = {
        0x7fc00000, 0x7f800000, 0xff800000, 0x00000000, 0x80000000, 0x00000001, 0x807fffff,
        0x00800000, 0x7f7fffff, 0xff7fffff, 0x477fe000, 0x477ff000, 0x47800000, 0xc77fefff,
        0x33000000, 0x33000001, 0x387fc000, 0x42b17218, 0xc2ae0000, 0xc2ae0001, 0x7fa00000};
    if (kind == ORDINARY)
        return 2.0f * random_unit();
    if (kind == TINY)
        return random_below(4) == 0 ? 0.0f * random_unit() : random_unit() * 0x1p-125f;
    if (kind == LARGE)
        return random_unit() * 3.4e38f;
    if (kind == EXTREME && random_below(8) == 0)
        return rad_float_of_bits(extremes[random_below(sizeof extremes / sizeof extremes[0])]);
    uint32_t exponent = kind == WIDE ? 100 + random_below(50) : random_below(255);
    return rad_float_of_bits((random_bits() & 0x807fffffu) | exponent << 23);
}

void fill(float *values, size_t n, flavour kind)
{
    for (size_t i = 0; i < n; i++)
        values[i] = random_value(kind);
}

void fill_middles(float *x, size_t n)
{
    float amax = 1.0f;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            x[i] = amax = 1.0f + (float)(random_bits() >> 8) * 0x1p-24f;
            continue;
        }
        double middle = (double)(random_bits() % 126) + 0.5;
        uint32_t bits = rad_float_bits((float)(middle * ((double)amax / 127.0)));
        x[i] = rad_float_of_bits(bits + random_bits() % 3 - 1);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void out_of_memory(void)
{
    fprintf(stderr, "check_kernels: out of memory\n");
    exit(2);
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

input input_new(size_t size, size_t element)
{
    /* A page before, one behind; between them the data, at the end. */
    size_t page = page_bytes(), away = check_bits() % 32 * element;
    if (away >= 16 * element)
        away = 0;
    size_t inside = (size + away + element + page - 1) / page * page;
    input in = {.size = size, .pages_size = inside + 2 * page};
    void *pages = mmap(NULL, in.pages_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        out_of_memory();
    in.pages = pages;
    if (mprotect(in.pages + page, inside, PROT_READ | PROT_WRITE) != 0)
        out_of_memory();
    memset(in.pages + page, 0xff, inside); /* NaN for who reads beside the data */
    in.data = in.pages + page + (inside - size - away) / element * element;
    return in;
}

static void protect(const input *in, int protection)
{
    size_t page = page_bytes();
    if (mprotect(in->pages + page, in->pages_size - 2 * page, protection) != 0)
        out_of_memory();
}

void input_seal(const input *in)
{
    protect(in, PROT_READ);
}

void input_unseal(const input *in)
{
    protect(in, PROT_READ | PROT_WRITE);
}

void input_free(input *in)
{
    if (in->pages != NULL)
        munmap(in->pages, in->pages_size);
    in->pages = NULL;
}

enum { GUARD = 256 };

output output_new(size_t size, size_t misalign)
{
    output out = {.size = size, .misalign = misalign};
    out.base = aligned_alloc(64, (size + 2 * GUARD + misalign + 63) / 64 * 64);
    if (out.base == NULL)
        out_of_memory();
    out.data = out.base + GUARD + misalign;
    output_reset(&out);
    return out;
}

void output_reset(const output *out)
{
    memset(out->base, GUARD_BYTE, out->size + 2 * GUARD + out->misalign);
}

static bool holds_guards(const uint8_t *from, const uint8_t *to)
{
    while (from < to && *from == GUARD_BYTE)
        from++;
    return from == to;
}

void expect_intact(const output *out, const char *what)
{
    char text[96];
    bool before = holds_guards(out->base, out->data);
    bool behind = holds_guards(out->data + out->size, out->data + out->size + GUARD);
    snprintf(text, sizeof text, "writes %s %s", before ? "behind" : "before", what);
    expect(before && behind, text);
}

void output_free(output *out)
{
    free(out->base);
    out->base = NULL;
}

input input_floats(size_t n, flavour kind)
{
    input in = input_new(n * sizeof(float), sizeof(float));
    fill(floats_of(in.data), n, kind);
    return in;
}

output output_floats(size_t n)
{
    return output_new(n * sizeof(float), check_bits() % 16 * sizeof(float));
}
