/* An adapter in memory, bound to a model: for some of its matrices W a pair A, B of low rank, so
 * that W x + scale B (A x) takes the place of W x (LoRA, Hu et al. 2021). Of a stack of experts
 * each may have a pair of its own. Immutable. */
#ifndef RAD_ADAPTER_H
#define RAD_ADAPTER_H

#include "io/adapter.h"
#include "model/model.h"

/* The heads' products of latent attention have rows for each head in A (keys) or in B (values). */
typedef struct rad_adapter_pair {
    rad_matrix a; /* [rank, columns]; of an embedding [tokens, rank], whose rows are looked up */
    rad_matrix b; /* [rows, rank] */
    /* DoRA (Liu et al. 2024), only to be merged: [rows, 1]; of the heads' products of keys
     * [heads x columns, 1]; no rows: none. */
    rad_matrix lengths;
    double scale; /* alpha / rank, or what the file asks for */
} rad_adapter_pair;

/* A tensor that takes the place of the model's own, read when the adapter is merged. */
typedef struct rad_adapter_whole {
    const rad_tensor *tensor; /* of the adapter's source */
    const rad_weight *weight; /* the first one of `n` that are rows of the model's tensor */
    uint32_t n;
    bool less_one;
} rad_adapter_whole;

struct rad_adapter {
    rad_allocator allocator;
    atomic_uint references;
    uint32_t id; /* of no other adapter of the model */
    rad_source *source;
    rad_adapter_pair *pairs;
    uint32_t n_pairs, n_wholes;
    uint32_t n_expert_pairs;   /* the last ones */
    rad_adapter_whole *wholes; /* only in adapters to be merged */
    uint32_t *slots;           /* by rad_adapter_slot(): 0, or 1 + the pair's number */
    uint32_t n_slots;
    uint8_t *data; /* of all pairs */
    size_t data_bytes;
    uint32_t rank; /* the greatest */
    bool lengths;  /* some pairs have them */
    double alpha;
    uint64_t n_tensors; /* in its file */
    uint8_t digest[32]; /* SHA-256 of what it computes */
};

/* Reads and checks an adapter for a model. merge: it is to be merged, before the weights are read,
 * so that it may hold whole tensors. limit: bytes that it may take (RADLLM_E_BUDGET); 0:
 * none. RADLLM_E_ARGUMENT where a tensor does not fit the model, with its name. */
radllm_status rad_adapter_open(rad_model *model, const char *path, bool merge, uint64_t limit,
                               rad_adapter **out, radllm_error *error);
rad_adapter *rad_adapter_retain(rad_adapter *adapter);
void rad_adapter_release(rad_adapter *adapter); /* the last one frees; NULL is allowed */
/* Gives back its matrices and its file; only for an adapter that nobody computes with. */
void rad_adapter_forget_numbers(rad_adapter *adapter);
/* What it takes in memory. */
uint64_t rad_adapter_bytes(const rad_adapter *adapter);

/* Which pair changes a weight: those of layers, then the embedding's and the output's; of a stack
 * of experts the first one's, the others' follow. Where a pair's B has more rows than the weight,
 * its own begin with row weight->first. */
uint32_t rad_adapter_slot(const rad_model *model, const rad_weight *weight);
static inline const rad_adapter_pair *rad_adapter_find(const rad_adapter *adapter, uint32_t slot)
{
    return adapter->slots[slot] == 0 ? NULL : &adapter->pairs[adapter->slots[slot] - 1];
}

/* A line "HASH=SCALE" for each. */
#define RAD_ADAPTERS_TEXT (RAD_ADAPTERS_MAX * 88 + 1)
void rad_adapters_text(const rad_adapter_set *set, char text[RAD_ADAPTERS_TEXT]);
/* The greatest; 0: none. */
static inline uint32_t rad_adapter_set_rank(const rad_adapter_set *set)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < set->n; i++)
        rank = set->uses[i].adapter->rank > rank ? set->uses[i].adapter->rank : rank;
    return rank;
}
static inline bool rad_adapter_sets_equal(const rad_adapter_set *a, const rad_adapter_set *b)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->uses[i].adapter != b->uses[i].adapter || a->uses[i].scale != b->uses[i].scale)
            return false;
    }
    return true;
}
/* Fills an empty set; adapters of scale 0 are left out, since they change nothing.
 * RADLLM_E_ARGUMENT for scales that are no numbers, RADLLM_E_LIMIT for too many. */
radllm_status rad_adapter_set_add(rad_adapter_set *set, rad_adapter *adapter, float scale,
                                  radllm_error *error);
void rad_adapter_set_copy(rad_adapter_set *to, const rad_adapter_set *from);
void rad_adapter_set_clear(rad_adapter_set *set);

#endif
