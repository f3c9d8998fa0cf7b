/* Weights that a folder stores quantized, each as several tensors (quants, scales, zero points,
 * groups of columns ...). Here they are found by the ways that quantization_config names, and each
 * set becomes one entry of the folder's table, MODULE.weight, of a type that the products know.
 * From there on it is a tensor like others: experts, fused and tied ones included (arrange.c). Its
 * rows are put together whenever they are read (view.c); nothing wider is kept.
 *
 * A way is a row of `methods` (packed.c) and a function that makes the entries of its modules. */
#ifndef RAD_PACKED_H
#define RAD_PACKED_H

#include "io/folder.h"
#include "io/view.h"

typedef struct rad_packed rad_packed;

/* Writes rows first .. first + count - 1, of row_bytes each. Any thread. */
typedef radllm_status (*rad_packed_rows)(const rad_source *source, const rad_packed *packed,
                                         uint64_t first, uint64_t count, uint8_t *out,
                                         radllm_error *error);

/* What is needed to read a weight; the first member of what its method keeps of it. All of it is in
 * the source's arena. */
struct rad_packed {
    rad_packed_rows rows;
    const char *module; /* for messages */
    float scale;        /* of all numbers, beside what their type says; 0: none */
    float threshold;    /* of outliers of activations: RAD_FAMILY_INT8 */
    uint64_t row_bytes;
    /* Columns as they stand in a row: more than the matrix has, where groups are padded. */
    uint32_t n_columns;
    /* n_columns numbers: the matrix's column that each is, RAD_NO_COLUMN where it is none (quants
     * there meet no activation). NULL: as they are. Weights of equal order share the array. */
    const uint32_t *columns;
    bool scattered; /* a few rows cost much more than their share of many */
};

/* A folder while its weights are looked for. */
typedef struct rad_packing {
    rad_folder *folder;
    const json_t *config;                      /* quantization_config */
    const char *file;                          /* the JSON file that holds it */
    rad_stored_table made;                     /* the entries so far */
    const struct rad_packed_affine *recent[8]; /* affine.c: orders of columns to be shared */
    size_t n_orders;
    int bits;                   /* settings of the method: 0 where not said */
    int64_t group_size;         /* -1: the whole row */
    float threshold;            /* bitsandbytes: of outliers */
    bool plain_zeros, any_bits; /* GPTQ: v2; modules may differ in bits and size of groups */
    bool carried_zeros;         /* GPTQ v1: one was taken off whole words of zeros */
    bool symmetric;             /* compressed-tensors: modules may be without zero points */
    bool wide;                  /* it was said that some rows are in F32 */
    bool any;                   /* a weight is packed */
    radllm_error *error;
} rad_packing;

typedef struct rad_packed_method {
    const char *name;   /* quant_method */
    const char *format; /* the packings of the method that are meant, by '|'; NULL: all */
    /* Reads and checks the settings; NULL: there are none. */
    radllm_status (*configure)(rad_packing *packing);
    /* Endings of tensors' names, by '|', of which each belongs to a module of this kind; `weight`
     * is called for each such tensor. It may find that it is an ordinary one and do nothing. */
    const char *endings;
    radllm_status (*weight)(rad_packing *packing, const char *module, rad_stored *stored);
} rad_packed_method;

/* Finds all of a folder's packed weights; nothing where it has no quantization_config. */
radllm_status rad_packed_find(rad_folder *folder, radllm_error *error);

/* ---- for the methods ------------------------------------------------------------------------ */

/* The tensor MODULE + ending, which is then counted as used; NULL: there is none. */
rad_stored *rad_packed_part(const rad_packing *packing, const char *module, const char *ending);
/* Adds MODULE.weight [n_rows, n_columns], or puts it in the place of a tensor of this name. */
radllm_status rad_packed_add(rad_packing *packing, const char *module, rad_type type,
                             uint64_t n_rows, uint64_t n_columns, const rad_packed *packed);
/* Errors about a module's tensors, and about a key of the configuration. */
radllm_status rad_packed_fail(const rad_packing *packing, const char *module, const char *what);
radllm_status rad_packed_refuse(const rad_packing *packing, const char *key, const char *what);
/* A text or a whole number of the configuration: what the key holds, `fallback` where it is missing
 * or null. Of another type: an error. */
radllm_status rad_packed_text(const rad_packing *packing, const char *key, const char *fallback,
                              const char **out);
radllm_status rad_packed_integer(const rad_packing *packing, const char *key, int64_t fallback,
                                 int64_t *out);

/* Refuses what no format of compressed-tensors is read with: sparse and transformed weights. */
radllm_status rad_compressed_configure(rad_packing *packing);

/* packed_bnb.c, packed_fp8.c, packed_bitnet.c */
radllm_status rad_bnb_configure(rad_packing *packing);
radllm_status rad_bnb_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_fp8_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_nvfp4_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_mxfp4_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_mixed_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_bitnet_configure(rad_packing *packing);
radllm_status rad_bitnet_weight(rad_packing *packing, const char *module, rad_stored *stored);

/* packed_affine.c */
radllm_status rad_gptq_configure(rad_packing *packing);
radllm_status rad_gptq_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_awq_configure(rad_packing *packing);
/* auto-round: the packings of GPTQ (with zero points as in version 2, or 1) and of AWQ. */
radllm_status rad_round_configure(rad_packing *packing);
radllm_status rad_round_gptq_configure(rad_packing *packing);
radllm_status rad_awq_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_integers_configure(rad_packing *packing);
radllm_status rad_integers_weight(rad_packing *packing, const char *module, rad_stored *stored);
radllm_status rad_exl2_configure(rad_packing *packing);
radllm_status rad_exl2_weight(rad_packing *packing, const char *module, rad_stored *stored);

#endif
