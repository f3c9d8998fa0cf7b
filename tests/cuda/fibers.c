#include "cuda/fibers.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define RAD_FIBERS_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAD_FIBERS_ASAN
#endif
#endif
#ifdef RAD_FIBERS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK_BYTES = 512 * 1024 };
#else
enum { STACK_BYTES = 128 * 1024 };
#endif

bool rad_fibers_new(rad_fiber *fibers, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), each = page + STACK_BYTES;
    char *memory =
        mmap(NULL, n * each, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    for (size_t i = 0; i < n; i++) {
        memset(&fibers[i], 0, sizeof fibers[i]);
        fibers[i].stack = memory + i * each + page;
        fibers[i].stack_bytes = STACK_BYTES;
    }
    return true;
}

void rad_fibers_free(rad_fiber *fibers, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(fibers[0].stack - page, n * (page + STACK_BYTES));
}

#if defined(RAD_FIBERS_UCONTEXT)

static void switch_context(rad_fiber *from, rad_fiber *to)
{
    swapcontext(&from->context, &to->context);
}

static void begin_context(rad_fiber *fiber, void (*entry)(void))
{
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = fiber->stack_bytes;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, entry, 0);
}

#else

/* Saves what a called function must keep, and the stack pointer in *save; then the same backwards
 * from `load`. */
void rad_fiber_switch_stacks(void **save, void *load);

#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".globl rad_fiber_switch_stacks\n"
        ".hidden rad_fiber_switch_stacks\n"
        ".type rad_fiber_switch_stacks, @function\n"
        "rad_fiber_switch_stacks:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n"
        "    pushq %r13\n    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n"
        "    popq %r12\n    popq %rbx\n    popq %rbp\n"
        "    ret\n"
        ".size rad_fiber_switch_stacks, . - rad_fiber_switch_stacks\n");
enum { SAVED_WORDS = 6, ENTRY_WORD = 6, FRAME_WORDS = 8 };
#else
__asm__(".text\n"
        ".p2align 4\n"
        ".globl rad_fiber_switch_stacks\n"
        ".hidden rad_fiber_switch_stacks\n"
        ".type rad_fiber_switch_stacks, %function\n"
        "rad_fiber_switch_stacks:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp]\n      stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n   stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n    str x9, [x0]\n    mov sp, x1\n"
        "    ldp x19, x20, [sp]\n      ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n   ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n    ret\n"
        ".size rad_fiber_switch_stacks, . - rad_fiber_switch_stacks\n");
enum { ENTRY_WORD = 11, FRAME_WORDS = 20 };
#endif

static void switch_context(rad_fiber *from, rad_fiber *to)
{
    rad_fiber_switch_stacks(&from->stack_pointer, to->stack_pointer);
}

static void begin_context(rad_fiber *fiber, void (*entry)(void))
{
    /* As if the switch had been called by nobody: the stack pointer is where a function expects it
     * behind a call (x86-64: 8 below a multiple of 16). */
    uintptr_t *frame = (uintptr_t *)(void *)(fiber->stack + fiber->stack_bytes) - FRAME_WORDS;
    memset(frame, 0, FRAME_WORDS * sizeof *frame);
    frame[ENTRY_WORD] = (uintptr_t)entry;
    fiber->stack_pointer = frame;
}

#endif

void rad_fiber_forget(rad_fiber *fiber)
{
#ifdef RAD_FIBERS_ASAN
    /* The frames that were never left; one that came to its end left all but the first. */
    size_t left = !fiber->usable ? 0 : fiber->ended ? 4096 : fiber->stack_bytes;
    __asan_unpoison_memory_region(fiber->stack + fiber->stack_bytes - left, left);
    fiber->ended = false;
    fiber->sanitizer_stack = NULL;
#else
    (void)fiber;
#endif
}

bool rad_fiber_begin(rad_fiber *fiber, void (*entry)(void))
{
    if (!fiber->usable && mprotect(fiber->stack, fiber->stack_bytes, PROT_READ | PROT_WRITE) != 0)
        return false;
    fiber->usable = true;
    rad_fiber_forget(fiber);
    begin_context(fiber, entry);
    return true;
}

void rad_fiber_arrived(rad_fiber *fiber, rad_fiber *from)
{
#ifdef RAD_FIBERS_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(fiber->sanitizer_stack, &bottom, &size);
    if (from->stack_bytes == 0) { /* the thread's own stack, seen for the first time */
        from->stack = (char *)(uintptr_t)bottom;
        from->stack_bytes = size;
    }
#else
    (void)fiber;
    (void)from;
#endif
}

void rad_fiber_switch(rad_fiber *from, rad_fiber *to, bool for_ever)
{
#ifdef RAD_FIBERS_ASAN
    __sanitizer_start_switch_fiber(for_ever ? NULL : &from->sanitizer_stack, to->stack,
                                   to->stack_bytes);
#else
    (void)for_ever;
#endif
    switch_context(from, to);
    rad_fiber_arrived(from, to);
}
