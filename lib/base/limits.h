/* What a container or service may use of the machine. */
#ifndef RAD_LIMITS_H
#define RAD_LIMITS_H

#include "base/base.h"

typedef struct rad_limits {
    uint64_t memory;     /* bytes; UINT64_MAX: no limit */
    uint32_t processors; /* quota of time, rounded up; UINT32_MAX: no limit */
} rad_limits;

/* The narrowest limits of the groups that the file `groups` lists ("/proc/self/cgroup") and of
 * those around them, below the folder `root` ("/sys/fs/cgroup"). What cannot be read limits
 * nothing. */
void rad_limits_read(const char *groups, const char *root, rad_limits *limits);

#endif
