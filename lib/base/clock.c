#include "base/platform.h"

#include <time.h>
#include <unistd.h>

uint64_t rad_clock_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t rad_process_id(void)
{
    return (int64_t)getpid();
}
