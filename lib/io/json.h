/* JSON texts of model folders, read by jansson under limits of this library. Everything that a text
 * may ask for is counted before jansson sees it, since it recurses and allocates as the text says.
 */
#ifndef RAD_JSON_H
#define RAD_JSON_H

#include <jansson.h>

#include "io/model_source.h"

#define RAD_JSON_DEPTH_MAX 64u
/* Values, about a hundred bytes of memory each: more than a header of 100,000 tensors has. */
#define RAD_JSON_VALUES_MAX 2000000u

/* Reads one JSON object; a key that occurs twice in an object is an error. `label` names the text
 * in messages. The caller gives *out back with json_decref(). */
radllm_status rad_json_object(const char *label, const char *text, size_t size, json_t **out,
                              radllm_error *error);
/* The same for a list. */
radllm_status rad_json_array(const char *label, const char *text, size_t size, json_t **out,
                             radllm_error *error);

#endif
