#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BUFFER_ALIGNMENT 64
#define HUGE_PAGE        ((size_t)2 << 20)
#define HUGE_THRESHOLD   ((size_t)4 << 20)
#define ARENA_BLOCK      ((size_t)256 << 10)

static void *default_allocate(void *user, size_t size, size_t alignment)
{
    (void)user;
    if (size >= HUGE_THRESHOLD && alignment < HUGE_PAGE)
        alignment = HUGE_PAGE;
    void *pointer = NULL;
    if (posix_memalign(&pointer, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) !=
        0)
        return NULL;
    /* Advice only: where it is refused the memory works all the same. */
    if (size >= HUGE_THRESHOLD)
        (void)madvise(pointer, size & ~(HUGE_PAGE - 1), MADV_HUGEPAGE);
    return pointer;
}

static void default_release(void *user, void *pointer, size_t size)
{
    (void)user;
    (void)size;
    free(pointer);
}

const rad_allocator rad_default_allocator = {default_allocate, default_release, NULL};

void *rad_alloc(const rad_allocator *allocator, size_t size)
{
    if (size == 0 || size > PTRDIFF_MAX)
        return NULL;
    return allocator->allocate(allocator->user, size, BUFFER_ALIGNMENT);
}

void *rad_alloc_zero(const rad_allocator *allocator, size_t size)
{
    void *pointer = rad_alloc(allocator, size);
    if (pointer != NULL)
        memset(pointer, 0, size);
    return pointer;
}

void rad_free(const rad_allocator *allocator, void *pointer, size_t size)
{
    if (pointer != NULL)
        allocator->release(allocator->user, pointer, size);
}

void rad_wipe(void *pointer, size_t size)
{
    if (pointer == NULL || size == 0)
        return;
    memset(pointer, 0, size);
    __asm__ volatile("" : : "r"(pointer) : "memory"); /* the stores stay: their effect is "read" */
}

/* ---- arena ------------------------------------------------------------------------------- */

struct rad_arena_block {
    struct rad_arena_block *next;
    size_t size; /* of the whole block, this header included */
    size_t used;
};

static void *block_take(struct rad_arena_block *block, size_t size, size_t alignment)
{
    uintptr_t base = (uintptr_t)block;
    uintptr_t start = (base + block->used + alignment - 1) & ~(uintptr_t)(alignment - 1);
    if (start - base > block->size || size > block->size - (start - base))
        return NULL;
    block->used = start - base + size;
    return (void *)start;
}

void *rad_arena_alloc(rad_arena *arena, size_t size, size_t alignment)
{
    if (size == 0)
        size = 1;
    if (arena->blocks != NULL) {
        void *pointer = block_take(arena->blocks, size, alignment);
        if (pointer != NULL)
            return pointer;
    }
    size_t needed;
    if (!rad_add_size(size, sizeof(struct rad_arena_block) + alignment, &needed))
        return NULL;
    bool own_block = needed > ARENA_BLOCK / 4;
    size_t total = own_block ? needed : ARENA_BLOCK;
    struct rad_arena_block *block = rad_alloc(arena->allocator, total);
    if (block == NULL)
        return NULL;
    block->size = total;
    block->used = sizeof *block;
    if (own_block && arena->blocks != NULL) { /* keep filling the block in front */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block_take(block, size, alignment);
}

void *rad_arena_alloc_zero(rad_arena *arena, size_t size, size_t alignment)
{
    void *pointer = rad_arena_alloc(arena, size, alignment);
    if (pointer != NULL)
        memset(pointer, 0, size);
    return pointer;
}

char *rad_arena_copy(rad_arena *arena, const char *text, size_t size)
{
    if (size == SIZE_MAX)
        return NULL;
    char *copy = rad_arena_alloc(arena, size + 1, 1);
    if (copy == NULL)
        return NULL;
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

void rad_arena_free(rad_arena *arena)
{
    struct rad_arena_block *block = arena->blocks;
    arena->blocks = NULL;
    while (block != NULL) {
        struct rad_arena_block *next = block->next;
        rad_free(arena->allocator, block, block->size);
        block = next;
    }
}

size_t rad_arena_bytes(const rad_arena *arena)
{
    size_t total = 0;
    for (const struct rad_arena_block *b = arena->blocks; b != NULL; b = b->next)
        total += b->size;
    return total;
}

/* ---- growing arrays ---------------------------------------------------------------------- */

bool rad_reserve(const rad_allocator *allocator, void **data, size_t *capacity, size_t needed,
                 size_t item_size)
{
    if (needed <= *capacity)
        return true;
    size_t wanted = *capacity > SIZE_MAX / 2 ? needed : *capacity * 2;
    if (wanted < needed)
        wanted = needed;
    if (wanted < 16)
        wanted = 16;
    size_t bytes;
    if (!rad_mul_size(wanted, item_size, &bytes))
        return false;
    void *grown = rad_alloc(allocator, bytes);
    if (grown == NULL)
        return false;
    if (*data != NULL) {
        memcpy(grown, *data, *capacity * item_size);
        rad_wipe(*data, *capacity * item_size); /* it may have held prompt text */
        rad_free(allocator, *data, *capacity * item_size);
    }
    *data = grown;
    *capacity = wanted;
    return true;
}
