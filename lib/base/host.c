#include "base/host.h"

#include <stdarg.h>
#include <stdio.h>

void rad_log_line(const rad_host *host, int32_t level, const char *format, ...)
{
    if (host == NULL || host->log == NULL || level > host->log_level)
        return;
    char line[RAD_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length >= 0)
        host->log(host->log_user, level, line);
}

bool rad_cancelled(const radllm_cancel *cancel)
{
    return cancel != NULL && atomic_load_explicit(&cancel->stop, memory_order_relaxed) != 0;
}
