#include "quantize/image.h"

#include <stdio.h>
#include <string.h>

#include "base/numeric.h"
#include "io/adapter.h"
#include "io/derived.h"
#include "text/export.h"

typedef struct image {
    rad_source *from, *to;
    char architecture[64];
    bool halves;           /* rotated pairs are halves of a head, which GGUF has by turns */
    radllm_error *no_file; /* fails with what no GGUF file can say */
    bool keyed;            /* the tokenizer's parts stand in a key of their own */
    bool again;            /* they must */
    uint64_t n_heads, n_kv_heads;
    const rad_tensor **stack; /* room for the experts of one tensor */
    uint64_t n_experts;
    const rad_allocator *allocator;
    radllm_error *error;
} image;

/* ---- metadata ------------------------------------------------------------------------------- */

static bool is_key(const image *m, const rad_meta *meta, const char *name)
{
    size_t size = strlen(m->architecture);
    return strncmp(meta->key.data, m->architecture, size) == 0 && meta->key.data[size] == '.' &&
           strcmp(meta->key.data + size + 1, name) == 0;
}

static const rad_meta *find(const image *m, const char *name)
{
    char key[160];
    snprintf(key, sizeof key, "%s.%s", m->architecture, name);
    return rad_source_find_meta(m->from, key);
}

static double real_of(const image *m, const char *name, double fallback)
{
    const rad_meta *meta = find(m, name);
    if (meta == NULL || meta->count != 1 || meta->type == RAD_META_STRING)
        return fallback;
    return meta->type == RAD_META_F64 || meta->type == RAD_META_F32
               ? rad_meta_item_f64(meta, 0)
               : (double)(int64_t)rad_meta_item_u64(meta, 0);
}

static uint64_t size_of(const image *m, const char *name, uint64_t fallback)
{
    double value = real_of(m, name, (double)fallback);
    return value >= 0.0 && value < 2147483648.0 ? (uint64_t)value : fallback;
}

static bool text_is(const rad_meta *meta, const char *text)
{
    return meta != NULL && meta->type == RAD_META_STRING && meta->count == 1 &&
           meta->strings[0].size == strlen(text) &&
           memcmp(meta->strings[0].data, text, meta->strings[0].size) == 0;
}

static bool is_llama3(const image *m)
{
    return text_is(find(m, "rope.scaling.type"), "llama3");
}

static bool is_longrope(const image *m)
{
    return text_is(find(m, "rope.scaling.type"), "longrope");
}

/* What is said otherwise in GGUF. */
static bool is_left_out(const image *m, const rad_meta *meta)
{
    bool scaling = strstr(meta->key.data, ".rope.scaling.") != NULL;
    bool factors = is_key(m, meta, "rope.scaling.type") ||
                   is_key(m, meta, "rope.scaling.long_factors") ||
                   is_key(m, meta, "rope.scaling.short_factors");
    return (m->halves && is_key(m, meta, "rope.layout")) || (scaling && is_llama3(m)) ||
           (factors && is_longrope(m)) || strncmp(meta->key.data, "tokenizer.ggml.", 15) == 0;
}

/* Numbers in the types that readers look for. */
static radllm_status add_meta(image *m, const rad_meta *meta)
{
    const char *key = meta->key.data;
    if (meta->is_array || meta->count != 1)
        return rad_derived_add_meta(m->to, meta, m->error);
    if (meta->type == RAD_META_F64)
        return rad_derived_add_f32(m->to, key, (float)rad_meta_item_f64(meta, 0), m->error);
    if (meta->type == RAD_META_I64 && rad_meta_item_u64(meta, 0) <= UINT32_MAX)
        return rad_derived_add_integer(m->to, key, RAD_META_U32, rad_meta_item_u64(meta, 0),
                                       m->error);
    return rad_derived_add_meta(m->to, meta, m->error);
}

/* An integer that config.json leaves to the family, and readers of GGUF do not. */
static radllm_status add_missing(image *m, bool wanted, const char *name, uint64_t value)
{
    char key[160];
    if (!wanted || find(m, name) != NULL)
        return RADLLM_OK;
    snprintf(key, sizeof key, "%s.%s", m->architecture, name);
    return rad_derived_add_integer(m->to, key, RAD_META_U32, value, m->error);
}

static radllm_status add_general(image *m)
{
    radllm_status status = rad_derived_add_text(m->to, "general.type", "model", 5, m->error);
    if (status == RADLLM_OK) /* all heads share the short vectors that the cache holds */
        status = add_missing(m, find(m, "attention.key_length_mla") != NULL,
                             "attention.head_count_kv", 1);
    if (status == RADLLM_OK)
        status = add_missing(m, strcmp(m->architecture, "dots1") == 0, "expert_gating_func", 2);
    uint64_t heads = size_of(m, "attention.head_count", 0);
    uint64_t width = size_of(m, "embedding_length", 0);
    /* Readers of older files want it; positions that are learned are not rotated. */
    if (status == RADLLM_OK && heads > 0)
        status = add_missing(m, find(m, "rope.freq_base") != NULL, "rope.dimension_count",
                             size_of(m, "attention.key_length", width / heads));
    return status;
}

static radllm_status add_metadata(image *m)
{
    radllm_status status = RADLLM_OK;
    for (uint64_t i = 0; i < rad_source_n_meta(m->from) && status == RADLLM_OK; i++) {
        const rad_meta *meta = rad_source_meta(m->from, i);
        if (!is_left_out(m, meta))
            status = add_meta(m, meta);
    }
    return status == RADLLM_OK ? add_general(m) : status;
}

/* ---- tensors -------------------------------------------------------------------------------- */

bool rad_stack_name(rad_text name, char stack[RAD_STACK_NAME], uint32_t *expert)
{
    static const char *const roles[] = {".ffn_gate.", ".ffn_up.", ".ffn_down."};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const char *at = strstr(name.data, roles[i]);
        if (strncmp(name.data, "blk.", 4) != 0 || at == NULL)
            continue;
        const char *digits = at + strlen(roles[i]);
        size_t n = strspn(digits, "0123456789");
        if (n == 0 || n > 6 || strcmp(digits + n, ".weight") != 0)
            return false;
        *expert = 0;
        for (size_t d = 0; d < n; d++)
            *expert = *expert * 10 + (uint32_t)(digits[d] - '0');
        snprintf(stack, RAD_STACK_NAME, "%.*s_exps.weight",
                 (int)(at - name.data + (ptrdiff_t)strlen(roles[i]) - 1), name.data);
        return true;
    }
    return false;
}

static radllm_status fail_rows(const image *m, const rad_tensor *tensor)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(m->error, RADLLM_E_FORMAT,
                    "%s: the rows of the tensor '%s' cannot be divided among the heads of "
                    "config.json; fetch both again",
                    rad_source_label(m->from),
                    rad_quote(quoted, tensor->name.data, tensor->name.size));
}

/* The order of rows of queries and keys: of a head's halves one and one by turns. */
static radllm_status order_rows(const image *m, const rad_tensor *tensor, rad_row_order *order)
{
    const char *name = strrchr(tensor->name.data, '.');
    const char *role = strchr(tensor->name.data + 4, '.');
    if (!m->halves || strncmp(tensor->name.data, "blk.", 4) != 0 || role == NULL || name == role)
        return RADLLM_OK;
    size_t size = (size_t)(name - role) - 1;
    bool queries = size == 6 && memcmp(role + 1, "attn_q", 6) == 0;
    bool keys = size == 6 && memcmp(role + 1, "attn_k", 6) == 0;
    bool norms = size == 11 && (memcmp(role + 1, "attn_q_norm", 11) == 0 ||
                                memcmp(role + 1, "attn_k_norm", 11) == 0);
    if (!queries && !keys && !norms)
        return RADLLM_OK;
    uint64_t rows = tensor->n_elements == tensor->dims[0] ? tensor->dims[0] : tensor->dims[1];
    uint64_t heads = norms ? 1 : queries ? m->n_heads : m->n_kv_heads;
    if (heads == 0 || rows % heads != 0 || rows / heads % 2 != 0)
        return fail_rows(m, tensor);
    *order = (rad_row_order){2, rows / heads / 2, 1};
    return RADLLM_OK;
}

/* The experts' matrices of a role as one tensor: called for the first of them. */
static radllm_status add_stack(image *m, const rad_tensor *first, const char *stack)
{
    size_t size = strlen(stack) - strlen("_exps.weight");
    for (uint32_t e = 0; e < m->n_experts; e++) {
        char name[RAD_STACK_NAME + 16];
        snprintf(name, sizeof name, "%.*s.%u.weight", (int)size, stack, e);
        m->stack[e] = rad_source_find_tensor(m->from, name);
        if (m->stack[e] == NULL)
            return rad_fail(m->error, RADLLM_E_FORMAT,
                            "%s: the tensor %s is missing; fetch all files of the model",
                            rad_source_label(m->from), name);
    }
    rad_derived_tensor tensor = {.name = stack,
                                 .n_dims = 3,
                                 .dims = {first->dims[0], first->dims[1], m->n_experts, 1},
                                 .from = m->stack,
                                 .n_from = (uint32_t)m->n_experts};
    return rad_derived_add_tensor(m->to, &tensor, m->error);
}

static radllm_status add_tensor(image *m, const rad_tensor *from)
{
    char stack[RAD_STACK_NAME];
    uint32_t expert;
    if (rad_stack_name(from->name, stack, &expert))
        return expert == 0 && m->n_experts > 0 ? add_stack(m, from, stack) : RADLLM_OK;
    rad_derived_tensor tensor = {
        .name = from->name.data, .n_dims = from->n_dims, .from = &from, .n_from = 1};
    memcpy(tensor.dims, from->dims, sizeof tensor.dims);
    radllm_status status = order_rows(m, from, &tensor.order);
    return status == RADLLM_OK ? rad_derived_add_tensor(m->to, &tensor, m->error) : status;
}

/* Llama 3's scaling of rotations, as divisors of their frequencies. */
static radllm_status add_divisors(image *m)
{
    enum { MOST = 512 };
    float divisors[MOST];
    uint64_t heads = size_of(m, "attention.head_count", 1);
    uint64_t head = size_of(m, "embedding_length", 0) / (heads > 0 ? heads : 1);
    head = size_of(m, "attention.key_length", head);
    uint64_t pairs = size_of(m, "rope.dimension_count", head) / 2;
    double factor = real_of(m, "rope.scaling.factor", 8.0);
    double low = real_of(m, "rope.scaling.low_freq_factor", 1.0);
    double high = real_of(m, "rope.scaling.high_freq_factor", 4.0);
    double context = real_of(m, "rope.scaling.original_context_length", 8192.0);
    double theta = real_of(m, "rope.freq_base", 10000.0);
    if (!is_llama3(m) || pairs == 0)
        return RADLLM_OK;
    if (pairs > MOST || !(high > low) || !(factor > 0.0))
        return rad_fail(m->error, RADLLM_E_UNSUPPORTED,
                        "%s: rope_scaling of type llama3 with these factors has no form in GGUF",
                        rad_source_label(m->from));
    for (uint64_t i = 0; i < pairs; i++) {
        double waves = context * rad_pow(theta, -(double)i / (double)pairs) / 6.283185307179586;
        double smooth = (waves - low) / (high - low);
        divisors[i] = waves > high  ? 1.0f
                      : waves < low ? (float)factor
                                    : (float)(1.0 / ((1.0 - smooth) / factor + smooth));
    }
    return rad_derived_add_values(m->to, "rope_freqs.weight", divisors, pairs, m->error);
}

/* Factors of rotations for short and for long texts, as tensors. */
static radllm_status add_factors(image *m, const char *key, const char *name)
{
    enum { MOST = 512 };
    float factors[MOST];
    const rad_meta *meta = find(m, key);
    bool real = meta != NULL && (meta->type == RAD_META_F64 || meta->type == RAD_META_F32);
    if (!is_longrope(m))
        return RADLLM_OK;
    if (!real || meta->count == 0 || meta->count > MOST)
        return rad_fail(m->error, RADLLM_E_UNSUPPORTED,
                        "%s: rope_scaling of type longrope with these factors has no form in GGUF",
                        rad_source_label(m->from));
    for (uint64_t i = 0; i < meta->count; i++)
        factors[i] = (float)rad_meta_item_f64(meta, i);
    return rad_derived_add_values(m->to, name, factors, meta->count, m->error);
}

static radllm_status add_tensors(image *m)
{
    size_t bytes = (size_t)(m->n_experts + 1) * sizeof *m->stack;
    const rad_allocator allocator = *m->allocator;
    m->stack = rad_alloc(&allocator, bytes);
    radllm_status status = m->stack != NULL ? RADLLM_OK : rad_fail_memory(m->error, bytes);
    for (uint64_t i = 0; i < rad_source_n_tensors(m->from) && status == RADLLM_OK; i++)
        status = add_tensor(m, rad_source_tensor(m->from, i));
    rad_free(&allocator, (void *)m->stack, bytes);
    if (status == RADLLM_OK)
        status = add_factors(m, "rope.scaling.long_factors", "rope_factors_long.weight");
    if (status == RADLLM_OK)
        status = add_factors(m, "rope.scaling.short_factors", "rope_factors_short.weight");
    return status == RADLLM_OK ? add_divisors(m) : status;
}

/* ---- the tokenizer -------------------------------------------------------------------------- */

static radllm_status put_meta(void *user, const rad_meta *meta, radllm_error *error)
{
    return rad_derived_add_meta(user, meta, error);
}

static radllm_status add_tokenizer(image *m, const rad_tokenizer *tokenizer)
{
    const rad_tensor *embedding = rad_source_find_tensor(m->from, "token_embd.weight");
    uint64_t rows = embedding != NULL ? embedding->dims[1] : rad_tokenizer_size(tokenizer);
    const rad_tensor *types = rad_source_find_tensor(m->from, "token_types.weight");
    if (types != NULL) {
        radllm_status status = rad_derived_add_integer(m->to, "tokenizer.ggml.token_type_count",
                                                       RAD_META_U32, types->dims[1], m->error);
        if (status != RADLLM_OK)
            return status;
    }
    if (strcmp(rad_tokenizer_kind(tokenizer), "none") == 0)
        return rad_derived_add_text(m->to, "tokenizer.ggml.model", "none", 4, m->error);
    if (rows > UINT32_MAX)
        return rad_fail(m->error, RADLLM_E_FORMAT, "%s: the embedding has too many rows",
                        rad_source_label(m->from));
    return rad_tokenizer_export(tokenizer, m->from, (uint32_t)rows, &m->keyed, put_meta, m->to,
                                m->error);
}

/* Whether the entries that were made give the same tokens. */
static radllm_status check_tokenizer(const rad_host *host, image *m, const rad_tokenizer *tokenizer)
{
    rad_tokenizer *made = NULL;
    if (strcmp(rad_tokenizer_kind(tokenizer), "none") == 0)
        return RADLLM_OK;
    radllm_error why = {.status = RADLLM_OK};
    radllm_status status = rad_tokenizer_create(host, m->to, &made, &why);
    if (status == RADLLM_E_MEMORY)
        return rad_fail(m->error, status, "%s", why.message);
    if (status != RADLLM_OK) /* tokens that GGUF's spelling makes equal, for example */
        status =
            rad_fail(m->error, RADLLM_E_UNSUPPORTED,
                     "the folder's tokenizer has no form in GGUF (%s); run the folder as it is",
                     why.message);
    const bool parts = rad_tokenizer_has_parts(tokenizer);
    if (status == RADLLM_OK)
        status = rad_tokenizer_compare(tokenizer, made, "GGUF", parts, m->error);
    rad_tokenizer_free(made);
    if (status == RADLLM_OK && m->keyed)
        rad_log_line(
            host, RADLLM_LOG_WARNING,
            "GGUF's own keys do not say all that this tokenizer does: programs that do not "
            "know radllm.tokenizer.json may cut some texts otherwise");
    m->again = status == RADLLM_E_UNSUPPORTED && parts && !m->keyed;
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static radllm_status read_shape(image *m)
{
    rad_text architecture;
    radllm_status status = rad_meta_text(m->from, "general.architecture", &architecture, m->error);
    if (status != RADLLM_OK)
        return status;
    if (architecture.data == NULL)
        return rad_fail(m->error, RADLLM_E_UNSUPPORTED,
                        "%s: there is no config.json beside the weights, so that they cannot "
                        "become a GGUF file; fetch all files of the model",
                        rad_source_label(m->from));
    snprintf(m->architecture, sizeof m->architecture, "%.*s", (int)architecture.size,
             architecture.data);
    if (strcmp(m->architecture, "phi3") == 0 &&
        rad_source_find_tensor(m->from, "blk.0.attn_q.weight") != NULL)
        return rad_fail(m->error, RADLLM_E_UNSUPPORTED,
                        "%s: queries, keys and values stand apart, as ExLlamaV2 writes them, where "
                        "other programs want them in one tensor; convert the model in another form",
                        rad_source_label(m->from));
    m->halves = text_is(find(m, "rope.layout"), "halves");
    const char *strange = text_is(find(m, "rope.scaling.type"), "dynamic")
                              ? "rope_scaling of type dynamic"
                          : m->halves && strcmp(m->architecture, "llama") != 0
                              ? "a rotation of halves (rope_interleave) in this family"
                              : NULL;
    if (strange != NULL)
        (void)rad_fail(m->no_file, RADLLM_E_UNSUPPORTED,
                       "%s: %s has no form in GGUF; run the folder as it is",
                       rad_source_label(m->from), strange);
    m->halves = m->halves && strcmp(m->architecture, "llama") == 0;
    m->n_heads = size_of(m, "attention.head_count", 0);
    m->n_kv_heads = size_of(m, "attention.head_count_kv", m->n_heads);
    m->n_experts = size_of(m, "expert_count", 0);
    if (m->n_experts > rad_source_n_tensors(m->from)) /* no memory for what cannot be */
        m->n_experts = rad_source_n_tensors(m->from);
    return RADLLM_OK;
}

/* A tokenizer without a form in GGUF may go to a folder as it stands. */
static radllm_status put_off(image *m, radllm_status status)
{
    if (status != RADLLM_E_UNSUPPORTED)
        return status;
    *m->no_file = *m->error;
    *m->error = (radllm_error){.status = RADLLM_OK};
    rad_derived_keep_texts(m->to);
    return RADLLM_OK;
}

static radllm_status fill(const rad_host *host, image *m)
{
    rad_tokenizer *tokenizer = NULL;
    radllm_status status = add_metadata(m);
    if (status == RADLLM_OK)
        status = add_tensors(m);
    if (status == RADLLM_OK)
        status = rad_tokenizer_create(host, m->from, &tokenizer, m->error);
    if (status == RADLLM_OK)
        status = put_off(m, add_tokenizer(m, tokenizer));
    if (status == RADLLM_OK)
        status = rad_derived_finish(m->to, m->error);
    if (status == RADLLM_OK && m->no_file->status == RADLLM_OK) {
        status = check_tokenizer(host, m, tokenizer);
        status = m->again ? RADLLM_OK : put_off(m, status);
    }
    rad_tokenizer_free(tokenizer);
    return status;
}

/* What GGUF's own keys turn out not to say is made with a key more. */
static radllm_status make(const rad_host *host, image *m)
{
    radllm_status status = rad_derived_new(m->from, &m->to, m->error);
    if (status == RADLLM_OK)
        status = fill(host, m);
    if (!m->again)
        return status;
    rad_source_release(m->to);
    *m->error = (radllm_error){.status = RADLLM_OK};
    m->keyed = true;
    m->again = false;
    m->to = NULL;
    status = rad_derived_new(m->from, &m->to, m->error);
    return status == RADLLM_OK ? fill(host, m) : status;
}

radllm_status rad_image_make(const rad_host *host, rad_source *source, rad_source **out,
                             radllm_error *no_file, radllm_error *error)
{
    radllm_error own = {.status = RADLLM_OK}; /* the caller's may be none */
    *no_file = own;
    if (rad_source_is_gguf(source)) {
        *out = rad_source_retain(source);
        return RADLLM_OK;
    }
    image m = {.from = source, .no_file = no_file, .allocator = &host->allocator, .error = &own};
    radllm_status status = read_shape(&m);
    if (status == RADLLM_OK)
        status = make(host, &m);
    if (status == RADLLM_OK) {
        *out = m.to;
        return RADLLM_OK;
    }
    rad_source_release(m.to);
    return rad_fail(error, status, "%s", own.message);
}
