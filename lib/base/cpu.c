#include "base/platform.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Registers that the operating system saves when it switches threads (XCR0). Inline assembly,
 * because the intrinsic would need -mxsave for the whole file. */
static uint64_t saved_registers(void)
{
    uint32_t low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" /* xgetbv */ : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

#define XCR0_AVX    UINT64_C(0x06) /* XMM, YMM */
#define XCR0_AVX512 UINT64_C(0xe6) /* and the mask registers, ZMM halves, ZMM16..31 */

rad_cpu rad_cpu_detect(void)
{
    rad_cpu cpu = {0};
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return cpu;
    bool xsave = (c & bit_OSXSAVE) != 0;
    bool fma_f16c = (c & bit_AVX) && (c & bit_FMA) && (c & bit_F16C);
    if (!xsave || !fma_f16c || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return cpu;
    uint64_t saved = saved_registers();
    cpu.avx2 = (b & bit_AVX2) != 0 && (saved & XCR0_AVX) == XCR0_AVX;
    unsigned needed = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
    cpu.avx512 = cpu.avx2 && (b & needed) == needed && (saved & XCR0_AVX512) == XCR0_AVX512;
    cpu.avx512_vnni = cpu.avx512 && (c & bit_AVX512VNNI) != 0;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) /* a was the last sub-leaf */
        cpu.avx_vnni = cpu.avx2 && (a & 1u << 4) != 0;
    return cpu;
}

#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

rad_cpu rad_cpu_detect(void)
{
    unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    rad_cpu cpu = {.neon = (first & HWCAP_ASIMD) != 0};
    cpu.dot_prod = cpu.neon && (first & HWCAP_ASIMDDP) != 0;
    cpu.i8mm = cpu.dot_prod && (second & HWCAP2_I8MM) != 0;
    return cpu;
}

#else

rad_cpu rad_cpu_detect(void)
{
    rad_cpu cpu = {0};
    return cpu;
}

#endif

/* cpuid takes long under a hypervisor. Whoever asks first notes the answer, which is the same for
 * all. */
int rad_vector_level(void)
{
    static atomic_int known; /* 0: not yet; else 1 + the level */
    int level = atomic_load_explicit(&known, memory_order_relaxed) - 1;
    if (level < 0) {
        rad_cpu cpu = rad_cpu_detect();
        level = cpu.avx512 ? 2 : cpu.avx2 ? 1 : 0;
        atomic_store_explicit(&known, level + 1, memory_order_relaxed);
    }
    return level;
}
