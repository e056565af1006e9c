/* Up to which rows the operations of a stream run: see generated code. */
#ifndef QUANTABLE_Q_STREAM_H
#define QUANTABLE_Q_STREAM_H

#include "q_base.h"

static inline int32_t q_least(int32_t a, int32_t b) {
  return a < b ? a : b;
}

static inline int32_t q_most(int32_t a, int32_t b) {
  return a > b ? a : b;
}

/* Where the input rows end that the output rows before `end` need, of `rows` in all. */
static inline int32_t q_needed(int32_t end, int32_t stride, int32_t rest, int32_t rows) {
  return end > 0 ? q_least(q_most(end * stride + rest, 0), rows) : 0;
}

#endif
