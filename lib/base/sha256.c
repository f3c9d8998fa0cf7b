#include "base/platform.h"

#include <nettle/sha2.h>

void rad_sha256(const void *data, size_t size, uint8_t digest[32])
{
    struct sha256_ctx context;
    sha256_init(&context);
    if (size > 0)
        sha256_update(&context, size, data);
    sha256_digest(&context, SHA256_DIGEST_SIZE, digest);
}
