/* What the parts of hf_config.c share: values of config.json are read, metadata as those of a GGUF
 * file are made of them. */
#ifndef RAD_HF_READER_H
#define RAD_HF_READER_H

#include "io/folder.h"

typedef struct rad_hf_reader {
    rad_folder *folder;
    const rad_folder_family *family;
    radllm_error *error;
    radllm_status status; /* the first failure is kept; later reads do nothing */
    uint32_t n_templates;
} rad_hf_reader;

/* ---- metadata ------------------------------------------------------------------------------- */

/* NULL where something failed. */
rad_meta *rad_hf_add_entry(rad_hf_reader *r, const char *key, rad_meta_type type);
/* What was added last is an array, also where it has one item. */
void rad_hf_mark_array(rad_hf_reader *r);
/* Keys below the architecture's name; all is copied. */
void rad_hf_put_integer(rad_hf_reader *r, const char *name, int64_t value);
void rad_hf_put_real(rad_hf_reader *r, const char *name, double value);
void rad_hf_put_bool(rad_hf_reader *r, const char *name, bool value);
void rad_hf_put_text_key(rad_hf_reader *r, const char *name, const char *text);
/* `count` items of `size` bytes in all. */
void rad_hf_put_items(rad_hf_reader *r, const char *name, rad_meta_type type, uint64_t count,
                      const void *items, size_t size);
/* Whole keys. */
void rad_hf_put_count(rad_hf_reader *r, const char *key, int64_t value);
void rad_hf_put_text(rad_hf_reader *r, const char *key, const char *text, size_t size);

/* ---- values of the configuration ------------------------------------------------------------ */

/* names: keys, of which the first one counts that is there and not null ("a|b"). */
json_t *rad_hf_find(const json_t *object, const char *names);
void rad_hf_fail_value(rad_hf_reader *r, const char *names, const char *wanted);
/* A whole number from `minimum` to 2^31 - 1; fallback: below 0, it must be there. */
int64_t rad_hf_size_in(rad_hf_reader *r, const json_t *object, const char *names, int64_t minimum,
                       int64_t fallback);
int64_t rad_hf_size(rad_hf_reader *r, const char *names, int64_t fallback);
double rad_hf_real_in(rad_hf_reader *r, const json_t *object, const char *names, double fallback);
bool rad_hf_bool_in(rad_hf_reader *r, const json_t *object, const char *names, bool fallback);
void rad_hf_refuse(rad_hf_reader *r, const char *key, const char *value, const char *remedy);

/* ---- parts ---------------------------------------------------------------------------------- */

/* hf_rope.c. latent: of attention to latent vectors. */
void rad_hf_put_rope(rad_hf_reader *r, bool latent);
/* How many times the context that the configuration gives the model is made for. */
double rad_hf_stretch(rad_hf_reader *r);
/* NULL where that is no text. */
const char *rad_hf_rope_type(const json_t *rope);
/* hf_templates.c */
void rad_hf_put_templates(rad_hf_reader *r);

#endif
