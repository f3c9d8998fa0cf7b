/* Sessions that are forked, shortened, written to files and read again go on with the same bits as
 * those that compute everything; and whatever is wrong with a file is told. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/platform.h"
#include "unit/asking.h"

/* ---- forks and removals ------------------------------------------------------------------------
 */

START_TEST(a_fork_goes_its_own_way)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(3, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *one = new_session(engine), *two, *three;
    prompt common = make_prompt(1, 110, 1, 110), a = make_prompt(1, 110, 2, 150),
           b = make_prompt(1, 110, 3, 180);
    static float first[4096], second[4096];
    size_t n;
    rad_assert_ok(radllm_session_feed(one, common.ids, common.n, NULL, error), error);
    int64_t used = number(engine, "pages_free");
    rad_assert_ok(radllm_session_fork(one, &two, error), error);
    ck_assert_int_eq(number(engine, "pages_free"), used); /* no memory */
    ck_assert_uint_eq(radllm_session_length(two), common.n);
    rad_assert_ok(radllm_session_logits(one, first, 4096, &n, error), error);
    rad_assert_ok(radllm_session_logits(two, second, 4096, &n, error), error);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    result expected_a = ask_alone(&a), expected_b = ask_alone(&b);
    result got_b = ask(two, &b), got_a = ask(one, &a);
    ck_assert_int_eq(got_a.reused, 110);
    ck_assert_int_eq(got_b.reused, 110);
    assert_same(&got_a, &expected_a);
    assert_same(&got_b, &expected_b);
    ck_assert_int_ge(number(engine, "pages_copied"), 1);

    /* A fork outlives its origin; there are no more than the engine's sessions. */
    rad_assert_ok(radllm_session_fork(two, &three, error), error);
    radllm_session *none = NULL;
    rad_assert_error(radllm_session_fork(two, &none, error), RADLLM_E_LIMIT, error, "sessions");
    radllm_session_free(two);
    radllm_session_free(one);
    got_b = ask(three, &b);
    assert_same(&got_b, &expected_b);
    radllm_session_free(three);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

START_TEST(what_follows_a_removal_is_computed_anew)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(1, 64, CONTEXT);
    radllm_session *session = new_session(engine);
    prompt whole = make_prompt(1, 200, 1, 200), shorter = {.n = 160};
    memcpy(shorter.ids, whole.ids, 50 * sizeof *whole.ids);
    memcpy(shorter.ids + 50, whole.ids + 90, 110 * sizeof *whole.ids);
    static float first[4096], second[4096];
    size_t n;
    rad_assert_ok(radllm_session_feed(session, shorter.ids, shorter.n, NULL, error), error);
    rad_assert_ok(radllm_session_logits(session, first, 4096, &n, error), error);
    rad_assert_ok(radllm_session_rewind(session, 0, error), error);
    rad_assert_ok(radllm_engine_clear_prefixes(engine, error), error);
    rad_assert_ok(radllm_session_feed(session, whole.ids, 199, NULL, error), error);
    rad_assert_ok(radllm_session_remove(session, 50, 40, error), error);
    ck_assert_uint_eq(radllm_session_length(session), 159);
    rad_assert_error(radllm_session_logits(session, second, 4096, &n, error), RADLLM_E_STATE, error,
                     "no logits");
    rad_assert_ok(radllm_session_feed(session, whole.ids + 199, 1, NULL, error), error);
    rad_assert_ok(radllm_session_logits(session, second, 4096, &n, error), error);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    rad_assert_error(radllm_session_remove(session, 161, 0, error), RADLLM_E_ARGUMENT, error,
                     "holds 160");
    rad_assert_error(radllm_session_remove(session, 100, 61, error), RADLLM_E_ARGUMENT, error,
                     "holds 160");
    rad_assert_ok(radllm_session_remove(session, 0, 160, error), error);
    ck_assert_uint_eq(radllm_session_length(session), 0);
    radllm_session_free(session);
    radllm_engine_free(engine);
    close_model();
}
END_TEST

/* Greatest difference between two rows of logits, beside their range. */
static float difference(const float *a, const float *b, size_t n)
{
    float most = 0.0f, low = a[0], high = a[0];
    for (size_t i = 0; i < n; i++) {
        float d = a[i] < b[i] ? b[i] - a[i] : a[i] - b[i];
        most = d > most ? d : most;
        low = a[i] < low ? a[i] : low;
        high = a[i] > high ? a[i] : high;
    }
    return most / (high - low);
}

/* In a model of one layer keys and values depend on the token and its position alone. So where
 * shifting is right, the session is, but for rounding, one that never had what was removed. */
static gguf_builder one_layer(int kind)
{
    static const char *const names[] = {"llama", "gemma2", "bloom", "deepseek2", "deepseek2"};
    static const char *const models[] = {NULL, NULL, "bloom", "deepseek2-v3", "deepseek2-lite"};
    char key[64], path[96];
    snprintf(path, sizeof path, "tests/golden/architectures/%s-q8_0.gguf", models[kind]);
    gguf_builder file = kind >= 2 ? gguf_load(rad_test_source_path(path)) : make_model(kind);
    snprintf(key, sizeof key, "%s.block_count", names[kind]);
    gguf_key_u32(&file, key, 1);
    snprintf(key, sizeof key, "%s.context_length", names[kind]);
    gguf_key_u32(&file, key, CONTEXT);
    for (size_t i = file.n_tensors; i-- > 0;) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)file.tensors[i].size, file.tensors[i].name);
        if (strncmp(name, "blk.", 4) == 0 && strncmp(name, "blk.0.", 6) != 0)
            gguf_remove_tensor(&file, name);
    }
    return file;
}

/* Interleaved pairs; halves, and a window; ALiBi; latent attention of both kinds. In every format
 * of the cache, in which a key that is rotated is rounded once more. */
START_TEST(shifted_keys_stand_where_they_would)
{
    static const struct {
        const char *name;
        float rounding;
    } formats[] = {{"f32", 1e-4f}, {"f16", 1e-2f},  {"bf16", 1e-2f},
                   {"fp8", 1e-2f}, {"q8_0", 1e-2f}, {"q4_0", 4e-2f}};
    open_builder(one_layer(_i / 6));
    set_text("cache", formats[_i % 6].name);
    radllm_engine *engine = new_engine(3, 64, 256);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *one = new_session(engine), *two, *fresh = new_session(engine);
    prompt p = make_prompt(1, 150, 1, 150), shorter = {.n = 110};
    static float expected[4096], got[4096], before[4096], after[4096];
    size_t n;
    memcpy(shorter.ids, p.ids, 50 * sizeof *p.ids);
    memcpy(shorter.ids + 50, p.ids + 90, 60 * sizeof *p.ids);
    rad_assert_ok(radllm_session_feed(one, p.ids, 149, NULL, error), error);
    rad_assert_ok(radllm_session_fork(one, &two, error), error);
    int64_t blocks = number(engine, "prefix_blocks");
    rad_assert_ok(radllm_session_shift(one, 50, 40, error), error);
    ck_assert_uint_eq(radllm_session_length(one), 109);
    int64_t computed = number(engine, "tokens_computed");
    rad_assert_ok(radllm_session_feed(one, p.ids + 149, 1, NULL, error), error);
    ck_assert_int_eq(number(engine, "tokens_computed"), computed + 1);
    ck_assert_int_eq(number(engine, "prefix_blocks"), blocks); /* it is for nobody else */
    rad_assert_ok(radllm_session_logits(one, got, 4096, &n, error), error);
    rad_assert_ok(radllm_session_feed(fresh, shorter.ids, shorter.n, NULL, error), error);
    rad_assert_ok(radllm_session_logits(fresh, expected, 4096, &n, error), error);
    ck_assert_float_lt(difference(got, expected, n), formats[_i % 6].rounding);
    /* The fork kept what it had. */
    rad_assert_ok(radllm_session_feed(two, p.ids + 149, 1, NULL, error), error);
    rad_assert_ok(radllm_session_logits(two, after, 4096, &n, error), error);
    ck_assert_float_gt(difference(after, expected, n), 1e-3f);
    rad_assert_ok(radllm_engine_clear_prefixes(engine, error), error);
    rad_assert_ok(radllm_session_rewind(fresh, 0, error), error);
    rad_assert_ok(radllm_session_feed(fresh, p.ids, p.n, NULL, error), error);
    rad_assert_ok(radllm_session_logits(fresh, before, 4096, &n, error), error);
    ck_assert_mem_eq(before, after, n * sizeof *after);
    radllm_session_free(one);
    radllm_session_free(two);
    radllm_session_free(fresh);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

/* Behind a window there is nothing left to be moved; learned positions cannot be. */
START_TEST(what_cannot_be_shifted_is_computed_or_refused)
{
    open_kind(2);
    radllm_engine *engine = new_engine(1, 64, CONTEXT);
    radllm_session *session = new_session(engine);
    prompt p = make_prompt(1, 500, 1, 500), shorter = {.n = 100};
    static float expected[4096], got[4096];
    size_t n;
    memcpy(shorter.ids, p.ids, 20 * sizeof *p.ids);
    memcpy(shorter.ids + 20, p.ids + 420, 80 * sizeof *p.ids);
    rad_assert_ok(radllm_session_feed(session, p.ids, 499, NULL, error), error);
    rad_assert_ok(radllm_session_shift(session, 20, 400, error), error);
    rad_assert_ok(radllm_session_feed(session, p.ids + 499, 1, NULL, error), error);
    rad_assert_ok(radllm_session_logits(session, got, 4096, &n, error), error);
    rad_assert_ok(radllm_session_rewind(session, 0, error), error);
    rad_assert_ok(radllm_session_feed(session, shorter.ids, shorter.n, NULL, error), error);
    rad_assert_ok(radllm_session_logits(session, expected, 4096, &n, error), error);
    ck_assert_mem_eq(expected, got, n * sizeof *got);
    radllm_session_free(session);
    radllm_engine_free(engine);
    close_model();
    open_builder(gguf_load(rad_test_source_path("tests/golden/architectures/gpt2-q8_0.gguf")));
    engine = new_engine(1, 64, 64);
    session = new_session(engine);
    rad_assert_ok(radllm_session_feed(session, p.ids, 40, NULL, error), error);
    rad_assert_error(radllm_session_shift(session, 10, 10, error), RADLLM_E_UNSUPPORTED, error,
                     "learned");
    ck_assert_uint_eq(radllm_session_length(session), 40);
    radllm_session_free(session);
    radllm_engine_free(engine);
    close_model();
}
END_TEST

/* ---- files -------------------------------------------------------------------------------------
 */

START_TEST(a_restored_session_goes_on)
{
    open_kind(_i);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *one = new_session(engine), *two = new_session(engine);
    prompt common = make_prompt(1, 300, 1, 300), next = make_prompt(1, 300, 2, 360);
    const char *path = rad_test_temp_path("session");
    static float first[4096], second[4096];
    size_t n;
    result expected = ask_alone(&next);
    rad_assert_ok(radllm_session_snapshot(one, path, NULL, error), error); /* an empty one */
    rad_assert_ok(radllm_session_restore(two, path, NULL, error), error);
    ck_assert_uint_eq(radllm_session_length(two), 0);
    rad_assert_ok(radllm_session_feed(one, common.ids, common.n, NULL, error), error);
    rad_assert_ok(radllm_session_snapshot(one, path, NULL, error), error);
    struct stat information;
    ck_assert_int_eq(stat(path, &information), 0);
    ck_assert_int_eq(information.st_mode & 0777, 0600);
    radllm_session_free(one);
    rad_assert_ok(radllm_session_feed(two, next.ids + 100, 77, NULL, error), error);
    radllm_engine *other = new_engine(2, 32, CONTEXT);
    int64_t n_others = number(other, "pages_free");
    one = new_session(other);
    rad_assert_ok(radllm_session_restore(one, path, NULL, error), error);
    rad_assert_ok(radllm_session_restore(two, path, NULL, error), error);
    ck_assert_uint_eq(radllm_session_length(one), common.n);
    rad_assert_ok(radllm_session_logits(one, first, 4096, &n, error), error);
    rad_assert_ok(radllm_session_logits(two, second, 4096, &n, error), error);
    ck_assert_mem_eq(first, second, n * sizeof *first);
    result got = ask(one, &next);
    assert_same(&got, &expected);
    ck_assert_int_eq(got.reused, 300);
    ck_assert_int_eq(number(other, "tokens_computed"), 60 + MAX_TOKENS - 1);

    /* Others do not get what comes from a file; a fork does. */
    ck_assert_int_eq(number(other, "prefix_blocks"), 0);
    radllm_session *fork;
    rad_assert_ok(radllm_session_fork(one, &fork, error), error);
    got = ask(fork, &next);
    assert_same(&got, &expected);
    ck_assert_int_eq(number(other, "prefix_blocks"), 0);
    radllm_session_free(fork);
    radllm_session_free(one);
    radllm_session_free(two);
    close_engine(engine, n_pages);
    close_engine(other, n_others);
    close_model();
}
END_TEST

/* A session of some tokens in a file, and the file's bytes. */
static uint8_t *write_one(radllm_session *session, const char *path, size_t *size)
{
    prompt p = make_prompt(1, 70, 1, 70);
    rad_assert_ok(radllm_session_feed(session, p.ids, p.n, NULL, error), error);
    rad_assert_ok(radllm_session_snapshot(session, path, NULL, error), error);
    return rad_test_read_file(path, size);
}

/* The session is as it was: it goes on with the bits that it would have had. */
static void refused(radllm_session *session, const char *path, radllm_status expected,
                    const char *part)
{
    uint32_t length = radllm_session_length(session);
    rad_assert_error(radllm_session_restore(session, path, NULL, error), expected, error, part);
    ck_assert_uint_eq(radllm_session_length(session), length);
}

START_TEST(a_damaged_file_is_refused)
{
    open_kind(1);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    radllm_session *one = new_session(engine), *two = new_session(engine);
    const char *path = rad_test_temp_path("damaged");
    size_t size;
    uint8_t *bytes = write_one(one, path, &size);
    prompt before = make_prompt(5, 40, 5, 40), next = make_prompt(5, 40, 6, 90);
    rad_assert_ok(radllm_session_feed(two, before.ids, before.n, NULL, error), error);
    for (size_t at = 0; at < size; at += at < 600 ? 1 : 1009) {
        bytes[at] ^= 0x10;
        rad_test_write_file(path, bytes, size);
        bytes[at] ^= 0x10;
        refused(two, path, at >= 8 && at < 12 ? RADLLM_E_UNSUPPORTED : RADLLM_E_FORMAT, "");
    }
    for (size_t length = 0; length < size; length += length < 600 ? 1 : 997) {
        rad_test_write_file(path, bytes, length);
        refused(two, path, RADLLM_E_FORMAT, "damaged");
    }
    rad_test_write_file(path, bytes, size - 1);
    refused(two, path, RADLLM_E_FORMAT, "damaged");
    refused(two, rad_test_temp_path("nothing"), RADLLM_E_IO, "nothing");
    refused(two, rad_test_source_path("tests/golden/architectures/qwen3-q8_0.gguf"),
            RADLLM_E_FORMAT, "no snapshot");
    result expected = ask_alone(&next), got = ask(two, &next);
    assert_same(&got, &expected);
    ck_assert_int_eq(got.reused, 40);
    free(bytes);
    radllm_session_free(one);
    radllm_session_free(two);
    radllm_engine_free(engine);
    close_model();
}
END_TEST

/* Where a section's contents begin. */
static size_t find_section(const uint8_t *bytes, const char *name, int which)
{
    size_t at = 16;
    for (;;) {
        uint64_t size;
        memcpy(&size, bytes + at + 8, sizeof size);
        if (memcmp(bytes + at, name, 4) == 0 && which-- == 0)
            return at + 16;
        at += 16 + (size_t)size;
    }
}

static void forge(const char *path, uint8_t *bytes, size_t size)
{
    rad_sha256(bytes, size - 32, bytes + size - 32);
    rad_test_write_file(path, bytes, size);
}

/* Files whose checksum is right and whose contents are none. */
START_TEST(a_forged_file_is_refused)
{
    open_kind(1);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    int64_t n_pages = number(engine, "pages_free");
    radllm_session *one = new_session(engine), *two = new_session(engine);
    const char *path = rad_test_temp_path("forged");
    size_t size;
    uint8_t *bytes = write_one(one, path, &size);
    const struct {
        const char *section;
        int which;
        int at;
        uint32_t value;
        radllm_status status;
        const char *part;
    } cases[] = {
        {"set.", 0, 0, 0x20202020, RADLLM_E_ARGUMENT, "model="},
        {"set.", 0, -16, 1, RADLLM_E_UNSUPPORTED, "expect"},
        {"set.", 0, -8, 0xffffffff, RADLLM_E_FORMAT, "longer than the file"},
        {"salt", 0, 0, 7, RADLLM_E_FORMAT, "salt"},
        {"toks", 0, -8, 7, RADLLM_E_FORMAT, "tokens"},
        {"toks", 0, 0, 71, RADLLM_E_FORMAT, "computed"},
        {"toks", 0, 0, 64, RADLLM_E_FORMAT, "wrong size"},
        {"toks", 0, 4, 1, RADLLM_E_FORMAT, "computed"},
        {"toks", 0, 8, 1, RADLLM_E_FORMAT, "computed"},
        {"toks", 0, 8, 0xffffffff, RADLLM_E_FORMAT, "computed"},
        {"toks", 0, 20, 0xffffffff, RADLLM_E_FORMAT, "vocabulary"},
        {"toks", 0, 20, 100000, RADLLM_E_FORMAT, "vocabulary"},
        {"page", 0, 0, 1, RADLLM_E_FORMAT, "wrong size"},
        {"page", 0, 4, 2, RADLLM_E_FORMAT, "wrong size"},
        {"page", 0, 4, 0xffffffff, RADLLM_E_FORMAT, "wrong size"},
        {"page", 0, 8, 1, RADLLM_E_FORMAT, "none that a session holds"},
        {"page", 1, 16, 5, RADLLM_E_FORMAT, "none that a session holds"},
        {"page", 1, -16, 0x21212121, RADLLM_E_UNSUPPORTED, "expect"},
        {"logi", 0, -8, 4, RADLLM_E_FORMAT, "logits"},
        {"end.", 0, -16, 0x21212121, RADLLM_E_UNSUPPORTED, "expect"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *at = bytes + find_section(bytes, cases[i].section, cases[i].which) + cases[i].at;
        uint8_t kept[4];
        memcpy(kept, at, 4);
        gguf_put_u32(at, cases[i].value);
        forge(path, bytes, size);
        memcpy(at, kept, 4);
        rad_assert_error(radllm_session_restore(two, path, NULL, error), cases[i].status, error,
                         cases[i].part);
    }
    /* A section of a later version that may be passed over. */
    size_t end = size - 32 - 16;
    uint8_t *longer = malloc(size + 16 + 300);
    memcpy(longer, bytes, end);
    memset(longer + end, 0, 16 + 300);
    memcpy(longer + end, "more", 4);
    longer[end + 4] = 1;
    gguf_put_u32(longer + end + 8, 300);
    memcpy(longer + end + 316, bytes + end, 48);
    forge(path, longer, size + 316);
    rad_assert_ok(radllm_session_restore(two, path, NULL, error), error);
    ck_assert_uint_eq(radllm_session_length(two), 70);
    free(longer);
    free(bytes);
    radllm_session_free(one);
    radllm_session_free(two);
    close_engine(engine, n_pages);
    close_model();
}
END_TEST

START_TEST(another_model_or_other_settings_are_refused)
{
    open_kind(0);
    radllm_engine *engine = new_engine(1, 64, CONTEXT);
    radllm_session *session = new_session(engine);
    const char *path = rad_test_temp_path("settings");
    size_t size;
    free(write_one(session, path, &size));
    radllm_session_free(session);
    radllm_engine_free(engine);
    set_text("cache", "f16");
    engine = new_engine(1, 64, CONTEXT);
    session = new_session(engine);
    refused(session, path, RADLLM_E_ARGUMENT, "keys=");
    radllm_session_free(session);
    radllm_engine_free(engine);
    set_text("cache", "f32");
    engine = new_engine(1, 64, 64);
    session = new_session(engine);
    rad_assert_error(radllm_session_restore(session, path, NULL, error), RADLLM_E_LIMIT, error,
                     "context");
    radllm_session_free(session);
    radllm_engine_free(engine);
    close_model();
    open_kind(2);
    engine = new_engine(1, 64, CONTEXT);
    session = new_session(engine);
    refused(session, path, RADLLM_E_ARGUMENT, "model=");
    radllm_session_free(session);
    radllm_engine_free(engine);
    close_model();
}
END_TEST

START_TEST(a_full_disk_loses_nothing)
{
    open_kind(0);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    radllm_session *one = new_session(engine), *two = new_session(engine);
    const char *path = rad_test_temp_path("full");
    char partial[512];
    size_t size, after;
    snprintf(partial, sizeof partial, "%s.partial", path);
    uint8_t *bytes = write_one(one, path, &size);
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN); /* of what tells of this test's progress */
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (size_t limit = 0; limit < size; limit += 30011) {
        small = (struct rlimit){limit, old.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
        radllm_status status = radllm_session_snapshot(one, path, NULL, error);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
        rad_assert_error(status, RADLLM_E_IO, error, "ulimit -f");
        ck_assert_int_ne(access(partial, F_OK), 0);
    }
    uint8_t *kept = rad_test_read_file(path, &after);
    ck_assert_uint_eq(after, size);
    ck_assert_mem_eq(kept, bytes, size);
    rad_assert_ok(radllm_session_restore(two, path, NULL, error), error);
    rad_assert_error(
        radllm_session_snapshot(one, rad_test_temp_path("no/such/folder"), NULL, error),
        RADLLM_E_IO, error, "folder");
    free(kept);
    free(bytes);
    radllm_session_free(one);
    radllm_session_free(two);
    radllm_engine_free(engine);
    close_model();
}
END_TEST

START_TEST(a_cancelled_copy_changes_nothing)
{
    open_kind(0);
    radllm_engine *engine = new_engine(2, 64, CONTEXT);
    radllm_session *one = new_session(engine), *two = new_session(engine);
    radllm_cancel *cancel;
    const char *path = rad_test_temp_path("cancelled");
    size_t size;
    free(write_one(one, path, &size));
    ck_assert_int_eq(radllm_cancel_new(NULL, &cancel, error), RADLLM_OK);
    radllm_cancel_set(cancel);
    rad_assert_error(radllm_session_snapshot(one, path, cancel, error), RADLLM_E_CANCELLED, error,
                     "cancelled");
    rad_assert_error(radllm_session_restore(two, path, cancel, error), RADLLM_E_CANCELLED, error,
                     "cancelled");
    ck_assert_uint_eq(radllm_session_length(two), 0);
    rad_assert_ok(radllm_session_restore(two, path, NULL, error), error);
    radllm_cancel_free(cancel);
    radllm_session_free(one);
    radllm_session_free(two);
    radllm_engine_free(engine);
    close_model();
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------------
 */

/* Policies of attention and number formats of keys and values. */
static const struct {
    const char *attention, *keys, *values;
} ways[] = {{"auto", "f32", "f16"},
            {"window", "q8_0", "q4_0"},
            {"sinks", "f16", "f32"},
            {"recompute", "bf16", "fp8"}};
enum { WAYS = sizeof ways / sizeof *ways };

/* Everything above, with the host's memory; the first failure ends it. */
static radllm_status go_all_ways(const radllm_host *host, const char *path, radllm_error *e)
{
    radllm_engine *engine = NULL;
    radllm_session *one = NULL, *fork = NULL;
    radllm_request *request = NULL;
    prompt p = make_prompt(1, 70, 1, 70), q = make_prompt(1, 70, 2, 90);
    radllm_status status = radllm_engine_new(host, model, options, &engine, e);
    if (status == RADLLM_OK)
        status = radllm_session_new(engine, &one, e);
    if (status == RADLLM_OK)
        status = radllm_session_feed(one, p.ids, p.n, NULL, e);
    if (status == RADLLM_OK)
        status = radllm_session_fork(one, &fork, e);
    if (status == RADLLM_OK)
        status = radllm_request_new_tokens(fork, q.ids, q.n, options, &request, e);
    if (status == RADLLM_OK)
        status = radllm_request_run(request, NULL, e);
    radllm_request_free(request);
    if (status == RADLLM_OK)
        status = radllm_session_snapshot(one, path, NULL, e);
    if (status == RADLLM_OK)
        status = radllm_session_remove(one, 65, 3, e);
    if (status == RADLLM_OK)
        status = radllm_session_shift(fork, 88, 1, e);
    if (status == RADLLM_E_UNSUPPORTED) /* not in this format */
        status = RADLLM_OK;
    if (status == RADLLM_OK)
        status = radllm_session_restore(one, path, NULL, e);
    if (status == RADLLM_OK)
        status = radllm_engine_clear_prefixes(engine, e);
    radllm_session_free(fork);
    radllm_session_free(one);
    radllm_engine_free(engine);
    return status;
}

START_TEST(each_allocation_may_fail)
{
    open_kind(_i == 0 ? 1 : 0);
    set_integer("sessions", 2);
    set_integer("context", 256);
    set_text("attention", ways[_i].attention);
    set_text("cache_keys", ways[_i].keys);
    set_text("cache_values", ways[_i].values);
    if (_i > 0)
        set_integer("window", 40);
    const char *path = rad_test_temp_path("memory");
    for (uint64_t n = 1;; n++) {
        rad_test_memory memory;
        radllm_host *host;
        rad_test_memory_init(&memory, 0);
        rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                      error);
        atomic_store(&memory.fail_at, atomic_load(&memory.n_allocations) + n);
        radllm_status status = go_all_ways(host, path, error);
        atomic_store(&memory.fail_at, 0);
        radllm_host_free(host);
        rad_test_memory_check(&memory);
        if (!atomic_load(&memory.failed)) {
            rad_assert_ok(status, error);
            ck_assert_uint_gt(n, 30);
            break;
        }
        rad_assert_error(status, RADLLM_E_MEMORY, error, "");
    }
    close_model();
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "snapshots");
    tcase_add_loop_test(cases, a_fork_goes_its_own_way, 0, KINDS);
    tcase_add_loop_test(cases, what_follows_a_removal_is_computed_anew, 0, KINDS);
    tcase_add_loop_test(cases, shifted_keys_stand_where_they_would, 0, 30);
    tcase_add_test(cases, what_cannot_be_shifted_is_computed_or_refused);
    tcase_add_loop_test(cases, a_restored_session_goes_on, 0, KINDS);
    tcase_add_test(cases, a_damaged_file_is_refused);
    tcase_add_test(cases, a_forged_file_is_refused);
    tcase_add_test(cases, another_model_or_other_settings_are_refused);
    tcase_add_test(cases, a_full_disk_loses_nothing);
    tcase_add_test(cases, a_cancelled_copy_changes_nothing);
    tcase_add_loop_test(cases, each_allocation_may_fail, 0, WAYS);
}

int main(void)
{
    return rad_test_main("snapshot", add_cases);
}
