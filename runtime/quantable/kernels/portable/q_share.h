/* Which share of a step's work a thread does. A step is done by all threads, each its own piece,
 * and every element by one: results depend on neither the number of threads nor their order.
 *
 * Without QUANTABLE_THREADS there is one thread, and all of this comes to nothing.
 */
#ifndef QUANTABLE_Q_SHARE_H
#define QUANTABLE_Q_SHARE_H

#include <stddef.h>
#include <stdint.h>

#if defined(QUANTABLE_THREADS)

#include "q_threads.h"

typedef struct {
  int32_t part, parts;
} q_share;

/* The share of the thread that runs a step. */
#define Q_SHARE(t) ((t)->share)
/* Leave the rest of the step to one thread. */
#define Q_ALONE(t)             \
  do {                         \
    if ((t)->share.part != 0) { \
      return;                  \
    }                          \
  } while (0)
/* Wait until every thread is here. */
#define Q_MEET(t)                  \
  do {                             \
    if ((t)->share.parts > 1) {    \
      q_threads_meet((t)->threads); \
    }                              \
  } while (0)

/* The first of `count` pieces that belong to a share, and the one behind its last. */
static inline ptrdiff_t q_share_first(q_share share, ptrdiff_t count) {
  return (ptrdiff_t)((int64_t)count * share.part / share.parts);
}
static inline ptrdiff_t q_share_last(q_share share, ptrdiff_t count) {
  return (ptrdiff_t)((int64_t)count * (share.part + 1) / share.parts);
}

#else

typedef int q_share;
#define Q_SHARE(t) 0
#define Q_ALONE(t) (void)0
#define Q_MEET(t) (void)0

static inline ptrdiff_t q_share_first(q_share share, ptrdiff_t count) {
  (void)share, (void)count;
  return 0;
}
static inline ptrdiff_t q_share_last(q_share share, ptrdiff_t count) {
  (void)share;
  return count;
}

#endif

#endif
