/* Memory, growing arrays, arenas, checked sizes, error messages. */
#include "unit/harness.h"

#include <stdlib.h>
#include <string.h>

static rad_test_memory memory;
static rad_allocator allocator;

static void set_up(void)
{
    rad_test_memory_init(&memory, 0);
    allocator = rad_test_allocator(&memory);
}

START_TEST(sizes_beyond_the_address_space_are_refused)
{
    ck_assert_ptr_null(rad_alloc(&allocator, 0));
    ck_assert_ptr_null(rad_alloc(&allocator, SIZE_MAX));
    ck_assert_ptr_null(rad_alloc(&allocator, (size_t)PTRDIFF_MAX + 1));
    ck_assert_uint_eq(atomic_load(&memory.n_allocations), 0);
    rad_free(&allocator, NULL, 12);
}
END_TEST

START_TEST(blocks_are_aligned_and_zeroed)
{
    uint8_t *block = rad_alloc_zero(&allocator, 100);
    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq((uintptr_t)block % 64, 0);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(block[i], 0);
    rad_free(&allocator, block, 100);
    rad_test_memory_check(&memory);
}
END_TEST

START_TEST(default_allocator_gives_large_blocks)
{
    size_t size = ((size_t)9 << 20) + 3;
    uint8_t *block = rad_alloc_zero(&rad_default_allocator, size);
    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq(block[size - 1], 0);
    rad_free(&rad_default_allocator, block, size);
}
END_TEST

START_TEST(arena_pieces_do_not_overlap)
{
    rad_arena arena = {&allocator, NULL};
    uint8_t *pieces[2000];
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i % 50 == 0 ? 100000 : i % 97;
        pieces[i] = rad_arena_alloc(&arena, size, (size_t)1 << (i % 7));
        ck_assert_ptr_nonnull(pieces[i]);
        ck_assert_uint_eq((uintptr_t)pieces[i] % ((size_t)1 << (i % 7)), 0);
        memset(pieces[i], (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i % 50 == 0 ? 100000 : i % 97;
        for (size_t k = 0; k<size; k += size> 1000 ? 999 : 1)
            ck_assert_uint_eq(pieces[i][k], i & 0xff);
    }
    ck_assert_uint_eq(rad_arena_bytes(&arena), atomic_load(&memory.live_bytes));
    ck_assert_ptr_null(rad_arena_alloc(&arena, SIZE_MAX - 8, 8));
    ck_assert_ptr_null(rad_arena_copy(&arena, "x", SIZE_MAX));
    ck_assert_str_eq(rad_arena_copy(&arena, "lung", 4), "lung");
    rad_arena_free(&arena);
    rad_arena_free(&arena);
    rad_test_memory_check(&memory);
}
END_TEST

START_TEST(arena_without_memory_gives_null)
{
    for (uint64_t n = 1; n < 20; n++) {
        rad_test_memory_init(&memory, n);
        atomic_store(&memory.fail_all_after, true);
        rad_arena arena = {&allocator, NULL};
        for (int i = 0; i < 20; i++) {
            void *piece = rad_arena_alloc_zero(&arena, 100000, 8);
            ck_assert(piece != NULL || (uint64_t)i + 1 >= n);
        }
        rad_arena_free(&arena);
        rad_test_memory_check(&memory);
    }
}
END_TEST

START_TEST(arrays_grow_and_keep_their_items)
{
    uint32_t *items = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 5000; i++) {
        ck_assert(rad_reserve(&allocator, (void **)&items, &capacity, i + 1, sizeof *items));
        items[i] = (uint32_t)i;
    }
    for (size_t i = 0; i < 5000; i++)
        ck_assert_uint_eq(items[i], i);
    ck_assert(atomic_load(&memory.n_allocations) < 15);
    uint32_t *before = items;
    ck_assert(!rad_reserve(&allocator, (void **)&items, &capacity, SIZE_MAX / 2, sizeof *items));
    ck_assert_ptr_eq(items, before);
    atomic_store(&memory.fail_at, atomic_load(&memory.n_allocations) + 1);
    ck_assert(!rad_reserve(&allocator, (void **)&items, &capacity, capacity + 1, sizeof *items));
    ck_assert_ptr_eq(items, before);
    rad_free(&allocator, items, capacity * sizeof *items);
    rad_test_memory_check(&memory);
}
END_TEST

START_TEST(sizes_are_checked_for_overflow)
{
    uint64_t out = 7;
    ck_assert(rad_align_u64(33, 32, &out));
    ck_assert_uint_eq(out, 64);
    ck_assert(rad_align_u64(64, 32, &out));
    ck_assert_uint_eq(out, 64);
    ck_assert(!rad_align_u64(UINT64_MAX - 3, 32, &out));
    ck_assert(!rad_mul_u64(UINT64_MAX / 2, 3, &out));
    ck_assert(!rad_add_u64(UINT64_MAX, 1, &out));
    size_t size;
    ck_assert(!rad_mul_size(SIZE_MAX, 2, &size));
    ck_assert(!rad_add_size(SIZE_MAX, 2, &size));
}
END_TEST

START_TEST(messages_are_cut_and_quoted)
{
    radllm_error error = {0};
    char long_text[4000];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    ck_assert_int_eq(rad_fail(&error, RADLLM_E_FORMAT, "key '%s'", long_text), RADLLM_E_FORMAT);
    ck_assert_int_eq(error.status, RADLLM_E_FORMAT);
    ck_assert_uint_eq(strlen(error.message), RAD_ERROR_MESSAGE_SIZE - 1);
    ck_assert_int_eq(rad_fail(NULL, RADLLM_E_IO, "nobody reads this"), RADLLM_E_IO);
    rad_assert_error(rad_fail_memory(&error, 12345), RADLLM_E_MEMORY, &error, "12345 bytes");

    char quoted[RAD_QUOTE_SIZE];
    ck_assert_str_eq(rad_quote(quoted, "a\n\\\xff", 4), "a\\x0a\\x5c\\xff");
    ck_assert_str_eq(rad_quote(quoted, "", 0), "");
    for (size_t size = 0; size < 500; size++)
        ck_assert_uint_lt(strlen(rad_quote(quoted, long_text, size)), RAD_QUOTE_SIZE);
    for (size_t size = 1; size < 90; size++) { /* escapes are never cut in the middle */
        char bytes[100];
        memset(bytes, 'a', sizeof bytes);
        memset(bytes + size, '\n', sizeof bytes - size);
        rad_quote(quoted, bytes, sizeof bytes);
        ck_assert_str_eq(quoted + strlen(quoted) - 3, "...");
    }
}
END_TEST

START_TEST(wiped_memory_is_zero)
{
    char text[64] = "a patient's report";
    rad_wipe(text, sizeof text);
    for (size_t i = 0; i < sizeof text; i++)
        ck_assert_int_eq(text[i], 0);
    rad_wipe(NULL, 3);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "memory");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, sizes_beyond_the_address_space_are_refused);
    tcase_add_test(cases, blocks_are_aligned_and_zeroed);
    tcase_add_test(cases, default_allocator_gives_large_blocks);
    tcase_add_test(cases, arena_pieces_do_not_overlap);
    tcase_add_test(cases, arena_without_memory_gives_null);
    tcase_add_test(cases, arrays_grow_and_keep_their_items);
    tcase_add_test(cases, sizes_are_checked_for_overflow);
    tcase_add_test(cases, messages_are_cut_and_quoted);
    tcase_add_test(cases, wiped_memory_is_zero);
}

int main(void)
{
    return rad_test_main("memory", add_cases);
}
