/* A source that has another one's tensors under other names and in another arrangement, as another
 * kind of file has them: what converters write is read from one. Nothing is held in memory: rows
 * are put together as they are read. */
#ifndef RAD_DERIVED_H
#define RAD_DERIVED_H

#include "io/model_source.h"

/* Of every a * b * run rows, row (i * a + j) * run + r is row (j * b + i) * run + r of what it
 * comes from. a is 0 where rows stay as they are. */
typedef struct rad_row_order {
    uint64_t a, b, run;
} rad_row_order;

typedef enum rad_derived_form {
    RAD_DERIVED_ROWS,   /* rows as they stand in from[0], from[1], ... */
    RAD_DERIVED_TURNED, /* of each matrix of a stack the columns are rows, in F32: of several
                         * tensors element by element in turns; then the rows of `behind` */
    RAD_DERIVED_CODES,  /* of blocks of MXFP4 the codes alone, two by two as U8 */
    RAD_DERIVED_SCALES  /* and their scales */
} rad_derived_form;

/* What becomes of numbers first..first+n-1 of a tensor, whole rows of it; any thread. */
typedef radllm_status (*rad_change_fn)(void *user, uint64_t first, size_t n, float *values,
                                       radllm_error *error);

/* A tensor to be added. Its rows (of a vector: its numbers) are those of from[0], from[1], ..., all
 * of one shape and type, or a stretch of one's. Those of types that no GGUF file has become F32. */
typedef struct rad_derived_tensor {
    const char *name;
    uint32_t n_dims;
    uint64_t dims[4]; /* unused ones are 1 */
    rad_derived_form form;
    const rad_tensor *const *from;
    uint32_t n_from;
    const rad_tensor *behind; /* TURNED: NULL where nothing is */
    bool turns;               /* not TURNED: a row of each by turns, not all of one first */
    uint64_t row;   /* elements that are taken together; 0: a row, or of a vector a number */
    uint64_t first; /* row of from[0] that it begins with; n_from is 1 where it is above 0 */
    rad_row_order order;
    float added;          /* to each number, which become F32; only to float types */
    rad_change_fn change; /* NULL: none; else they become F32 and are changed; one tensor */
    void *user;           /* of `change`; must outlive the source */
} rad_derived_tensor;

/* Makes a source without tensors, metadata and parts, which keeps `base` alive. */
radllm_status rad_derived_new(rad_source *base, rad_source **out, radllm_error *error);
/* The texts beside its base are beside it, and beside what is made of it, from now on. */
void rad_derived_keep_texts(rad_source *derived);
/* What a source is made of in the end; itself, where it is of a file or folder. */
const rad_source *rad_derived_base(const rad_source *source);
/* Adds a copy of an entry. */
radllm_status rad_derived_add_meta(rad_source *derived, const rad_meta *meta, radllm_error *error);
/* The same of one value; a text's size is given. */
radllm_status rad_derived_add_integer(rad_source *derived, const char *key, rad_meta_type type,
                                      uint64_t value, radllm_error *error);
radllm_status rad_derived_add_f32(rad_source *derived, const char *key, float value,
                                  radllm_error *error);
radllm_status rad_derived_add_text(rad_source *derived, const char *key, const char *text,
                                   size_t size, radllm_error *error);
/* RADLLM_E_FORMAT where the tensors that it is made of do not fit its shape. */
radllm_status rad_derived_add_tensor(rad_source *derived, const rad_derived_tensor *tensor,
                                     radllm_error *error);
/* A vector of F32 numbers, which are copied. */
radllm_status rad_derived_add_values(rad_source *derived, const char *name, const float *values,
                                     uint64_t count, radllm_error *error);
/* A tensor of which nothing is known but this: the source is a shape then. */
radllm_status rad_derived_add_shape(rad_source *derived, const char *name, rad_type type,
                                    uint32_t n_dims, const uint64_t dims[4], radllm_error *error);
/* Makes everything findable; two of one name are an error. */
radllm_status rad_derived_finish(rad_source *derived, radllm_error *error);

/* The first tensor that one is made of; NULL: none, or it is of no such source. */
const rad_tensor *rad_derived_origin(const rad_tensor *tensor);
/* The same as far as it goes, and whether it is changed on the way. */
const rad_tensor *rad_derived_root(const rad_tensor *tensor);
bool rad_derived_is_changed(const rad_tensor *tensor);
/* Elements that are read together; *costly: the more of these at once the better. 0: of no such
 * source. */
uint64_t rad_derived_unit(const rad_tensor *tensor, bool *costly);
/* Rows of a tensor of such a source; view.c calls it. */
radllm_status rad_derived_read(const rad_view *view, uint64_t first, uint64_t count,
                               uint8_t *buffer, radllm_error *error);

#endif
