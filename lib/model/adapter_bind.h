/* Binding an adapter to a model: which matrix each of its tensors belongs to (adapter_place.c),
 * whether their shapes are right (adapter.c), and their numbers (adapter_numbers.c). */
#ifndef RAD_ADAPTER_BIND_H
#define RAD_ADAPTER_BIND_H

#include "model/adapter.h"
#include "model/fill.h"

/* The tensors of one matrix, until its pair is made. */
typedef struct rad_adapter_couple {
    const rad_adapter_tensor *a, *b;
    const rad_adapter_tensor *lengths; /* NULL: none */
    const rad_weight *weight;          /* one of those that are rows of the tensor */
    bool part;                         /* it is that one's alone */
    uint64_t first, all; /* where the model has apart what the adapter's tensors are of together:
                            its rows of all; 0: it has them all */
} rad_adapter_couple;

typedef struct rad_adapter_binder {
    rad_adapter *adapter;
    rad_model *model;
    rad_adapter_description description;
    rad_adapter_couple *couples; /* by slot */
    bool merge;
    radllm_error *error;
    /* The numbers of the tensors that were read last, an A and a B: those of all experts may stand
     * in one. */
    struct {
        const rad_tensor *tensor;
        uint8_t *numbers;
        size_t bytes;
    } held[2];
} rad_adapter_binder;

/* What stands in a couple's tensors. */
typedef struct rad_adapter_extents {
    bool lookup, table;
    uint32_t n_experts; /* in one tensor */
    uint64_t rank, columns, rows;
    uint64_t all_rows; /* in the tensor, of which `rows` are the weight's */
    bool swapped;      /* a parameter of PEFT's first versions: A and B have changed places */
    bool keys;         /* of latent attention: what is computed has them changed over */
} rad_adapter_extents;

#define RAD_ADAPTER_EXPERT_ROLES 3u

/* The slot of the embedding, behind those of layers. */
uint32_t rad_adapter_embedding_slot(const rad_model *model);
/* Slots of experts stand behind all others: by layer, by role, by expert. */
uint32_t rad_adapter_first_expert_slot(const rad_model *model);
/* Slots from the returned one to before *last that a tensor of the model called so can stand at. */
uint32_t rad_adapter_slots_of(const rad_model *model, const char *name, uint32_t *last);
bool rad_adapter_is_at(const rad_model *model, uint32_t slot, const char *name);
bool rad_adapter_is_of_experts(const rad_adapter_tensor *tensor);

/* A failure that names file, tensor and what it changes. */
radllm_status rad_adapter_refuse(const rad_adapter_binder *b, radllm_status status,
                                 const rad_adapter_tensor *tensor, const char *what);
radllm_status rad_adapter_fail_shape(const rad_adapter_binder *b, const rad_adapter_tensor *tensor,
                                     uint64_t columns, uint64_t rows);

/* Notes a tensor at the couples that it belongs to, or as a whole one. */
radllm_status rad_adapter_place_tensor(const rad_adapter_binder *b,
                                       const rad_adapter_tensor *tensor);

rad_adapter_extents rad_adapter_measure(const rad_adapter_binder *b, const rad_adapter_couple *c);
/* The type that numbers are kept in: 16 or 32 bits as they are, others are widened. */
rad_type rad_adapter_kept_type(const rad_adapter_tensor *tensor);

/* Reads the numbers of all pairs to their places, and hashes the adapter. */
radllm_status rad_adapter_read_pairs(rad_adapter_binder *b);

#endif
