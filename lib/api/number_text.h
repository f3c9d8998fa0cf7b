/* Numbers written as text, whatever the locale. */
#ifndef RAD_NUMBER_TEXT_H
#define RAD_NUMBER_TEXT_H

#include "io/model_source.h"

/* The whole text must be the number; else false, and *out is not to be used. */
bool rad_parse_integer(rad_text text, int64_t *out);
bool rad_parse_real(rad_text text, double *out);

#endif
