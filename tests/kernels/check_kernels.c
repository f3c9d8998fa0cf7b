/* Checks every kernel of every instruction set of this machine, bit for bit: products against the
 * scalar ones, which are near to double precision, those of a layer against their text (plain.h),
 * the scalar ones too. Random and extreme inputs, odd sizes, pointers that are aligned to nothing,
 * guard bytes around outputs, inputs that nobody may write to or read beyond. With --bench times
 * the same calls. In the manner of dav1d's checkasm.
 *
 * check_kernels --help lists the options. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/kernels/check.h"

/* ---- units ----------------------------------------------------------------------------------- */

enum { MAX_UNITS = 192 };
static unit units[MAX_UNITS];
static int n_units;

void unit_add(const unit *new)
{
    if (n_units == MAX_UNITS)
        abort();
    units[n_units++] = *new;
}

static void add_units(void)
{
    add_layout_units();
    add_quantize_units();
    add_row_units();
    add_cache_units();
    add_attention_units();
    add_product_units();
    add_host_units();
}

#define ENTRY_NAME(name) #name,
static const char *const entry_names[N_ENTRIES] = {PRODUCT_ENTRIES(ENTRY_NAME)
                                                       LAYER_ENTRIES(ENTRY_NAME)};

/* Every function of a kernel table is a unit's to check. */
static void check_entries(void)
{
    entry_set all = 0;
    check_begin("functions that no unit checks");
    for (int i = 0; i < n_units; i++)
        all |= units[i].check != NULL ? units[i].entries : 0;
    for (int entry = 0; entry < N_ENTRIES; entry++)
        if ((all & (entry_set)1 << entry) == 0)
            expect(false, entry_names[entry]);
}

/* The check of a unit has called what it is for, with every table. */
static void check_calls(const unit *of, const table *tables, int n_tables)
{
    for (int t = 0; t < n_tables; t++)
        for (int entry = 0; entry < N_ENTRIES; entry++) {
            const void *half = entry < N_PRODUCT_ENTRIES ? (const void *)tables[t].products
                                                         : (const void *)tables[t].layer;
            if ((of->entries & (entry_set)1 << entry) == 0 || half == NULL)
                continue;
            check_begin("%s %s", of->name, tables[t].name);
            expect(entry_was_called(&tables[t], (entry_index)entry), "has not been called");
        }
}

/* Units are dealt out to the parts in turn, so that each has some of every kind. */
typedef struct part {
    uint32_t index, of;
} part;

static bool is_of_part(const part *one, int i)
{
    return (uint32_t)i % one->of == one->index - 1;
}

static void check_all(const part *one)
{
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    check_entries();
    for (int i = 0; i < n_units; i++) {
        if (units[i].check == NULL || !is_of_part(one, i))
            continue;
        entries_forget();
        random_begin(units[i].name);
        units[i].check(&units[i]);
        if (*chosen.match == '\0')
            check_calls(&units[i], tables, n_tables);
    }
    printf("%d checks, %d failures; tables:", n_checks, n_failures);
    for (int t = 0; t < n_tables; t++)
        printf("%s %s", t > 0 ? "," : "", tables[t].name);
    const char *missing[MAX_TABLES];
    int n_missing = missing_tables(missing);
    for (int t = 0; t < n_missing; t++)
        printf("%s %s", t > 0 ? "," : "; not on this processor:", missing[t]);
    printf("\n");
}

static void list_checks(const part *one)
{
    for (int i = 0; i < n_units; i++) {
        table tables[MAX_TABLES];
        if (units[i].check == NULL || !is_of_part(one, i))
            continue;
        if (!units[i].of_products && !units[i].of_layer) {
            if (is_wanted(units[i].name))
                puts(units[i].name);
            continue;
        }
        int n_tables = unit_tables(&units[i], tables);
        for (int t = 0; t < n_tables; t++)
            printf("%s %s\n", units[i].name, tables[t].name);
    }
}

static void bench_all(const part *one)
{
    if (!chosen.list)
        printf("products: %u rows x %u columns, GB/s of weights; peak: multiply-adds in registers "
               "alone;\nof other rows: a copy of as many bytes as a call reads and writes\n",
               chosen.rows, chosen.columns);
    for (int i = 0; i < n_units; i++) {
        if (units[i].bench == NULL || !is_of_part(one, i))
            continue;
        random_begin(units[i].name);
        units[i].bench(&units[i]);
    }
}

/* ---- faults ---------------------------------------------------------------------------------- */

static struct sigaction before_segv, before_bus;

/* Says whose fault it is, and lets the fault happen again under whoever was asked before: the
 * system, or a sanitizer. */
static void tell_fault(int number)
{
    static const char what[] = ": reads beyond an input, or writes to it\n";
    const char *name = check_name();
    if (write(STDOUT_FILENO, "FAILED ", 7) < 0 || write(STDOUT_FILENO, name, strlen(name)) < 0 ||
        write(STDOUT_FILENO, what, sizeof what - 1) < 0)
        _exit(1);
    sigaction(number, number == SIGSEGV ? &before_segv : &before_bus, NULL);
}

static void watch_faults(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = tell_fault;
    sigaction(SIGSEGV, &action, &before_segv);
    sigaction(SIGBUS, &action, &before_bus);
}

/* ---- options --------------------------------------------------------------------------------- */

static const char usage[] =
    "Usage: check_kernels [OPTION]...\n\n"
    "Checks every kernel of this machine's instruction sets, bit for bit: products, and all else "
    "of a\n"
    "layer. The last line says which tables were checked, and which this processor cannot run.\n\n"
    "  --list          names, one a line: of the checks (what and whose), with --bench of the "
    "timings\n"
    "  --match TEXT    only what has TEXT in its name. The name of a product's check goes on with "
    "what\n"
    "                  is multiplied: \"product Q4_K avx2, lane layout, 47 x 96, 5 tokens, tiny\"; "
    "of\n"
    "                  timings: \"product Q4_K avx2 lane 8\", \"attention avx2 f16 dim 64, 8 "
    "queries\",\n"
    "                  \"rms_norm avx2 4096\", \"top-p 0.95, peaked 128k\", \"pool, a barrier of 2 "
    "threads\"\n"
    "  --part I/N      only the I-th of N parts, so that several can run side by side (1/1)\n"
    "  --seed N        other random numbers (0)\n"
    "  --bench         time the same calls, sampling, and loops of the thread pool: GMAC/s, "
    "elements/s,\n"
    "                  GB/s, share of the peak\n"
    "  --seconds S     of each timing (0.05)\n"
    "  --rows N        of matrices that are timed (2048)\n"
    "  --columns N     a multiple of 256 (2048)\n"
    "  -h, --help      show this text\n\n"
    "Exit status: 0 all agree, 1 they do not, 2 wrong usage or nothing matches.\n";

static bool parse_number(const char *text, unsigned long most, uint32_t *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *out = (uint32_t)value;
    return *text >= '0' && *text <= '9' && *end == '\0' && value <= most;
}

static bool parse_part(const char *text, part *out)
{
    char *end;
    unsigned long index = strtoul(text, &end, 10);
    out->index = (uint32_t)index;
    return *text >= '1' && *text <= '9' && *end == '/' && parse_number(end + 1, 1000, &out->of) &&
           index <= out->of;
}

typedef struct options {
    bool bench;
    part part;
} options;

/* The option of argv[0] with its value; the number of words, 0: wrong. */
static int parse_option(char **argv, options *out)
{
    enum { MOST = 1 << 20 };
    const char *name = argv[0], *value = argv[1];
    bool good = false;
    if (strcmp(name, "--list") == 0)
        return chosen.list = true;
    if (strcmp(name, "--bench") == 0)
        return out->bench = true;
    if (value == NULL)
        return 0;
    if (strcmp(name, "--match") == 0) {
        chosen.match = value;
        good = true;
    } else if (strcmp(name, "--part") == 0) {
        good = parse_part(value, &out->part);
    } else if (strcmp(name, "--seed") == 0) {
        good = parse_number(value, UINT32_MAX, &chosen.seed);
    } else if (strcmp(name, "--seconds") == 0) {
        char *end;
        chosen.seconds = strtod(value, &end);
        good = *value != '\0' && *end == '\0' && chosen.seconds > 0 && chosen.seconds <= 3600;
    } else if (strcmp(name, "--rows") == 0) {
        good = parse_number(value, MOST, &chosen.rows) && chosen.rows > 0;
    } else if (strcmp(name, "--columns") == 0) {
        good = parse_number(value, MOST, &chosen.columns) && chosen.columns > 0 &&
               chosen.columns % 256 == 0;
    }
    return good ? 2 : 0;
}

int main(int argc, char **argv)
{
    options wanted = {.part = {1, 1}};
    for (int i = 1, words; i < argc; i += words) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        words = parse_option(argv + i, &wanted);
        if (words == 0) {
            fprintf(stderr, "check_kernels: wrong or incomplete option %s; --help shows all\n",
                    argv[i]);
            return 2;
        }
    }
    add_units();
    watch_faults();
    if (wanted.bench)
        bench_all(&wanted.part);
    else if (chosen.list)
        list_checks(&wanted.part);
    else
        check_all(&wanted.part);
    if (n_wanted == 0) {
        fprintf(stderr, "check_kernels: nothing matches \"%s\"; --list shows the names\n",
                chosen.match);
        return 2;
    }
    return n_failures != 0;
}
