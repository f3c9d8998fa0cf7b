/* Which script of Unicode a character belongs to, as the pre-tokenizer UnicodeScripts of the
 * package `tokenizers` sees it. */
#ifndef RAD_SCRIPT_TABLE_H
#define RAD_SCRIPT_TABLE_H

#include <stdint.h>

/* Ranges: the first character, and in the low 8 bits the number of the script, 0 for none. */
extern const uint32_t rad_scripts[];
extern const uint32_t rad_n_scripts;

#endif
