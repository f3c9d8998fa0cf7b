/* What the control groups of Linux (containers, services) leave of a machine. Both versions of
 * their file system: kernel documentation, admin-guide/cgroup-v2 and cgroup-v1. */
#include "base/limits.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 1024

/* The beginning of a small file as text; false when it cannot be read. */
static bool read_text(const char *path, char *text, size_t capacity)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    ssize_t size, total = 0;
    while ((size = read(descriptor, text + total, capacity - 1 - (size_t)total)) > 0)
        total += size;
    close(descriptor);
    text[total] = '\0';
    return total > 0;
}

/* Digits from *text on, which is moved behind them; false for anything else ("max", "-1"). */
static bool read_number(const char **text, uint64_t *number)
{
    const char *at = *text;
    for (*number = 0; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (*number > (UINT64_MAX - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    bool any = at != *text;
    *text = at;
    return any;
}

static bool number_in(const char *folder, const char *name, uint64_t *number)
{
    char path[PATH_SIZE], text[64];
    const char *at = text;
    return (size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path &&
           read_text(path, text, sizeof text) && read_number(&at, number);
}

static void limit_memory(const char *folder, rad_limits *limits)
{
    uint64_t bytes;
    if ((number_in(folder, "memory.max", &bytes) ||
         number_in(folder, "memory.limit_in_bytes", &bytes)) &&
        bytes < limits->memory)
        limits->memory = bytes;
}

/* "quota period" of version 2, in one file. */
static bool quota_in(const char *folder, uint64_t *quota, uint64_t *period)
{
    char path[PATH_SIZE], text[64];
    const char *at = text;
    return (size_t)snprintf(path, sizeof path, "%s/cpu.max", folder) < sizeof path &&
           read_text(path, text, sizeof text) && read_number(&at, quota) && *at++ == ' ' &&
           read_number(&at, period);
}

static void limit_processors(const char *folder, rad_limits *limits)
{
    uint64_t quota, period;
    bool found =
        quota_in(folder, &quota, &period) || (number_in(folder, "cpu.cfs_quota_us", &quota) &&
                                              number_in(folder, "cpu.cfs_period_us", &period));
    if (!found || period == 0)
        return;
    uint64_t count = quota / period + (quota % period != 0);
    if (count < limits->processors)
        limits->processors = count > 0 ? (uint32_t)count : 1;
}

/* A group and all those it lies in. */
static void walk(const char *mount, const char *group, size_t group_size,
                 void (*limit)(const char *, rad_limits *), rad_limits *limits)
{
    char folder[PATH_SIZE];
    size_t base = strlen(mount);
    if (base + group_size >= sizeof folder)
        group_size = 0; /* only what holds for all */
    memcpy(folder, mount, base);
    memcpy(folder + base, group, group_size);
    for (size_t size = base + group_size;; size--) {
        if (size == base || size == base + group_size || folder[size] == '/') {
            folder[size] = '\0';
            limit(folder, limits);
        }
        if (size == base)
            return;
    }
}

static bool has_controller(const char *list, size_t size, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i + length <= size; i++) {
        if ((i == 0 || list[i - 1] == ',') && memcmp(list + i, name, length) == 0 &&
            (i + length == size || list[i + length] == ','))
            return true;
    }
    return false;
}

void rad_limits_read(const char *groups, const char *root, rad_limits *limits)
{
    char text[8192], mount[PATH_SIZE];
    *limits = (rad_limits){UINT64_MAX, UINT32_MAX};
    if (!read_text(groups, text, sizeof text) || strlen(root) > PATH_SIZE / 2)
        return;
    for (char *line = text, *next; line != NULL; line = next) { /* "number:controllers:/group" */
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        char *list = strchr(line, ':'), *group = list != NULL ? strchr(list + 1, ':') : NULL;
        if (group == NULL)
            continue;
        size_t list_size = (size_t)(group - list) - 1, size = strlen(++group);
        if (list_size == 0) {
            walk(root, group, size, limit_memory, limits);
            walk(root, group, size, limit_processors, limits);
        }
        if (has_controller(list + 1, list_size, "memory")) {
            snprintf(mount, sizeof mount, "%s/memory", root);
            walk(mount, group, size, limit_memory, limits);
        }
        if (has_controller(list + 1, list_size, "cpu")) {
            snprintf(mount, sizeof mount, "%s/cpu", root);
            walk(mount, group, size, limit_processors, limits);
        }
    }
}
