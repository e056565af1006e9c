/* Windows that slide over two spatial dimensions (one: height 1). */
#ifndef QUANTABLE_Q_WINDOW_H
#define QUANTABLE_Q_WINDOW_H

#include "q_base.h"

/* One spatial axis: sizes, and where the window of output position 0 begins (-pad_begin). */
typedef struct {
  int32_t in, out, kernel, stride, dilation, pad_begin, pad_end;
} q_axis;

/* The taps [first, last) of the window at output position `o` that lie inside [low, high). */
typedef struct {
  int32_t origin, first, last;
} q_taps;

/* The rows of the output to compute, and where the rows of the input lie: row r in row
 * (r + phase) % ring. Where all of the input is there, `ring` is its height and `phase` 0. */
typedef struct {
  int32_t first, count, ring, phase;
} q_rows;

/* Where the input rows of one window lie: those from row `turn` on begin again at the top. */
typedef struct {
  int32_t shift, turn, ring;
} q_places;

static inline q_places q_places_of(const q_rows *rows, int32_t top) {
  const int32_t first = top < 0 ? 0 : top;
  const int32_t place = (first + rows->phase) % rows->ring;
  const q_places places = {place - first, first + rows->ring - place, rows->ring};
  return places;
}

static inline int32_t q_place(const q_places *places, int32_t row) {
  return row + places->shift - (row < places->turn ? 0 : places->ring);
}

static inline q_taps q_taps_inside(const q_axis *axis, int32_t o, int32_t low, int32_t high) {
  q_taps taps;
  taps.origin = o * axis->stride - axis->pad_begin;
  taps.first = 0;
  taps.last = axis->kernel;
  while (taps.first < taps.last && taps.origin + taps.first * axis->dilation < low) {
    taps.first++;
  }
  while (taps.last > taps.first && taps.origin + (taps.last - 1) * axis->dilation >= high) {
    taps.last--;
  }
  return taps;
}

static inline q_taps q_taps_of(const q_axis *axis, int32_t o) {
  return q_taps_inside(axis, o, 0, axis->in);
}

#endif
