/* Adapters (LoRA, Hu et al. 2021) in files: folders as PEFT writes them, and GGUF files. What is
 * read here names its tensors by those of the model that they change, as GGUF names them. */
#ifndef RAD_IO_ADAPTER_H
#define RAD_IO_ADAPTER_H

#include "io/model_source.h"

/* Greater ranks are no low ranks any more; files with them are damaged or hostile. */
#define RAD_ADAPTER_RANK_MAX 4096u

/* What a tensor of an adapter is. */
typedef enum rad_adapter_role {
    RAD_ADAPTER_A,         /* dims {columns, rank}; of an embedding as GGUF has it {rank, tokens} */
    RAD_ADAPTER_B,         /* dims {rank, rows} */
    RAD_ADAPTER_TABLE,     /* of an embedding, as PEFT has it: dims {tokens, rank} */
    RAD_ADAPTER_MAGNITUDE, /* DoRA: the length that each row gets: dims {rows} */
    RAD_ADAPTER_WHOLE,     /* takes the place of the model's own (modules_to_save, bias) */
    RAD_ADAPTER_COPY /* takes no part: what the model had, which PEFT stores beside its change;
                      * what is of training; parts that models are run without */
} rad_adapter_role;

/* How the rows of B, or of a whole tensor, stand. */
typedef enum rad_adapter_rows {
    RAD_ADAPTER_ROWS_PLAIN,     /* as GGUF has them, but for the order within heads: `halves` */
    RAD_ADAPTER_ROWS_HEADS_QKV, /* for each head its query, key and value (BLOOM) */
    RAD_ADAPTER_ROWS_EXPERT,    /* of one expert of a stack: `expert` */
    RAD_ADAPTER_ROWS_STACK,     /* of all of them, one behind the other: a third dimension */
    /* Of all of them as PEFT has them for a parameter (target_parameters): A {columns, experts x
     * rank}, B {rank x experts, rows}; or, by its first versions where a matrix is stored as
     * [out, in], A {rows, experts x rank}, B {rank x experts, columns}. */
    RAD_ADAPTER_ROWS_PARAMETER,
    RAD_ADAPTER_ROWS_OTHER /* as the model computes no matrix (biases of experts) */
} rad_adapter_rows;

/* Which rows of a parameter are the target's. */
typedef enum rad_adapter_part {
    RAD_ADAPTER_ALL,
    RAD_ADAPTER_FIRST_HALF,
    RAD_ADAPTER_SECOND_HALF,
    RAD_ADAPTER_EVEN,
    RAD_ADAPTER_ODD
} rad_adapter_part;

typedef struct rad_adapter_tensor {
    const rad_tensor *tensor; /* under its own name */
    char target[64];          /* the model's tensor */
    rad_adapter_role role;
    rad_adapter_rows rows;
    rad_adapter_part part;
    uint32_t expert;
    bool transposed; /* WHOLE: stored as [in, out] */
    bool less_one;   /* WHOLE: numbers are stored less one (Gemma's norms) */
    double alpha;    /* of a pair */
    uint32_t rank;   /* of a pair, by the configuration; 0: it says none */
} rad_adapter_tensor;

typedef struct rad_adapter_description {
    /* Of the source's allocator: rad_adapter_forget(). A tensor that changes two is there twice. */
    rad_adapter_tensor *tensors;
    size_t count, room;
    double alpha;
    bool root;    /* alpha / sqrt(rank) in place of alpha / rank (rsLoRA) */
    bool lengths; /* each pair has magnitudes (DoRA) */
    bool by_rank; /* GGUF: an alpha of 0 means the rank */
    bool halves;  /* rows of queries and keys are in transformers' order, in a family whose GGUF
                   * files have another: (i, i + n/2) rotate together, not (2i, 2i + 1) */
} rad_adapter_description;

/* Whether a source is an adapter; it then is no model. */
bool rad_source_is_adapter(const rad_source *source);

/* Reads what an adapter says of itself, for a model of this architecture (as GGUF names it).
 * RADLLM_E_UNSUPPORTED for what is not computed: other kinds than LoRA and DoRA. */
radllm_status rad_adapter_describe(const rad_source *source, const char *architecture,
                                   rad_adapter_description *out, radllm_error *error);
void rad_adapter_forget(const rad_source *source, rad_adapter_description *description);

#endif
