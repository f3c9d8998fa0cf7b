/* Attention is checked in one file and timed in another. */
#ifndef RAD_TEST_ATTENTION_H
#define RAD_TEST_ATTENTION_H

#include "tests/kernels/tile.h"

void bench_attention(const unit *unit);
void bench_merge(const unit *unit);
void bench_finish(const unit *unit);

#endif
