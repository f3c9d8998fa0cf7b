/* Which modules a key of PEFT's alpha_pattern means: a regular expression for the end of a name.
 * A plain subset, matched in time that is bounded whatever the expression is. */
#ifndef RAD_MODULE_PATTERN_H
#define RAD_MODULE_PATTERN_H

#include <stdint.h>

#define RAD_MODULE_NAME_MAX 287 /* longer names match nothing */

typedef enum rad_pattern_result {
    RAD_PATTERN_NO,
    RAD_PATTERN_YES,
    RAD_PATTERN_UNKNOWN, /* no regular expression, or one with more than is supported */
} rad_pattern_result;

/* As Python's re.match(r"(.*\.)?(PATTERN)$", name) says. Supported: characters, '.', escaped
 * punctuation, \d \w \s and their opposites, [...], (...), (?:...), '|', '*', '+', '?', {m,n}, '^'
 * and '$'. Takes what it did off *steps; at 0 the result is unknown. */
rad_pattern_result rad_module_pattern_match(const char *pattern, const char *name, uint32_t *steps);

#endif
