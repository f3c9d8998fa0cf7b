#include "contract/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

const dimension dimensions[DIMENSIONS] = {
    {"threads", {"1", "2", "3", "8"}},
    /* Rows that the engine computes in one step at most. */
    {"batch", {"17", "512", "3", "1", "16", "2"}},
    /* How many tokens of the text the session is fed with at a time. */
    {"chunk", {"7", "64", "600"}},
    {"isa", {"scalar", "avx2", "avx512", "neon"}},
    {"layout", {"file", "lane"}},
    /* behind: copied behind the first tokens, which read the file. */
    {"load", {"copy", "map", "behind"}},
    /* Rounding mode and flush-to-zero that the host has set. */
    {"environment", {"default", "odd"}},
    /* anew: all computed in this run; rewound: the session first holds other tokens, and a common
     * beginning is kept. */
    {"history", {"anew", "rewound"}},
    /* Who guesses the tokens of the answer; host: a callback that is right two times in three. */
    {"speculation", {"off", "lookup", "draft", "host"}},
    /* Who computed the beginning of the text: the session itself, another one that shares it (its
     * last page by a copy), or one that was written to a file. */
    {"prefix", {"computed", "shared", "restored"}},
    /* Whether another session's tokens are computed in the steps of the answer. */
    {"company", {"none", "other"}},
};

enum { UNSET = 0xff }; /* index of a dimension that may still take any value */

static size_t n_values(int d)
{
    size_t n = 0;
    while (n < MAX_VALUES && dimensions[d].values[n] != NULL)
        n++;
    return n;
}

const char *value_of(const combination *c, const char *name)
{
    for (int d = 0; d < DIMENSIONS; d++) {
        if (strcmp(dimensions[d].name, name) == 0 && c->index[d] != UNSET)
            return dimensions[d].values[c->index[d]];
    }
    return "";
}

const char *describe(const combination *c)
{
    static char text[256];
    size_t used = 0;
    for (int d = 0; d < DIMENSIONS; d++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %s", d == 0 ? "" : ", ",
                                 dimensions[d].name, dimensions[d].values[c->index[d]]);
    return text;
}

/* Asked of the processor once, since virtual machines take long to answer. */
static bool can_run(const char *isa)
{
    static const rad_isa sets[] = {RAD_ISA_SCALAR, RAD_ISA_AVX2, RAD_ISA_AVX512, RAD_ISA_NEON};
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
    static int answers[4]; /* 1: no, 2: yes */
    for (int i = 0; i < 4; i++) {
        if (strcmp(isa, names[i]) != 0)
            continue;
        if (answers[i] == 0)
            answers[i] = rad_kernels_find(sets[i], true) != NULL ? 2 : 1;
        return answers[i] == 2;
    }
    return false;
}

/* Dimensions without a value yet can still take any. */
static bool possible(const combination *c)
{
    /* A mapped model has the file's layout whatever is asked for: one of the two is enough. */
    bool redundant =
        strcmp(value_of(c, "load"), "map") == 0 && strcmp(value_of(c, "layout"), "lane") == 0;
    const char *isa = value_of(c, "isa"), *only = getenv("RADLLM_CONTRACT_ISA");
    if (isa[0] != '\0' && (!can_run(isa) || (only != NULL && strcmp(isa, only) != 0)))
        return false;
    return !redundant;
}

/* ---- covers of pairs and of values --------------------------------------------------------------
 */

/* seen[a][i][b][j]: value i of dimension a occurred with value j of dimension b, a <= b; of a with
 * itself: the value occurred. */
typedef bool pairs_seen[DIMENSIONS][MAX_VALUES][DIMENSIONS][MAX_VALUES];

typedef struct search {
    pairs_seen seen;
    cover wanted;
    size_t turn; /* so that values of equal merit take turns */
    bool plain;  /* the plain kernels occurred */
} search;

/* Pairs with the value of dimension d that were not seen, among those whose values are set. */
static int new_pairs(const search *s, const combination *c, int d)
{
    int n = 0;
    for (int other = 0; other < DIMENSIONS; other++) {
        int a = d < other ? d : other, b = d < other ? other : d;
        if ((s->wanted == COVER_VALUES && a != b) || c->index[other] == UNSET)
            continue;
        n += s->seen[a][c->index[a]][b][c->index[b]] ? 0 : 1;
    }
    return n;
}

static int count_new(const search *s, const combination *c)
{
    int n = 0;
    for (int d = 0; d < DIMENSIONS; d++)
        n += new_pairs(s, c, d);
    return n;
}

/* Plain kernels take several times as long as the others: once they occurred they get no more
 * combinations than their own pairs need. */
static bool avoided(const search *s, const combination *c)
{
    return s->plain && strcmp(value_of(c, "isa"), "scalar") == 0;
}

/* Gives every dimension that has none the value that adds most. False when some has none left. */
static bool complete(search *s, combination *c)
{
    for (int d = 0; d < DIMENSIONS; d++) {
        int most = -1;
        uint8_t best = 0;
        if (c->index[d] != UNSET)
            continue;
        for (size_t i = 0; i < n_values(d); i++) {
            c->index[d] = (uint8_t)((i + s->turn) % n_values(d));
            int n = possible(c) ? 2 * new_pairs(s, c, d) + (avoided(s, c) ? 0 : 1) : -1;
            if (n > most) {
                most = n;
                best = c->index[d];
            }
        }
        c->index[d] = best;
        s->turn++;
        if (most < 0)
            return false;
    }
    return true;
}

/* The best of the combinations that begin with a pair not seen yet. False when there is none. */
static bool next_combination(search *s, combination *best)
{
    int most = 0;
    for (int a = 0; a < DIMENSIONS; a++) {
        int last = s->wanted == COVER_VALUES ? a + 1 : DIMENSIONS;
        for (int b = a; b < last; b++) {
            for (size_t pair = 0; pair < n_values(a) * n_values(b); pair++) {
                combination c;
                memset(c.index, UNSET, sizeof c.index);
                c.index[a] = (uint8_t)(pair % n_values(a));
                c.index[b] = (uint8_t)(a == b ? c.index[a] : pair / n_values(a));
                if (s->seen[a][c.index[a]][b][c.index[b]] || !possible(&c) || !complete(s, &c))
                    continue;
                int n = count_new(s, &c) * (avoided(s, &c) ? 1 : 3);
                if (n > most) {
                    most = n;
                    *best = c;
                }
            }
        }
    }
    return most > 0;
}

static void mark(search *s, const combination *c)
{
    s->plain = s->plain || strcmp(value_of(c, "isa"), "scalar") == 0;
    for (int a = 0; a < DIMENSIONS; a++)
        for (int b = a; b < DIMENSIONS; b++)
            s->seen[a][c->index[a]][b][c->index[b]] = true;
}

static size_t cover_pairs(cover wanted, combination *list, size_t capacity)
{
    static search s;
    size_t n = 0;
    memset(&s, 0, sizeof s);
    s.wanted = wanted;
    while (n < capacity && next_combination(&s, &list[n]))
        mark(&s, &list[n++]);
    return n;
}

/* ---- every combination --------------------------------------------------------------------------
 */

/* What decides which kernels compute which rows of what memory; the other dimensions say who
 * computed which tokens, and whether anything else went on. */
enum { KERNEL_DIMENSIONS = 6 };

static size_t n_combinations(int first, int last)
{
    size_t n = 1;
    for (int d = first; d < last; d++)
        n *= n_values(d);
    return n;
}

static void set_values(combination *c, int first, int last, size_t number)
{
    for (int d = first; d < last; d++) {
        c->index[d] = (uint8_t)(number % n_values(d));
        number /= n_values(d);
    }
}

/* How the text is fed makes no difference where the engine cuts it finer anyway. */
static bool worth_trying(const combination *c)
{
    return strcmp(value_of(c, "chunk"), "600") == 0 || atoi(value_of(c, "batch")) >= 17;
}

static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* All of one group of dimensions, each with values of the other group that look random. */
static size_t cross(int first, int last, combination *list)
{
    int other = first == 0 ? last : 0, other_end = first == 0 ? DIMENSIONS : first;
    size_t n = 0, total = n_combinations(first, last);
    for (size_t i = 0; i < total; i++) {
        combination c;
        uint64_t random = i;
        set_values(&c, first, last, i);
        do { /* values that exclude each other are drawn anew */
            random = mixed(random + 0x9e3779b97f4a7c15u);
            set_values(&c, other, other_end, (size_t)(random >> 16));
        } while (first != 0 && !(possible(&c) && worth_trying(&c)));
        if (possible(&c) && worth_trying(&c))
            list[n++] = c;
    }
    return n;
}

/* Every combination of what decides about kernels, of the others too for COVER_ALL, and pairs. */
static size_t cover_whole(cover wanted, combination *list, size_t capacity)
{
    size_t n = cross(0, KERNEL_DIMENSIONS, list);
    if (wanted == COVER_ALL && n > 0)
        n += cross(KERNEL_DIMENSIONS, DIMENSIONS, list + n);
    return n + cover_pairs(COVER_PAIRS, list + n, capacity - n);
}

combination *choose_combinations(cover wanted, size_t *count)
{
    enum { PAIRS = 256 };
    size_t capacity = n_combinations(0, KERNEL_DIMENSIONS) +
                      n_combinations(KERNEL_DIMENSIONS, DIMENSIONS) + PAIRS;
    combination *list = malloc(capacity * sizeof *list);
    *count = 0;
    if (list != NULL)
        *count = wanted == COVER_ALL || wanted == COVER_KERNELS
                     ? cover_whole(wanted, list, capacity)
                     : cover_pairs(wanted, list, PAIRS);
    return list;
}

cover cover_of(const char *name)
{
    static const char *const names[] = {[COVER_VALUES] = "values",
                                        [COVER_PAIRS] = "pairs",
                                        [COVER_KERNELS] = "kernels",
                                        [COVER_ALL] = "full"};
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0)
            return (cover)i;
    }
#if defined(__OPTIMIZE__) && !defined(__clang__)
    return COVER_PAIRS;
#else
    return COVER_VALUES;
#endif
}

size_t ways_of(const char *name, size_t subject, size_t n, size_t *first)
{
#ifdef __clang__
    size_t turn = subject + 1;
#else
    size_t turn = subject;
#endif
    *first = 0;
    if (name != NULL && strcmp(name, "turns") == 0 && n > 1) {
        *first = turn % 2;
        return 1;
    }
    return name != NULL && strcmp(name, "sample") == 0 && n > 3 ? 3 : n;
}
