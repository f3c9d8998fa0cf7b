#include "engine/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file_write.h"
#include "base/platform.h"
#include "engine/room.h"

#define VERSION       1u
#define SETTINGS_BASE 4096
#define SETTINGS_SIZE (SETTINGS_BASE + 2 * RAD_ADAPTERS_TEXT)
#define DIGEST_SIZE   32
#define PIECE         ((size_t)64 << 10)
#define FLAG_OPTIONAL 1u

static const char far_failure[] = "a page of keys and values cannot be copied from or to the "
                                  "device; the engine can compute no more: open another one";
static const char magic[8] = {'R', 'A', 'D', 'L', 'L', 'M', 'S', 'S'};

typedef struct file_head {
    char magic[8];
    uint32_t version, zero;
} file_head;

typedef struct section_head {
    char name[4];
    uint32_t flags;
    uint64_t size;
} section_head;

typedef struct token_head {
    uint32_t n_tokens, base, first, zero; /* as in rad_session */
} token_head;

typedef struct page_head {
    uint32_t group, n;
} page_head;

/* What must be the same, line by line. */
static void write_settings(const rad_session *session, const char *model_hash,
                           char text[SETTINGS_SIZE])
{
    const rad_engine *engine = session->engine;
    int n = snprintf(text, SETTINGS_BASE, "model=%.64s\nnumeric_version=%u\nfast=%s\n", model_hash,
                     (unsigned)radllm_numeric_version(),
                     engine->plan.settings.blas ? "blas" : engine->plan.placement.fast);
    uint32_t choice = rad_rope_choice(&engine->model->hparams.rope, engine->program.context);
    const rad_cuda_placement *placement = &engine->plan.placement;
    if (placement->n_layers > 0)
        n += snprintf(text + n, SETTINGS_BASE - (size_t)n, "device=%s, %u layers%s%s\n",
                      placement->bits, placement->n_layers,
                      placement->experts_here ? " without experts" : "",
                      placement->output ? " and the output" : "");
    if (engine->model->rounds_nf4)
        n += snprintf(text + n, SETTINGS_BASE - (size_t)n, "nf4=int8\n");
    if (choice != 0)
        n += snprintf(text + n, SETTINGS_BASE - (size_t)n, "rotations=%u\n", choice);
    rad_cache_describe(&engine->cache->plan, text + n, SETTINGS_BASE - (size_t)n);
    /* There is room. Those that are part of the weights stand before the session's own. */
    size_t used = strlen(text);
    rad_adapters_text(&engine->model->merged, text + used);
    used += strlen(text + used);
    if (engine->model->merged.n > 0)
        used += (size_t)snprintf(text + used, SETTINGS_SIZE - used, "merged\n");
    rad_adapters_text(&session->adapters, text + used);
}

static uint32_t tiles_of(const rad_session *session)
{
    return (session->n_tokens - session->base + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct writer {
    rad_output *output;
    rad_hasher hasher;
    const radllm_cancel *cancel;
    radllm_status status;
    radllm_error *error;
} writer;

static void put(writer *w, const void *data, size_t size)
{
    if (w->status == RADLLM_OK && rad_cancelled(w->cancel))
        w->status = rad_fail(w->error, RADLLM_E_CANCELLED, "writing the snapshot was cancelled");
    if (w->status != RADLLM_OK)
        return;
    rad_hasher_add(&w->hasher, data, size);
    w->status = rad_output_write(w->output, data, size, w->error);
}

static void put_section(writer *w, const char name[5], uint64_t size)
{
    section_head head = {.flags = 0, .size = size};
    memcpy(head.name, name, sizeof head.name);
    put(w, &head, sizeof head);
}

/* What is behind a window and still held, is not kept. */
static bool keeps(const rad_session *session, uint32_t group, uint32_t tile)
{
    return rad_sequence_holds(&session->sequence, group, tile) &&
           rad_sequence_sees(&session->sequence, group, session->n_tokens - session->base, tile);
}

/* With its part on a device behind it. */
static void put_page(writer *w, const rad_page_pool *pool, const uint8_t *page,
                     const rad_allocator *allocator)
{
    size_t far_bytes = rad_page_far_bytes(pool);
    put(w, page, rad_page_bytes(pool));
    if (far_bytes == 0 || w->status != RADLLM_OK)
        return;
    uint8_t *part = rad_alloc(allocator, far_bytes);
    if (part == NULL) {
        w->status = rad_fail_memory(w->error, far_bytes);
        return;
    }
    if (rad_page_read_far(pool, page, part))
        put(w, part, far_bytes);
    else
        w->status = rad_fail(w->error, RADLLM_E_DEVICE, "%s", far_failure);
    rad_wipe(part, far_bytes);
    rad_free(allocator, part, far_bytes);
}

static void put_pages(writer *w, const rad_session *session, uint32_t group)
{
    const rad_sequence *sequence = &session->sequence;
    const rad_page_pool *pool = sequence->cache->pools[group];
    size_t page_bytes = rad_page_bytes(pool) + rad_page_far_bytes(pool);
    page_head head = {group, 0};
    uint32_t n_tiles = tiles_of(session);
    for (uint32_t tile = 0; tile < n_tiles; tile++)
        head.n += keeps(session, group, tile) ? 1 : 0;
    put_section(w, "page", sizeof head + (uint64_t)head.n * (sizeof(uint32_t) + page_bytes));
    put(w, &head, sizeof head);
    for (uint32_t tile = 0; tile < n_tiles; tile++) {
        if (keeps(session, group, tile))
            put(w, &tile, sizeof tile);
    }
    for (uint32_t tile = 0; tile < n_tiles; tile++) {
        if (keeps(session, group, tile))
            put_page(w, pool, rad_sequence_page(sequence, group, tile),
                     &session->engine->host.allocator);
    }
}

static void put_session(writer *w, const rad_session *session, const char *model_hash)
{
    const rad_engine *engine = session->engine;
    char settings[SETTINGS_SIZE];
    const token_head held = {session->n_tokens, session->base, session->first, 0};
    uint32_t count = session->n_known - session->first;
    file_head head = {.version = VERSION, .zero = 0};
    memcpy(head.magic, magic, sizeof magic);
    put(w, &head, sizeof head);
    write_settings(session, model_hash, settings);
    put_section(w, "set.", strlen(settings));
    put(w, settings, strlen(settings));
    put_section(w, "salt", sizeof session->key.blocks[1]);
    put(w, session->key.blocks[1], sizeof session->key.blocks[1]);
    put_section(w, "toks", sizeof held + (uint64_t)count * sizeof(int32_t));
    put(w, &held, sizeof held);
    put(w, rad_session_at(session, session->first), count * sizeof(int32_t));
    for (uint32_t g = 0; g < engine->cache->plan.n_groups; g++)
        put_pages(w, session, g);
    size_t logits = session->has_logits ? engine->model->hparams.n_vocab * sizeof(float) : 0;
    if (logits > 0) {
        put_section(w, "logi", logits);
        put(w, session->logits, logits);
    }
    put_section(w, "end.", 0);
}

radllm_status rad_snapshot_write(rad_session *session, const char *path, const char *model_hash,
                                 const radllm_cancel *cancel, radllm_error *error)
{
    writer w = {.cancel = cancel, .error = error};
    radllm_status status = rad_session_read_logits(session, error);
    if (status == RADLLM_OK)
        status = rad_output_open_private(&session->engine->host.allocator, path, &w.output, error);
    if (status != RADLLM_OK)
        return status;
    uint8_t digest[DIGEST_SIZE];
    rad_hasher_start(&w.hasher);
    put_session(&w, session, model_hash);
    rad_hasher_end(&w.hasher, digest);
    if (w.status == RADLLM_OK)
        w.status = rad_output_write(w.output, digest, sizeof digest, error);
    if (w.status == RADLLM_OK)
        w.status = rad_output_commit(w.output, error);
    rad_output_free(w.output);
    return w.status;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct reader {
    rad_session *session;
    rad_file *file;
    uint64_t offset, end; /* end: where the digest begins */
    rad_hasher hasher;
    const radllm_cancel *cancel;
    radllm_error *error;
    char label[RAD_QUOTE_SIZE];
    const char *settings; /* those of the engine */
    bool begun;           /* the session was emptied and is being filled */
} reader;

static radllm_status malformed(const reader *r, const char *what)
{
    return rad_fail(r->error, RADLLM_E_FORMAT,
                    "%s: the snapshot is damaged at byte %" PRIu64 ": %s; take another copy of it, "
                    "or compute the session anew",
                    r->label, r->offset, what);
}

static radllm_status get(reader *r, void *out, size_t size)
{
    if (size > r->end - r->offset)
        return malformed(r, "it ends too early");
    if (rad_cancelled(r->cancel))
        return rad_fail(r->error, RADLLM_E_CANCELLED, "reading the snapshot was cancelled");
    radllm_status status = rad_file_read(r->file, r->offset, out, size, r->error);
    if (status != RADLLM_OK)
        return status;
    rad_hasher_add(&r->hasher, out, size);
    r->offset += size;
    return RADLLM_OK;
}

static radllm_status check_digest(reader *r)
{
    uint8_t expected[DIGEST_SIZE], found[DIGEST_SIZE];
    rad_hasher_end(&r->hasher, found);
    radllm_status status = rad_file_read(r->file, r->end, expected, DIGEST_SIZE, r->error);
    if (status == RADLLM_OK && memcmp(expected, found, DIGEST_SIZE) != 0)
        status = malformed(r, "its checksum does not agree with what it holds");
    return status;
}

/* The head, and then the whole file's checksum, before anything of it is used. */
static radllm_status check_file(reader *r)
{
    uint64_t size = rad_file_size(r->file);
    file_head head;
    if (size < sizeof head + sizeof(section_head) + DIGEST_SIZE)
        return malformed(r, "it is too short");
    r->end = size - DIGEST_SIZE;
    rad_hasher_start(&r->hasher);
    radllm_status status = get(r, &head, sizeof head);
    if (status != RADLLM_OK)
        return status;
    if (memcmp(head.magic, magic, sizeof magic) != 0)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "%s is no snapshot of a session: it does not begin with RADLLMSS",
                        r->label);
    if (head.version != VERSION)
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "%s is a snapshot in format %" PRIu32
                        "; this version of the library reads format %u",
                        r->label, head.version, VERSION);
    uint8_t *piece = rad_alloc(&r->session->engine->host.allocator, PIECE);
    if (piece == NULL)
        return rad_fail_memory(r->error, PIECE);
    while (status == RADLLM_OK && r->offset < r->end) {
        uint64_t left = r->end - r->offset;
        status = get(r, piece, left < PIECE ? (size_t)left : PIECE);
    }
    if (status == RADLLM_OK)
        status = check_digest(r);
    rad_wipe(piece, PIECE);
    rad_free(&r->session->engine->host.allocator, piece, PIECE);
    return status;
}

/* The first line that differs, for the message. */
static radllm_status other_settings(const reader *r, const char *found)
{
    const char *own = r->settings;
    size_t a = strcspn(own, "\n"), b = strcspn(found, "\n");
    while (a == b && a > 0 && memcmp(own, found, a) == 0) {
        own += a + (own[a] == '\n');
        found += b + (found[b] == '\n');
        a = strcspn(own, "\n");
        b = strcspn(found, "\n");
    }
    /* A GPU has a line of its own, the CPU none. */
    const char *none = "no adapter";
    bool on_gpu = strncmp(own, "device=", 7) == 0, was_on_gpu = strncmp(found, "device=", 7) == 0;
    if (on_gpu != was_on_gpu) {
        none = "device=cpu";
        *(on_gpu ? &b : &a) = 0;
    }
    char here[RAD_QUOTE_SIZE], there[RAD_QUOTE_SIZE];
    rad_quote(here, own, a);
    rad_quote(there, found, b);
    return rad_fail(r->error, RADLLM_E_ARGUMENT,
                    "%s: the snapshot was made with \"%s\", this engine and session have \"%s\"; "
                    "it goes on only with the same model, adapters and settings",
                    r->label, b > 0 ? there : none, a > 0 ? here : none);
}

static radllm_status read_settings(reader *r, uint64_t size)
{
    char text[SETTINGS_SIZE];
    if (size >= sizeof text)
        return malformed(r, "its settings are too long");
    radllm_status status = get(r, text, (size_t)size);
    if (status != RADLLM_OK)
        return status;
    text[size] = '\0';
    return strcmp(text, r->settings) == 0 ? RADLLM_OK : other_settings(r, text);
}

static radllm_status read_salt(reader *r, uint64_t size)
{
    int32_t salt[RAD_TILE_KEYS];
    if (size != sizeof salt)
        return malformed(r, "its salt has another size");
    radllm_status status = get(r, salt, sizeof salt);
    if (status != RADLLM_OK)
        return status;
    if (salt[0] > 0)
        return malformed(r, "its salt is none");
    rad_session_cut(r->session, 0);
    r->begun = true;
    memcpy(r->session->key.blocks[1], salt, sizeof salt);
    return RADLLM_OK;
}

/* Whether a session of this engine can be in this state: what it has computed, and what of its
 * tokens it needs to go on. */
static bool is_possible(const rad_session *session, const token_head *held, uint32_t count)
{
    const rad_engine_plan *plan = &session->engine->plan;
    uint64_t n_known = (uint64_t)held->first + count;
    bool endless = plan->positions > plan->settings.context;
    if (n_known > plan->positions || (held->first > 0 && !endless) || held->n_tokens > n_known ||
        held->base > held->n_tokens)
        return false;
    if (plan->policy.kind != RAD_ATTENTION_RECOMPUTE)
        return held->base == 0 && held->first <= held->n_tokens;
    return held->n_tokens - held->base <= plan->policy.window &&
           held->first <= rad_policy_base(&plan->policy, (uint32_t)n_known);
}

static radllm_status read_tokens(reader *r, uint64_t size)
{
    rad_session *session = r->session;
    const rad_engine *engine = session->engine;
    token_head held;
    if (size < sizeof held || (size - sizeof held) % sizeof(int32_t) != 0)
        return malformed(r, "its tokens have a wrong size");
    uint64_t count = (size - sizeof held) / sizeof(int32_t);
    if (count > engine->plan.settings.context)
        return rad_fail(r->error, RADLLM_E_LIMIT,
                        "%s: the session has %" PRIu64 " tokens, more than the context of %u; "
                        "make the engine with a larger option context",
                        r->label, count, engine->plan.settings.context);
    radllm_status status = get(r, &held, sizeof held);
    if (status == RADLLM_OK && !is_possible(session, &held, (uint32_t)count))
        status = malformed(r, "other tokens are computed than there are");
    if (status != RADLLM_OK)
        return status;
    session->origin = session->first = held.first;
    session->n_known = held.first + (uint32_t)count; /* what is read is wiped when more fails */
    session->base = session->n_tokens = held.base;
    status = get(r, session->tokens, (size_t)count * sizeof(int32_t));
    if (status != RADLLM_OK)
        return status;
    session->n_tokens = held.n_tokens;
    for (uint64_t i = 0; i < count; i++) {
        if (session->tokens[i] < 0 ||
            (uint32_t)session->tokens[i] >= engine->model->hparams.n_vocab)
            return malformed(r, "a token is not in the vocabulary");
    }
    return RADLLM_OK;
}

/* With its part on a device behind it. */
static radllm_status read_page(reader *r, const rad_page_pool *pool, uint8_t *page)
{
    const rad_allocator *allocator = &r->session->engine->host.allocator;
    size_t far_bytes = rad_page_far_bytes(pool);
    radllm_status status = get(r, page, rad_page_bytes(pool));
    if (far_bytes == 0 || status != RADLLM_OK)
        return status;
    uint8_t *part = rad_alloc(allocator, far_bytes);
    if (part == NULL)
        return rad_fail_memory(r->error, far_bytes);
    status = get(r, part, far_bytes);
    if (status == RADLLM_OK && !rad_page_write_far(pool, page, part))
        status = rad_fail(r->error, RADLLM_E_DEVICE, "%s", far_failure);
    rad_wipe(part, far_bytes);
    rad_free(allocator, part, far_bytes);
    return status;
}

static radllm_status read_pages(reader *r, uint64_t size, uint32_t group)
{
    rad_sequence *sequence = &r->session->sequence;
    const rad_cache *cache = sequence->cache;
    page_head head;
    if (size < sizeof head || group >= cache->plan.n_groups)
        return malformed(r, "it has more pages than there are");
    radllm_status status = get(r, &head, sizeof head);
    if (status != RADLLM_OK)
        return status;
    const rad_page_pool *pool = cache->pools[group];
    size_t page_bytes = rad_page_bytes(pool) + rad_page_far_bytes(pool);
    uint32_t n_tiles = tiles_of(r->session);
    if (head.group != group || head.n > n_tiles ||
        size != sizeof head + head.n * (sizeof(uint32_t) + (uint64_t)page_bytes))
        return malformed(r, "its pages have a wrong size");
    for (uint32_t i = 0; i < head.n; i++) {
        uint32_t tile;
        status = get(r, &tile, sizeof tile);
        if (status != RADLLM_OK)
            return status;
        status = tile < n_tiles ? rad_sequence_insert(sequence, group, tile) : RADLLM_E_FORMAT;
        if (status == RADLLM_E_LIMIT)
            return rad_room_fail(r->session->engine, r->error);
        if (status != RADLLM_OK)
            return malformed(r, "its pages are none that a session holds");
    }
    for (uint32_t tile = 0; tile < n_tiles; tile++) {
        if (rad_sequence_holds(sequence, group, tile))
            status = read_page(r, pool, rad_sequence_page(sequence, group, tile));
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

static radllm_status read_logits(reader *r, uint64_t size)
{
    rad_session *session = r->session;
    if (size != session->engine->model->hparams.n_vocab * sizeof(float) || session->n_tokens == 0)
        return malformed(r, "its logits have a wrong size");
    radllm_status status = rad_session_read_logits(session, r->error);
    if (status == RADLLM_OK)
        status = get(r, session->logits, (size_t)size);
    session->has_logits = status == RADLLM_OK;
    return status;
}

static radllm_status pass_over(reader *r, uint64_t size)
{
    uint8_t bytes[256];
    radllm_status status = RADLLM_OK;
    for (; size > 0 && status == RADLLM_OK; size -= size < sizeof bytes ? size : sizeof bytes)
        status = get(r, bytes, size < sizeof bytes ? (size_t)size : sizeof bytes);
    return status;
}

/* The sections in their order: `step` is the number of those that are known, so far. */
static radllm_status read_section(reader *r, const section_head *head, uint32_t *step)
{
    uint32_t n_groups = r->session->sequence.cache->plan.n_groups, at = (*step)++;
    if (head->size > r->end - r->offset)
        return malformed(r, "a section is longer than the file");
    if (at == 0 && memcmp(head->name, "set.", 4) == 0)
        return read_settings(r, head->size);
    if (at == 1 && memcmp(head->name, "salt", 4) == 0)
        return read_salt(r, head->size);
    if (at == 2 && memcmp(head->name, "toks", 4) == 0)
        return read_tokens(r, head->size);
    if (at >= 3 && at < 3 + n_groups && memcmp(head->name, "page", 4) == 0)
        return read_pages(r, head->size, at - 3);
    if (at == 3 + n_groups && memcmp(head->name, "logi", 4) == 0)
        return read_logits(r, head->size);
    --*step;
    if ((head->flags & FLAG_OPTIONAL) != 0)
        return pass_over(r, head->size);
    char name[RAD_QUOTE_SIZE];
    return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                    "%s: the snapshot has a section \"%s\" that this version of the library does "
                    "not expect there",
                    r->label, rad_quote(name, head->name, 4));
}

static radllm_status read_session(reader *r)
{
    uint32_t step = 0, needed = 3 + r->session->sequence.cache->plan.n_groups;
    file_head head;
    r->offset = 0;
    rad_hasher_start(&r->hasher);
    radllm_status status = get(r, &head, sizeof head);
    for (;;) {
        section_head section;
        if (status == RADLLM_OK)
            status = get(r, &section, sizeof section);
        if (status != RADLLM_OK)
            return status;
        if (memcmp(section.name, "end.", 4) == 0)
            break;
        status = read_section(r, &section, &step);
    }
    if (step < needed || r->offset != r->end)
        return malformed(r, "a section is missing, or something follows the last one");
    if (!rad_sequence_complete(&r->session->sequence, r->session->n_tokens - r->session->base))
        return malformed(r, "a page is missing");
    return check_digest(r); /* it is what it was before */
}

radllm_status rad_snapshot_read(rad_session *session, const char *path, const char *model_hash,
                                const radllm_cancel *cancel, radllm_error *error)
{
    const rad_allocator *allocator = &session->engine->host.allocator;
    char settings[SETTINGS_SIZE];
    reader r = {.session = session, .cancel = cancel, .error = error, .settings = settings};
    write_settings(session, model_hash, settings);
    rad_quote(r.label, path, strlen(path));
    radllm_status status = rad_file_open(allocator, path, &r.file, error);
    if (status != RADLLM_OK)
        return status;
    status = check_file(&r);
    if (status == RADLLM_OK)
        status = read_session(&r);
    if (r.begun && status != RADLLM_OK)
        rad_session_cut(session, 0);
    session->own = r.begun && status == RADLLM_OK ? true : session->own;
    rad_file_close(r.file);
    return status;
}
