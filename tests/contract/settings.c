#include "contract/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

const dimension dimensions[DIMENSIONS] = {
    {"threads", {"1", "2", "3", "8"}},
    {"chunk", {"1", "2", "3", "7", "16", "17", "64", "512"}},
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
};

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
        if (strcmp(dimensions[d].name, name) == 0)
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

/* Every combination, but for this: how the prompt was computed, who computed its beginning, and how
 * the answer is guessed have little to do with each other, so that pairs of them are enough. */
static bool worth_trying(const combination *c, cover wanted)
{
    bool plain = strcmp(value_of(c, "speculation"), "off") == 0 &&
                 strcmp(value_of(c, "prefix"), "computed") == 0;
    return wanted != COVER_ALL || plain ||
           (strcmp(value_of(c, "chunk"), "512") == 0 &&
            strcmp(value_of(c, "environment"), "default") == 0);
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

static bool possible(const combination *c)
{
    /* A mapped model has the file's layout whatever is asked for: one of the two is enough. */
    bool redundant =
        strcmp(value_of(c, "load"), "map") == 0 && strcmp(value_of(c, "layout"), "lane") == 0;
    return !redundant && can_run(value_of(c, "isa"));
}

static combination *all_combinations(cover wanted, size_t *count)
{
    size_t total = 1, n = 0;
    for (int d = 0; d < DIMENSIONS; d++)
        total *= n_values(d);
    combination *all = malloc(total * sizeof *all);
    for (size_t i = 0; i < total; i++) {
        combination c;
        size_t rest = i;
        for (int d = 0; d < DIMENSIONS; d++) {
            c.index[d] = (uint8_t)(rest % n_values(d));
            rest /= n_values(d);
        }
        if (possible(&c) && worth_trying(&c, wanted))
            all[n++] = c;
    }
    *count = n;
    return all;
}

/* Pairs of values that occur in c and were not seen before; with mark, they count as seen. */
static int new_pairs(const combination *c,
                     bool seen[DIMENSIONS][MAX_VALUES][DIMENSIONS][MAX_VALUES], cover wanted,
                     bool mark)
{
    int n = 0;
    for (int a = 0; a < DIMENSIONS; a++) {
        int last = wanted == COVER_VALUES ? a + 1 : DIMENSIONS; /* of a with itself: the value */
        for (int b = a; b < last; b++) {
            bool *pair = &seen[a][c->index[a]][b][c->index[b]];
            n += *pair ? 0 : 1;
            *pair = *pair || mark;
        }
    }
    return n;
}

combination *choose_combinations(cover wanted, size_t *count)
{
    size_t n_all, chosen = 0;
    combination *all = all_combinations(wanted, &n_all);
    *count = n_all;
    if (wanted == COVER_ALL)
        return all;
    static bool seen[DIMENSIONS][MAX_VALUES][DIMENSIONS][MAX_VALUES];
    memset(seen, 0, sizeof seen);
    for (;;) { /* take the one that adds most, until none adds any */
        size_t best = 0;
        int most = 0;
        for (size_t i = chosen; i < n_all; i++) {
            int n = new_pairs(&all[i], seen, wanted, false);
            if (n > most) {
                most = n;
                best = i;
            }
        }
        if (most == 0)
            break;
        new_pairs(&all[best], seen, wanted, true);
        combination taken = all[best];
        all[best] = all[chosen];
        all[chosen++] = taken;
    }
    *count = chosen;
    return all;
}
