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

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(rad_hasher), "room for nettle's state");

void rad_hasher_start(rad_hasher *hasher)
{
    sha256_init((struct sha256_ctx *)(void *)hasher);
}

void rad_hasher_add(rad_hasher *hasher, const void *data, size_t size)
{
    if (size > 0)
        sha256_update((struct sha256_ctx *)(void *)hasher, size, data);
}

void rad_hasher_end(rad_hasher *hasher, uint8_t digest[32])
{
    sha256_digest((struct sha256_ctx *)(void *)hasher, SHA256_DIGEST_SIZE, digest);
    rad_wipe(hasher, sizeof *hasher);
}
