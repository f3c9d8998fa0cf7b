/* lib/base: what every other folder stands on: status and error, memory, checked sizes, files,
 * clock, CPU features, thread pool, hashing, elementary functions, random numbers.
 * Nothing here knows of models, tokens or tensors. */
#ifndef RAD_BASE_H
#define RAD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "radllm/radllm.h"

#if defined(__GNUC__)
#define RAD_PRINTF(format_index, first_index)                                                      \
    __attribute__((format(printf, format_index, first_index)))
#else
#define RAD_PRINTF(format_index, first_index)
#endif

/* ---- errors ------------------------------------------------------------------------------ */

#define RAD_ERROR_MESSAGE_SIZE 1024

/* The public error object: a status and a message, filled by rad_fail(). */
struct radllm_error {
    const struct rad_allocator *allocator; /* that it came from; NULL for one on the stack */
    radllm_status status;
    char message[RAD_ERROR_MESSAGE_SIZE];
};

/* Sets *error (may be NULL) and returns status, so that callers write `return rad_fail(...)`.
 * The message says what was wrong, where, and what to do. A message that is too long is cut. */
radllm_status rad_fail(radllm_error *error, radllm_status status, const char *format, ...)
    RAD_PRINTF(3, 4);
/* Forgets an earlier failure; every fallible entry of the ABI begins with it. NULL: does nothing.
 */
void rad_error_clear(radllm_error *error);

/* rad_fail with RADLLM_E_MEMORY and the usual sentence. */
radllm_status rad_fail_memory(radllm_error *error, size_t size);

/* Copies at most `size` bytes of untrusted text into out as printable ASCII (others as \xNN, cut
 * with "..." when it does not fit), NUL-terminated, and returns out; for use in messages. */
#define RAD_QUOTE_SIZE 96
const char *rad_quote(char out[RAD_QUOTE_SIZE], const char *text, size_t size);
bool rad_ends_with(const char *text, size_t size, const char *ending);
/* Whether n characters are those of a word of small letters, in any case of ASCII, whatever the
 * host's locale. */
bool rad_same_any_case(const char *text, const char *word, size_t n);
/* Whether text is one of "name|name|name". */
bool rad_is_one_of(const char *text, const char *names);
/* Whether it begins with one of them. */
bool rad_begins_with_one_of(const char *text, const char *names);

/* ---- memory ------------------------------------------------------------------------------ */

/* Where the library's own buffers come from. Both functions may be called from any thread. */
typedef struct rad_allocator {
    void *(*allocate)(void *user, size_t size, size_t alignment); /* NULL when it fails */
    void (*release)(void *user, void *pointer, size_t size);      /* size as allocated */
    void *user;
} rad_allocator;

/* The allocator used where the host supplies none: aligned blocks of the C library; blocks of
 * 4 MiB and more are aligned to 2 MiB and huge pages are asked for. */
extern const rad_allocator rad_default_allocator;

/* size bytes aligned to 64, or NULL; a size of 0 gives NULL. The caller frees with rad_free and
 * the same size. Contents are undefined with rad_alloc, zero with rad_alloc_zero. */
void *rad_alloc(const rad_allocator *allocator, size_t size);
void *rad_alloc_zero(const rad_allocator *allocator, size_t size);
void rad_free(const rad_allocator *allocator, void *pointer, size_t size);

/* Overwrites size bytes in a way that the compiler does not remove (prompt and output text). */
void rad_wipe(void *pointer, size_t size);

/* A growing arena: many small pieces, freed together. Zero-initialise `blocks`, set `allocator`. */
typedef struct rad_arena {
    const rad_allocator *allocator;
    struct rad_arena_block *blocks; /* newest first */
} rad_arena;

void *rad_arena_alloc(rad_arena *arena, size_t size, size_t alignment); /* NULL when it fails */
void *rad_arena_alloc_zero(rad_arena *arena, size_t size, size_t alignment);
char *rad_arena_copy(rad_arena *arena, const char *text, size_t size); /* adds a NUL */
void rad_arena_free(rad_arena *arena);
size_t rad_arena_bytes(const rad_arena *arena); /* taken from the allocator so far */

/* ---- growing arrays ---------------------------------------------------------------------- */

/* Makes room for `needed` items of item_size in *data (capacity in items), at least doubling.
 * False when memory is short or the size overflows; *data is then unchanged. */
bool rad_reserve(const rad_allocator *allocator, void **data, size_t *capacity, size_t needed,
                 size_t item_size);

/* ---- checked sizes ----------------------------------------------------------------------- */

static inline bool rad_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool rad_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool rad_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool rad_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Rounds up to a multiple of a power of two; false on overflow. */
static inline bool rad_align_u64(uint64_t value, uint64_t alignment, uint64_t *out)
{
    uint64_t sum;
    if (!rad_add_u64(value, alignment - 1, &sum))
        return false;
    *out = sum & ~(alignment - 1);
    return true;
}

/* ---- the host: what the program around the library supplies --------------------------------- */

/* Copied by value into every long-lived object. A zeroed member means the default. */
typedef struct rad_host {
    rad_allocator allocator;
    radllm_log_fn log;
    void *log_user;
    int32_t log_level; /* lines above it are dropped */
    radllm_executor_fn executor;
    void *executor_user;
    uint32_t executor_workers;
    radllm_progress_fn progress;
    void *progress_user;
} rad_host;

/* Never pass prompt or output text. Drops the line when the host has no sink. */
void rad_log_line(const rad_host *host, int32_t level, const char *format, ...) RAD_PRINTF(3, 4);

/* ---- the best tokens --------------------------------------------------------------------- */

/* As many as decide most choices. */
#define RAD_BEST_TOKENS 256
typedef struct rad_token_logit {
    float logit;
    uint32_t token;
} rad_token_logit;

/* The tokens with the greatest logits, of equal ones those of lower ids, by rising id. */
typedef struct rad_best_tokens {
    const rad_token_logit *list;
    uint32_t n;  /* 0: the logits themselves are to be looked at */
    bool all;    /* every other logit is -infinity */
    double mass; /* the sum of e^(logit - greatest) over all tokens, within one part in a million;
                  * 0: not known */
} rad_best_tokens;

/* ---- cancellation ------------------------------------------------------------------------ */

/* True once the host asked to stop; cancel may be NULL. */
bool rad_cancelled(const radllm_cancel *cancel);

#endif
