/* Joules of the processor packages: from the powercap files, else from the perf counters. */
#include "machine.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_PACKAGES = 16 };
static const char powercap_name[] = "/sys/class/powercap/intel-rapl:%d/%s";
static const char perf_name[] = "/sys/bus/event_source/devices/power/%s";

static bool read_text(const char *path, char *out, size_t capacity)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    bool good = fgets(out, (int)capacity, file) != NULL;
    fclose(file);
    return good;
}

static bool read_powercap(int package, const char *name, double *out)
{
    char path[96];
    char text[64];
    snprintf(path, sizeof path, powercap_name, package, name);
    if (!read_text(path, text, sizeof text))
        return false;
    *out = strtod(text, NULL) * 1e-6;
    return true;
}

static bool open_perf(energy_meter *meter)
{
    char path[96];
    char text[128];
    snprintf(path, sizeof path, perf_name, "type");
    if (!read_text(path, text, sizeof text))
        return false;
    struct perf_event_attr event;
    memset(&event, 0, sizeof event);
    event.size = sizeof event;
    event.type = (uint32_t)strtoul(text, NULL, 10);
    snprintf(path, sizeof path, perf_name, "events/energy-pkg");
    if (!read_text(path, text, sizeof text) || strncmp(text, "event=", 6) != 0)
        return false;
    event.config = strtoull(text + 6, NULL, 0);
    snprintf(path, sizeof path, perf_name, "events/energy-pkg.scale");
    if (!read_text(path, text, sizeof text))
        return false;
    meter->perf_scale = strtod(text, NULL);
    snprintf(path, sizeof path, perf_name, "cpumask");
    if (!read_text(path, text, sizeof text))
        return false;
    for (char *at = text; *at >= '0' && *at <= '9' && meter->n_perf < MAX_PACKAGES;) {
        long cpu = strtol(at, &at, 10);
        long descriptor = syscall(SYS_perf_event_open, &event, -1, (int)cpu, -1, 0);
        if (descriptor >= 0)
            meter->perf[meter->n_perf++] = (int)descriptor;
        at += *at == ',';
    }
    return meter->n_perf != 0;
}

bool energy_open(energy_meter *meter)
{
    *meter = (energy_meter){0};
    double joules;
    meter->powercap = read_powercap(0, "energy_uj", &joules);
    return meter->powercap || open_perf(meter);
}

double energy_joules(const energy_meter *meter)
{
    double sum = 0;
    double joules;
    for (int i = 0; meter->powercap && i < MAX_PACKAGES; i++) {
        if (read_powercap(i, "energy_uj", &joules))
            sum += joules;
    }
    for (unsigned i = 0; i < meter->n_perf; i++) {
        uint64_t count = 0;
        if (read(meter->perf[i], &count, sizeof count) == (ssize_t)sizeof count)
            sum += (double)count * meter->perf_scale;
    }
    return sum;
}

double energy_difference(const energy_meter *meter, double a, double b)
{
    double range = 0;
    if (b < a && meter->powercap && read_powercap(0, "max_energy_range_uj", &range))
        b += range;
    return b - a;
}

void energy_close(energy_meter *meter)
{
    for (unsigned i = 0; i < meter->n_perf; i++)
        close(meter->perf[i]);
    *meter = (energy_meter){0};
}
