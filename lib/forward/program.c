#include "forward/program.h"

#include <string.h>

#define OPS_PER_LAYER 64
#define OPS_OUTSIDE   12

/* Names of the values. The ones of the second group have one row for each output. */
enum {
    HIDDEN, /* the residual stream */
    NORMED,
    QUERY,
    KEY,
    VALUE,
    QUERY_LATENT, /* of latent attention: the short vector of queries */
    HEAD_QUERY,   /* queries before they are compressed */
    LATENT,       /* the short vector, and the part of keys that rotates */
    EXPANDED,     /* keys and values of heads; or what heads give, behind their last product */
    ATTENDED,
    BRANCH, /* what attention or feed-forward adds to the stream */
    GATE,
    UP,
    ROTARY,
    SINK_ROTARY,  /* of positions inside the cache, where sinks are kept */
    LOCAL_ROTARY, /* the same two, of layers that rotate by a base of their own */
    LOCAL_SINK_ROTARY,
    SINK_QUERY,
    ROUTER,       /* logits of the experts */
    ROUTES,       /* the chosen experts and their weights */
    EXPERT_OUT,   /* what each of a token's experts gives */
    SHARED,       /* what the shared expert gives */
    SHARED_GATE,  /* and how much of it is taken */
    OUT_ATTENDED, /* the last layer goes on with the output rows only */
    OUT_HIDDEN,
    LOGITS,
    N_VALUES
};

typedef struct writer {
    rad_program *program;
    const rad_attention_policy *policy;
    uint32_t layer;
    bool per_output; /* behind the selection of output rows */
} writer;

static rad_op *emit(writer *w, rad_op_kind kind)
{
    rad_op *op = &w->program->ops[w->program->n_ops++];
    *op = (rad_op){.kind = kind, .layer = w->layer, .per_output = w->per_output};
    return op;
}

static const rad_weight *where_present(const rad_weight *weight)
{
    return weight != NULL && weight->tensor != NULL ? weight : NULL;
}

static void emit_norm_of(writer *w, uint8_t in, const rad_weight *weight, const rad_weight *bias,
                         uint32_t width, uint8_t out)
{
    rad_op *op = emit(w, RAD_OP_NORM);
    op->in = in;
    op->weight = weight;
    op->bias = where_present(bias);
    op->width = width;
    op->out = out;
}

static void emit_norm(writer *w, uint8_t in, const rad_weight *weight, const rad_weight *bias,
                      uint8_t out)
{
    emit_norm_of(w, in, weight, bias, w->program->model->hparams.width, out);
}

/* What adapters add to the result of the operation before. */
static rad_op *emit_adapt(writer *w, const rad_weight *weight, uint8_t in, uint8_t out,
                          uint32_t width)
{
    rad_op *op = emit(w, RAD_OP_ADAPT);
    op->weight = weight;
    op->slot = rad_adapter_slot(w->program->model, weight);
    op->number = 1.0f;
    op->in = in;
    op->out = out;
    op->width = width;
    return op;
}

static void emit_product(writer *w, const rad_weight *weight, const rad_weight *bias, uint8_t in,
                         uint8_t out)
{
    rad_op *op = emit(w, RAD_OP_PRODUCT);
    op->weight = weight;
    op->bias = where_present(bias);
    op->width = weight->matrix.n_rows;
    op->in = in;
    op->out = out;
    emit_adapt(w, weight, in, out, op->width);
}

static void emit_head_norm(writer *w, const rad_weight *weight, uint32_t n_heads, uint8_t out)
{
    rad_op *op = emit(w, RAD_OP_HEAD_NORM);
    op->weight = weight;
    op->n_heads = n_heads;
    op->width = n_heads * w->program->model->hparams.head_dim;
    op->out = out;
}

/* A part of each head of queries or keys, as attention takes them. */
static rad_parts heads_from(const rad_hparams *h, uint32_t n_heads, uint32_t first)
{
    return (rad_parts){n_heads * h->head_dim, first, h->head_dim};
}

static void emit_rotate(writer *w, uint8_t table, uint32_t n_heads, rad_parts parts, uint8_t from,
                        uint8_t out)
{
    rad_op *op = emit(w, RAD_OP_ROTATE);
    op->in = table;
    op->other = from;
    op->n_heads = n_heads;
    op->to = parts;
    op->width = parts.row;
    op->out = out;
}

/* Sinks are seen as from inside the cache, where a query's position is at most the last one. So the
 * query is rotated a second time for them; keys in the cache never are. */
static void emit_query_rotations(writer *w, const rad_layer_params *params)
{
    const rad_hparams *h = &w->program->model->hparams;
    rad_parts parts = heads_from(h, params->n_heads, rad_rotated_first(h));
    if (rad_policy_reach(w->policy, params->window).sinks > 0)
        emit_rotate(w, params->local ? LOCAL_SINK_ROTARY : SINK_ROTARY, params->n_heads, parts,
                    QUERY, SINK_QUERY);
    emit_rotate(w, params->local ? LOCAL_ROTARY : ROTARY, params->n_heads, parts, QUERY, QUERY);
}

static void emit_two(writer *w, rad_op_kind kind, uint8_t in, uint8_t other, uint8_t out,
                     uint32_t width)
{
    rad_op *op = emit(w, kind);
    op->in = in;
    op->other = other;
    op->out = out;
    op->width = width;
}

/* One of queries, keys and values. */
static void emit_heads_of(writer *w, const rad_weight *weight, const rad_weight *bias,
                          const rad_weight *norm, const rad_weight *norm_bias, uint8_t in,
                          uint8_t out)
{
    float limit = w->program->model->hparams.qkv_clamp;
    uint32_t width = weight->matrix.n_rows;
    emit_product(w, weight, bias, in, out);
    if (limit > 0.0f) {
        rad_op *op = emit(w, RAD_OP_CLAMP);
        op->out = out;
        op->width = width;
        op->number = limit;
    }
    if (norm != NULL && norm->tensor != NULL)
        emit_norm_of(w, out, norm, norm_bias, width, out);
}

static void emit_store_and_attend(writer *w, const rad_layer_params *params, uint8_t key,
                                  uint8_t sink_query, const rad_weight *sinks)
{
    const rad_hparams *h = &w->program->model->hparams;
    emit_two(w, RAD_OP_STORE, key, VALUE, 0, params->n_kv_heads * h->head_dim);
    emit_two(w, RAD_OP_ATTEND, QUERY, sink_query, ATTENDED, params->n_heads * h->value_dim);
    w->program->ops[w->program->n_ops - 1].bias = where_present(sinks);
}

/* ---- latent attention ------------------------------------------------------------------------ */

static void emit_copy(writer *w, uint32_t n_heads, uint32_t width, uint8_t in, rad_parts from,
                      uint8_t out, rad_parts to)
{
    rad_op *op = emit(w, RAD_OP_COPY);
    op->n_heads = n_heads;
    op->width = width;
    op->in = in;
    op->from = from;
    op->out = out;
    op->to = to;
}

static void emit_head_product(writer *w, const rad_weight *weight, uint8_t in, rad_parts from,
                              uint8_t out, rad_parts to)
{
    rad_op *op = emit(w, RAD_OP_HEAD_PRODUCT);
    op->weight = weight;
    op->n_heads = weight->n_experts;
    op->width = rad_weight_rows(weight);
    op->in = in;
    op->from = from;
    op->out = out;
    op->to = to;
    rad_op *adapt = emit_adapt(w, weight, in, out, op->width);
    adapt->n_heads = op->n_heads;
    adapt->from = from;
    adapt->to = to;
}

/* The queries of all heads, before rotation. */
static void emit_latent_queries(writer *w, const rad_weight *weights, uint8_t out)
{
    const rad_latent *latent = &w->program->model->hparams.latent;
    if (latent->query_rank > 0) {
        emit_product(w, &weights[RAD_WEIGHT_QUERY_A], NULL, NORMED, QUERY_LATENT);
        emit_norm_of(w, QUERY_LATENT, &weights[RAD_WEIGHT_QUERY_A_NORM], NULL, latent->query_rank,
                     QUERY_LATENT);
        emit_product(w, &weights[RAD_WEIGHT_QUERY_B], NULL, QUERY_LATENT, out);
    } else {
        emit_product(w, &weights[RAD_WEIGHT_QUERY], NULL, NORMED, out);
    }
}

/* LATENT: the short vector, normed, and the rotated part of keys; VALUE: the short vector alone. */
static void emit_short_vector(writer *w, const rad_weight *weights)
{
    const rad_latent *latent = &w->program->model->hparams.latent;
    rad_parts both = {latent->rank + latent->rotated, 0, 0}, alone = {latent->rank, 0, 0};
    emit_product(w, &weights[RAD_WEIGHT_KV_A], NULL, NORMED, LATENT);
    emit_copy(w, 1, latent->rank, LATENT, both, VALUE, alone);
    emit_norm_of(w, VALUE, &weights[RAD_WEIGHT_KV_A_NORM], NULL, latent->rank, VALUE);
    emit_copy(w, 1, latent->rank, VALUE, alone, LATENT, both);
    emit_rotate(w, ROTARY, 1, (rad_parts){both.row, latent->rank, 0}, LATENT, LATENT);
}

/* Each head's keys and values, from the short vector. */
static void emit_expanded(writer *w, const rad_weight *weights, uint32_t n_heads)
{
    const rad_hparams *h = &w->program->model->hparams;
    const rad_latent *latent = &h->latent;
    uint32_t size = latent->plain + latent->value;
    emit_product(w, &weights[RAD_WEIGHT_KV_B], NULL, VALUE, EXPANDED);
    emit_copy(w, n_heads, latent->plain, EXPANDED, (rad_parts){n_heads * size, 0, size}, KEY,
              heads_from(h, n_heads, 0));
    emit_copy(w, n_heads, latent->rotated, LATENT,
              (rad_parts){latent->rank + latent->rotated, latent->rank, 0}, KEY,
              heads_from(h, n_heads, latent->plain));
    emit_copy(w, n_heads, latent->value, EXPANDED, (rad_parts){n_heads * size, latent->plain, size},
              VALUE, (rad_parts){n_heads * latent->value, 0, latent->value});
}

/* Queries that are compared with short vectors: the key's product is taken to this side. */
static void emit_compressed_queries(writer *w, const rad_weight *weights, uint32_t n_heads)
{
    const rad_hparams *h = &w->program->model->hparams;
    const rad_latent *latent = &h->latent;
    uint32_t size = latent->plain + latent->rotated;
    emit_head_product(w, &weights[RAD_WEIGHT_KEY_B], HEAD_QUERY,
                      (rad_parts){n_heads * size, 0, size}, QUERY, heads_from(h, n_heads, 0));
    emit_copy(w, n_heads, latent->rotated, HEAD_QUERY,
              (rad_parts){n_heads * size, latent->plain, size}, QUERY,
              heads_from(h, n_heads, latent->rank));
}

static void emit_latent_attention(writer *w, const rad_layer *layer, const rad_layer_params *params)
{
    const rad_weight *weights = layer->weights;
    bool compressed = w->program->model->hparams.latent.compressed;
    emit_norm(w, HIDDEN, &weights[RAD_WEIGHT_ATTENTION_NORM], NULL, NORMED);
    emit_latent_queries(w, weights, compressed ? HEAD_QUERY : QUERY);
    emit_short_vector(w, weights);
    if (compressed)
        emit_compressed_queries(w, weights, params->n_heads);
    else
        emit_expanded(w, weights, params->n_heads);
    emit_query_rotations(w, params);
    emit_store_and_attend(w, params, compressed ? LATENT : KEY, SINK_QUERY, NULL);
}

/* Behind attention to short vectors: what each head gives; returns where it stands. */
static uint8_t emit_values_of_heads(writer *w, const rad_layer *layer,
                                    const rad_layer_params *params, uint8_t attended)
{
    const rad_latent *latent = &w->program->model->hparams.latent;
    if (!latent->compressed)
        return attended;
    emit_head_product(w, &layer->weights[RAD_WEIGHT_VALUE_B], attended,
                      (rad_parts){params->n_heads * latent->rank, 0, latent->rank}, EXPANDED,
                      (rad_parts){params->n_heads * latent->value, 0, latent->value});
    return EXPANDED;
}

/* ---- attention ------------------------------------------------------------------------------- */

/* The norm before a part of a layer; returns where its result stands. An encoder's stream is normed
 * as it is. */
static uint8_t emit_first_norm(writer *w, uint8_t hidden, const rad_weight *weight,
                               const rad_weight *bias)
{
    if (w->program->model->hparams.architecture->encoder)
        return hidden;
    emit_norm(w, hidden, weight, bias, NORMED);
    return NORMED;
}

/* Queries, keys and values of the normed stream, and attention; the result stands in ATTENDED. */
static void emit_attention(writer *w, const rad_layer *layer, const rad_layer_params *params)
{
    const rad_weight *weights = layer->weights;
    const rad_hparams *h = &w->program->model->hparams;
    uint8_t in = emit_first_norm(w, HIDDEN, &weights[RAD_WEIGHT_ATTENTION_NORM],
                                 &weights[RAD_WEIGHT_ATTENTION_NORM_BIAS]);
    bool together = h->architecture->qk_layer_norms;
    emit_heads_of(w, &weights[RAD_WEIGHT_QUERY], &weights[RAD_WEIGHT_QUERY_BIAS],
                  together ? &weights[RAD_WEIGHT_QUERY_NORM] : NULL,
                  &weights[RAD_WEIGHT_QUERY_NORM_BIAS], in, QUERY);
    emit_heads_of(w, &weights[RAD_WEIGHT_KEY], &weights[RAD_WEIGHT_KEY_BIAS],
                  together ? &weights[RAD_WEIGHT_KEY_NORM] : NULL,
                  &weights[RAD_WEIGHT_KEY_NORM_BIAS], in, KEY);
    emit_heads_of(w, &weights[RAD_WEIGHT_VALUE], &weights[RAD_WEIGHT_VALUE_BIAS], NULL, NULL, in,
                  VALUE);
    if (h->architecture->head_norms) {
        emit_head_norm(w, &weights[RAD_WEIGHT_QUERY_NORM], params->n_heads, QUERY);
        emit_head_norm(w, &weights[RAD_WEIGHT_KEY_NORM], params->n_kv_heads, KEY);
    }
    bool rotates = h->rotary != RAD_ROTARY_NONE;
    if (rotates) {
        emit_query_rotations(w, params);
        emit_rotate(w, params->local ? LOCAL_ROTARY : ROTARY, params->n_kv_heads,
                    heads_from(h, params->n_kv_heads, 0), KEY, KEY);
    }
    emit_store_and_attend(w, params, KEY, rotates ? SINK_QUERY : QUERY, &weights[RAD_WEIGHT_SINKS]);
}

/* hidden = hidden + norm(branch), the norm only where the family has second norms; an encoder's is
 * norm(hidden + branch). */
static void emit_residual(writer *w, const rad_weight *second_norm, const rad_weight *bias,
                          uint8_t hidden)
{
    bool encoder = w->program->model->hparams.architecture->encoder;
    if (second_norm->tensor != NULL && !encoder)
        emit_norm(w, BRANCH, second_norm, NULL, BRANCH);
    emit_two(w, RAD_OP_ADD, hidden, BRANCH, hidden, w->program->model->hparams.width);
    if (encoder)
        emit_norm(w, hidden, second_norm, bias, hidden);
}

/* A norm of what a branch's last product takes, where the family has it. */
static void emit_sub_norm(writer *w, const rad_weight *norm, uint8_t value)
{
    if (norm->tensor != NULL)
        emit_norm_of(w, value, norm, NULL, (uint32_t)norm->n_values, value);
}

static void emit_feed_forward(writer *w, const rad_layer *layer, uint8_t hidden)
{
    const rad_weight *weights = layer->weights;
    uint8_t in = emit_first_norm(w, hidden, &weights[RAD_WEIGHT_FFN_NORM],
                                 &weights[RAD_WEIGHT_FFN_NORM_BIAS]);
    if (!rad_has_gate(w->program->model->hparams.architecture->gate)) {
        emit_product(w, &weights[RAD_WEIGHT_UP], &weights[RAD_WEIGHT_UP_BIAS], in, GATE);
        emit_two(w, RAD_OP_GELU, GATE, 0, GATE, weights[RAD_WEIGHT_UP].matrix.n_rows);
    } else {
        emit_product(w, &weights[RAD_WEIGHT_GATE], &weights[RAD_WEIGHT_GATE_BIAS], in, GATE);
        emit_product(w, &weights[RAD_WEIGHT_UP], &weights[RAD_WEIGHT_UP_BIAS], in, UP);
        emit_two(w, RAD_OP_GATED, GATE, UP, GATE, weights[RAD_WEIGHT_GATE].matrix.n_rows);
    }
    emit_sub_norm(w, &weights[RAD_WEIGHT_FFN_SUB_NORM], GATE);
    emit_product(w, &weights[RAD_WEIGHT_DOWN], &weights[RAD_WEIGHT_DOWN_BIAS], GATE, BRANCH);
}

/* The chosen experts' parts of a stack of matrices; in is a value by token, or by choice. */
static void emit_expert_product(writer *w, const rad_weight *weight, const rad_weight *bias,
                                uint8_t in, bool by_choice, uint8_t out)
{
    rad_op *op = emit(w, RAD_OP_EXPERT_PRODUCT);
    op->weight = weight;
    op->bias = where_present(bias);
    op->in = in;
    op->by_choice = by_choice;
    op->width = rad_weight_rows(weight);
    op->out = out;
    rad_op *adapt = emit_adapt(w, weight, in, out, op->width);
    adapt->experts = true;
    adapt->by_choice = by_choice;
    adapt->other = ROUTES;
}

/* Added to what the chosen experts gave, last. */
static void emit_shared_expert(writer *w, const rad_weight *weights)
{
    const rad_hparams *h = &w->program->model->hparams;
    const rad_weight *router = &weights[RAD_WEIGHT_SHARED_ROUTER];
    emit_product(w, &weights[RAD_WEIGHT_SHARED_GATE], NULL, NORMED, GATE);
    emit_product(w, &weights[RAD_WEIGHT_SHARED_UP], NULL, NORMED, UP);
    emit_two(w, RAD_OP_GATED, GATE, UP, GATE, h->shared_ffn);
    emit_product(w, &weights[RAD_WEIGHT_SHARED_DOWN], NULL, GATE, SHARED);
    if (router->tensor != NULL) {
        emit_product(w, router, NULL, NORMED, SHARED_GATE);
        emit_two(w, RAD_OP_ADD_GATED, SHARED, SHARED_GATE, BRANCH, h->width);
    } else {
        emit_two(w, RAD_OP_ADD, BRANCH, SHARED, BRANCH, h->width);
    }
}

static void emit_experts(writer *w, const rad_layer *layer, uint8_t hidden)
{
    const rad_hparams *h = &w->program->model->hparams;
    const rad_weight *weights = layer->weights;
    uint32_t n_used = h->router.n_used;
    emit_norm(w, hidden, &weights[RAD_WEIGHT_FFN_NORM], &weights[RAD_WEIGHT_FFN_NORM_BIAS], NORMED);
    emit_product(w, &weights[RAD_WEIGHT_ROUTER], &weights[RAD_WEIGHT_ROUTER_BIAS], NORMED, ROUTER);
    emit_two(w, RAD_OP_ROUTE, ROUTER, 0, ROUTES, 2 * n_used);
    w->program->ops[w->program->n_ops - 1].bias = where_present(&weights[RAD_WEIGHT_CHOICE_BIAS]);
    emit_expert_product(w, &weights[RAD_WEIGHT_EXPERT_GATES],
                        &weights[RAD_WEIGHT_EXPERT_GATE_BIASES], NORMED, false, GATE);
    emit_expert_product(w, &weights[RAD_WEIGHT_EXPERT_UPS], &weights[RAD_WEIGHT_EXPERT_UP_BIASES],
                        NORMED, false, UP);
    emit_two(w, RAD_OP_GATED, GATE, UP, GATE, n_used * h->expert_ffn);
    emit_expert_product(w, &weights[RAD_WEIGHT_EXPERT_DOWNS],
                        &weights[RAD_WEIGHT_EXPERT_DOWN_BIASES], GATE, true, EXPERT_OUT);
    emit_two(w, RAD_OP_COMBINE, EXPERT_OUT, ROUTES, BRANCH, h->width);
    if (h->shared_ffn > 0)
        emit_shared_expert(w, weights);
}

/* hidden = hidden + attention + feed-forward, both of one norm of hidden. That is computed once
 * more here, since in the last layer only the output rows go on. */
static void emit_parallel(writer *w, const rad_layer *layer, uint8_t attended, uint8_t hidden)
{
    const rad_weight *weights = layer->weights;
    uint32_t width = w->program->model->hparams.width;
    emit_norm(w, hidden, &weights[RAD_WEIGHT_ATTENTION_NORM],
              &weights[RAD_WEIGHT_ATTENTION_NORM_BIAS], NORMED);
    emit_product(w, &weights[RAD_WEIGHT_UP], &weights[RAD_WEIGHT_UP_BIAS], NORMED, GATE);
    emit_two(w, RAD_OP_GELU, GATE, 0, GATE, weights[RAD_WEIGHT_UP].matrix.n_rows);
    emit_product(w, &weights[RAD_WEIGHT_OUTPUT], &weights[RAD_WEIGHT_OUTPUT_BIAS], attended,
                 BRANCH);
    emit_two(w, RAD_OP_ADD, hidden, BRANCH, hidden, width);
    emit_product(w, &weights[RAD_WEIGHT_DOWN], &weights[RAD_WEIGHT_DOWN_BIAS], GATE, BRANCH);
    emit_two(w, RAD_OP_ADD, hidden, BRANCH, hidden, width);
}

static void emit_layer(writer *w, const rad_model *model, uint32_t index)
{
    const rad_layer *layer = &model->layers[index];
    uint8_t hidden = HIDDEN, attended = ATTENDED;
    w->layer = index;
    const rad_layer_params *params = &model->hparams.layers[index];
    if (model->hparams.latent.rank > 0)
        emit_latent_attention(w, layer, params);
    else
        emit_attention(w, layer, params);
    if (index + 1 == model->hparams.n_layers) {
        hidden = OUT_HIDDEN;
        attended = OUT_ATTENDED;
        w->per_output = true;
        emit_two(w, RAD_OP_SELECT, HIDDEN, 0, OUT_HIDDEN, model->hparams.width);
        emit_two(w, RAD_OP_SELECT, ATTENDED, 0, OUT_ATTENDED,
                 params->n_heads * model->hparams.value_dim);
    }
    if (model->hparams.architecture->parallel) {
        emit_parallel(w, layer, attended, hidden);
        return;
    }
    attended = emit_values_of_heads(w, layer, params, attended);
    emit_sub_norm(w, &layer->weights[RAD_WEIGHT_ATTENTION_SUB_NORM], attended);
    emit_product(w, &layer->weights[RAD_WEIGHT_OUTPUT], &layer->weights[RAD_WEIGHT_OUTPUT_BIAS],
                 attended, BRANCH);
    emit_residual(w, &layer->weights[RAD_WEIGHT_POST_ATTENTION_NORM],
                  &layer->weights[RAD_WEIGHT_POST_ATTENTION_NORM_BIAS], hidden);
    if (rad_has_experts(&model->hparams, index))
        emit_experts(w, layer, hidden);
    else
        emit_feed_forward(w, layer, hidden);
    emit_residual(w, &layer->weights[RAD_WEIGHT_POST_FFN_NORM],
                  &layer->weights[RAD_WEIGHT_POST_FFN_NORM_BIAS], hidden);
}

static void emit_rotary_table(writer *w, bool local, uint8_t out, uint32_t limit)
{
    rad_op *table = emit(w, RAD_OP_ROTARY_TABLE);
    table->out = out;
    table->width = 2 * w->program->model->hparams.rope.n_pairs;
    table->limit = limit;
    table->local = local;
}

static void emit_rotary_tables(writer *w, bool local)
{
    emit_rotary_table(w, local, local ? LOCAL_ROTARY : ROTARY, RAD_MAX_POSITIONS);
    if (w->policy->kind == RAD_ATTENTION_SINKS)
        emit_rotary_table(w, local, local ? LOCAL_SINK_ROTARY : SINK_ROTARY,
                          w->policy->sinks + w->policy->window - 1);
}

/* Adds rows of a table to the stream, where the model has it. */
static void emit_positions(writer *w, const rad_weight *table, uint32_t limit)
{
    if (table->tensor == NULL)
        return;
    rad_op *positions = emit(w, RAD_OP_POSITIONS);
    positions->weight = table;
    positions->width = w->program->model->hparams.width;
    positions->out = HIDDEN;
    positions->limit = limit;
}

static void emit_embeddings(writer *w, const rad_model *model)
{
    const rad_hparams *h = &model->hparams;
    rad_op *embed = emit(w, RAD_OP_EMBED);
    embed->weight = &model->embedding;
    embed->number = h->embedding_scale;
    embed->width = h->width;
    embed->out = HIDDEN;
    rad_op *adapt = emit_adapt(w, &model->embedding, HIDDEN, HIDDEN, h->width);
    adapt->number = h->embedding_scale;
    adapt->lookup = true;
    bool normed = model->embedding_norm.tensor != NULL;
    if (normed && !h->architecture->encoder)
        emit_norm(w, HIDDEN, &model->embedding_norm, &model->embedding_norm_bias, HIDDEN);
    emit_positions(w, &model->positions, RAD_MAX_POSITIONS);
    emit_positions(w, &model->token_types, 0); /* all tokens are of the first type */
    if (normed && h->architecture->encoder)
        emit_norm(w, HIDDEN, &model->embedding_norm, &model->embedding_norm_bias, HIDDEN);
}

static void emit_model(writer *w, const rad_model *model)
{
    const rad_hparams *h = &model->hparams;
    emit_embeddings(w, model);
    if (h->rotary != RAD_ROTARY_NONE) {
        emit_rotary_tables(w, false);
        if (h->architecture->local_theta > 0.0)
            emit_rotary_tables(w, true);
    }
    for (uint32_t i = 0; i < h->n_layers; i++)
        emit_layer(w, model, i);
    w->program->hidden =
        emit_first_norm(w, OUT_HIDDEN, &model->output_norm, &model->output_norm_bias);
    w->program->n_hidden_ops = w->program->n_ops;
    if (h->architecture->encoder)
        return;
    emit_product(w, &model->output, &model->output_bias, NORMED, LOGITS);
    if (h->logit_cap > 0.0f) {
        rad_op *cap = emit(w, RAD_OP_SOFT_CAP);
        cap->out = LOGITS;
        cap->width = h->n_vocab;
        cap->number = h->logit_cap;
    }
}

static uint32_t greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void declare_values(rad_program *program, const rad_hparams *h,
                           const rad_attention_policy *policy)
{
    bool sinks = policy->kind == RAD_ATTENTION_SINKS, local = h->architecture->local_theta > 0.0;
    uint32_t rotary = 2 * h->rope.n_pairs;
    uint32_t attended = h->max_heads * h->value_dim;
    uint32_t n_used = h->router.n_used; /* 0 without experts */
    const rad_latent *latent = &h->latent;
    uint32_t head = latent->plain + latent->rotated;
    uint32_t expanded = latent->compressed ? latent->value : latent->plain + latent->value;
    uint32_t keys = h->max_kv_heads * h->head_dim;
    uint32_t values = greater(h->max_kv_heads * h->value_dim, latent->rank);
    uint32_t ffn = greater(greater(h->max_ffn, h->shared_ffn), n_used * h->expert_ffn);
    const uint32_t widths[N_VALUES] = {[HIDDEN] = h->width,
                                       [NORMED] = h->width,
                                       [QUERY] = h->max_heads * h->head_dim,
                                       [KEY] = latent->compressed ? 0 : keys,
                                       [VALUE] = values,
                                       [QUERY_LATENT] = latent->query_rank,
                                       [HEAD_QUERY] = latent->compressed ? h->max_heads * head : 0,
                                       [LATENT] = latent->rank + latent->rotated,
                                       [EXPANDED] = h->max_heads * expanded,
                                       [ATTENDED] = attended,
                                       [BRANCH] = h->width,
                                       [GATE] = ffn,
                                       [UP] = ffn,
                                       [ROTARY] = rotary,
                                       [SINK_ROTARY] = sinks ? rotary : 0,
                                       [LOCAL_ROTARY] = local ? rotary : 0,
                                       [LOCAL_SINK_ROTARY] = local && sinks ? rotary : 0,
                                       [SINK_QUERY] = sinks ? h->max_heads * h->head_dim : 0,
                                       [ROUTER] = h->router.n_experts,
                                       [ROUTES] = 2 * n_used,
                                       [EXPERT_OUT] = n_used * h->width,
                                       [SHARED] = h->shared_ffn > 0 ? h->width : 0,
                                       [SHARED_GATE] = h->shared_ffn > 0 ? 1 : 0,
                                       [OUT_ATTENDED] = attended,
                                       [OUT_HIDDEN] = h->width,
                                       [LOGITS] = h->architecture->encoder ? 0 : h->n_vocab};
    for (int i = 0; i < N_VALUES; i++)
        program->values[i] = (rad_value){widths[i], i >= OUT_ATTENDED};
    program->n_values = N_VALUES;
    program->logits = LOGITS;
}

static size_t ops_bytes(const rad_program *program)
{
    return ((size_t)program->model->hparams.n_layers * OPS_PER_LAYER + OPS_OUTSIDE) *
           sizeof(rad_op);
}

radllm_status rad_program_build(const rad_model *model, const rad_attention_policy *policy,
                                uint32_t context, rad_program *program, radllm_error *error)
{
    memset(program, 0, sizeof *program);
    program->model = model;
    program->context = context;
    program->ops = rad_alloc(&model->host.allocator, ops_bytes(program));
    if (program->ops == NULL)
        return rad_fail_memory(error, ops_bytes(program));
    writer w = {.program = program, .policy = policy};
    declare_values(program, &model->hparams, policy);
    emit_model(&w, model);
    return RADLLM_OK;
}

uint64_t rad_program_bytes(const rad_program *program)
{
    return ops_bytes(program);
}

void rad_program_free(rad_program *program)
{
    if (program->ops != NULL)
        rad_free(&program->model->host.allocator, program->ops, ops_bytes(program));
    program->ops = NULL;
}
