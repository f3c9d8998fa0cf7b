/* Fibers: several stacks on one thread of the system, switched by hand. The switch is a few
 * instructions on x86-64 and aarch64, ucontext elsewhere (or with RAD_FIBERS_UCONTEXT). */
#ifndef RAD_CUDA_FIBERS_H
#define RAD_CUDA_FIBERS_H

#include <stdbool.h>
#include <stddef.h>

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(RAD_FIBERS_UCONTEXT)
#define RAD_FIBERS_UCONTEXT
#endif
#ifdef RAD_FIBERS_UCONTEXT
#include <ucontext.h>
#endif

typedef struct rad_fiber {
    void *stack_pointer; /* while it does not run */
    char *stack;         /* NULL for the thread's own */
    size_t stack_bytes;
    bool usable;           /* its stack can be reached: from its first begin on */
    bool ended;            /* set by an entry that has nothing left to do */
    void *sanitizer_stack; /* AddressSanitizer's */
#ifdef RAD_FIBERS_UCONTEXT
    ucontext_t context;
#endif
} rad_fiber;

/* n stacks with a page that cannot be reached below each; false when memory is short. */
bool rad_fibers_new(rad_fiber *fibers, size_t n);
/* fibers: the first of them; each is forgotten already. */
void rad_fibers_free(rad_fiber *fibers, size_t n);
/* What AddressSanitizer keeps of frames that were never left: else it would be held against
 * whatever memory comes to stand where the stack was. */
void rad_fiber_forget(rad_fiber *fiber);
/* The fiber begins `entry` when it is switched to next; entry does not return. Whatever it did
 * before is forgotten. False when memory is short. */
bool rad_fiber_begin(rad_fiber *fiber, void (*entry)(void));
/* Goes on in `to`; comes back when something switches to `from`. `for_ever`: nothing will. */
void rad_fiber_switch(rad_fiber *from, rad_fiber *to, bool for_ever);
/* What a fiber calls first, and what stands behind each switch. */
void rad_fiber_arrived(rad_fiber *fiber, rad_fiber *from);

#endif
