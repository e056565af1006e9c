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

/* The size of the smallest steps that threads share; smaller ones are done by one of them, since
 * they are not worth a meeting: 1 all that can be shared, 2 those that are worth it where vectors
 * are slow, 3 those that are everywhere. Results do not depend on it. */
#if !defined(QUANTABLE_SMALLEST_SHARED)
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define QUANTABLE_SMALLEST_SHARED 3
#else
#define QUANTABLE_SMALLEST_SHARED 2
#endif
#endif
#define Q_IS_SHARED(size) ((size) >= QUANTABLE_SMALLEST_SHARED)
/* What the function of a step of some size begins with. */
#define Q_BEGIN_STEP(t, size)                                                   \
  const q_share whole = {0, 1}, share = Q_IS_SHARED(size) ? (t)->share : whole; \
  do {                                                                          \
    if (!Q_IS_SHARED(size) && (t)->share.part != 0) {                           \
      return;                                                                   \
    }                                                                           \
    (void)share;                                                                \
  } while (0)
/* The share of the thread that runs the step. */
#define Q_SHARE(t) share
/* Within a step: wait until every thread is here. */
#define Q_MEET(t)                              \
  do {                                         \
    if (share.parts > 1) {                     \
      q_threads_meet((t)->threads, share.part); \
    }                                          \
  } while (0)
/* The same between steps, of which the larger one has some size. */
#define Q_MEET_BETWEEN(t, size)                      \
  do {                                               \
    if (Q_IS_SHARED(size) && (t)->share.parts > 1) { \
      q_threads_meet((t)->threads, (t)->share.part); \
    }                                                \
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
#define Q_BEGIN_STEP(t, size) (void)0
#define Q_MEET(t) (void)0
#define Q_MEET_BETWEEN(t, size) (void)0

static inline ptrdiff_t q_share_first(q_share share, ptrdiff_t count) {
  (void)share, (void)count;
  return 0;
}
static inline ptrdiff_t q_share_last(q_share share, ptrdiff_t count) {
  (void)share;
  return count;
}

#endif

typedef struct {
  ptrdiff_t first, last; /* behind the last one */
} q_span;

/* A share of a product of two counts, such as pixels and channels, in rectangles: whole rows of one
 * of them, and what is left before and behind. Which one is divided decides what threads have in
 * common: each reads all of the other. */
typedef struct {
  q_span first, second; /* the rectangle */
  ptrdiff_t at, end, row; /* pairs that are done, behind the last one, in a row */
  int by_first;
} q_cut;

static inline q_cut q_cut_of(q_share share, ptrdiff_t first, ptrdiff_t second, int by_first) {
  q_cut cut = {{0, 0}, {0, 0}, 0, 0, by_first ? second : first, by_first};
  cut.at = q_share_first(share, first * second);
  cut.end = q_share_last(share, first * second);
  return cut;
}

/* Go on to the next rectangle; 0 behind the last one. */
static inline int q_cut_next(q_cut *cut) {
  if (cut->at == cut->end) {
    return 0;
  }
  const ptrdiff_t row = cut->at / cut->row, from = cut->at % cut->row, left = cut->end - cut->at;
  const ptrdiff_t rows = from == 0 && left >= cut->row ? left / cut->row : 1;
  const ptrdiff_t to = from + left < cut->row ? from + left : cut->row;
  const q_span outer = {row, row + rows}, inner = {from, to};
  cut->first = cut->by_first ? outer : inner;
  cut->second = cut->by_first ? inner : outer;
  cut->at = (row + rows - 1) * cut->row + to;
  return 1;
}

#endif
