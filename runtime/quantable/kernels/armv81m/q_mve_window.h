/* Windows of a convolution, channels last, laid out as consecutive bytes. */
#ifndef QUANTABLE_Q_MVE_WINDOW_H
#define QUANTABLE_Q_MVE_WINDOW_H

#include "q_mve.h"
#include "q_window.h"

#define Q_ROW_VECTORS 4

/* A convolution. The window is rows of `pieces` runs of `taps` pixels, `inner` bytes in all; it may
 * be read where it lies, as one pixel after the other, if `is_point`. */
typedef struct {
  q_axis h, w;
  int32_t batch, in_c, out_c, zero_point;
  int32_t pieces, taps, inner, is_point;
  q_output out;
} q_mve_conv_params;

/* Where the window of the next output pixel begins, over all images: its first rows from `first` on,
 * those that lie at the top of a ring from `below` on. The rest is the same for all of them: bytes
 * of a row of the window, the distance of its rows, the last column at which a window that begins
 * inside ends inside, and the last place at which rows may be read as whole vectors. */
typedef struct {
  const q_rows *rows;
  q_places places;
  const int8_t *x, *first, *below;
  int32_t oh, left, end, top, is_row_inside, above;
  int32_t bytes, pitch, last, vectors;
  uintptr_t last_vectors;
} q_mve_position;

/* Begin a row of output pixels. */
static inline void q_mve_begin_row(const q_mve_conv_params *p, q_mve_position *at) {
  const int32_t dilation = p->h.dilation, top = at->oh * p->h.stride - p->h.pad_begin;
  at->top = top;
  at->left = -p->w.pad_begin;
  at->places = q_places_of(at->rows, top);
  at->first = at->x + ((ptrdiff_t)(top + at->places.shift) * p->w.in + at->left) * p->in_c;
  at->is_row_inside = top >= 0 && top + (p->h.kernel - 1) * dilation < p->h.in && p->pieces == 1;
  at->above = (at->places.turn - top + dilation - 1) / dilation;
  if (at->is_row_inside && at->above < p->h.kernel) {
    const ptrdiff_t row = q_place(&at->places, top + at->above * dilation);
    at->below = at->x + (row * p->w.in + at->left) * p->in_c;
  } else {
    at->above = p->h.kernel;
  }
}

static inline q_mve_position q_mve_begin(const q_mve_conv_params *p, const q_rows *rows,
                                         const int8_t *x) {
  q_mve_position at = {0};
  at.rows = rows;
  at.x = at.below = x;
  at.oh = rows->first;
  at.end = p->w.out * p->w.stride - p->w.pad_begin;
  at.bytes = p->taps * p->in_c;
  at.pitch = p->h.dilation * p->w.in * p->in_c;
  at.last = p->w.in - p->w.kernel;
  at.vectors = (at.bytes + Q_LANES - 1) / Q_LANES;
  if (at.vectors <= Q_ROW_VECTORS) {
    const ptrdiff_t size = (ptrdiff_t)p->batch * rows->ring * p->w.in * p->in_c;
    const ptrdiff_t span = (ptrdiff_t)(p->h.kernel - 1) * at.pitch + at.vectors * Q_LANES;
    at.last_vectors = span <= size ? (uintptr_t)(x + size - span) : 0;
  }
  q_mve_begin_row(p, &at);
  return at;
}

/* Copy rows of bytes, `pitch` apart, one behind the other. */
static inline void q_mve_gather(int8_t *to, const int8_t *from, int32_t bytes, int32_t pitch,
                                int32_t rows) {
#if Q_MVE
  const int8_t *source;
  int8_t *target;
  __asm__ volatile(
      "1:\n"
      "mov %[source], %[from]\n"
      "mov %[target], %[to]\n"
      "wlstp.8 lr, %[bytes], 3f\n"
      "2:\n"
      "vldrb.8 q0, [%[source]], #16\n"
      "vstrb.8 q0, [%[target]], #16\n"
      "letp lr, 2b\n"
      "3:\n"
      "add %[from], %[pitch]\n"
      "add %[to], %[bytes]\n"
      "subs %[rows], #1\n"
      "bne 1b\n"
      : [to] "+&r"(to), [from] "+&r"(from), [rows] "+&r"(rows), [source] "=&r"(source),
        [target] "=&r"(target)
      : [bytes] "r"(bytes), [pitch] "r"(pitch)
      : "lr", "q0", "cc", "memory");
#else
  for (; rows > 0; rows--, to += bytes, from += pitch) {
    memcpy(to, from, (size_t)bytes);
  }
#endif
}

#if Q_MVE

/* Vectors of a row, brought to registers and away. */
#define Q_ROW_1 "vldrb.8 q0, [%[from]]\n"
#define Q_ROW_2 Q_ROW_1 "vldrb.8 q1, [%[from], #16]\n"
#define Q_ROW_3 Q_ROW_2 "vldrb.8 q2, [%[from], #32]\n"
#define Q_ROW_4 Q_ROW_3 "vldrb.8 q3, [%[from], #48]\n"
#define Q_ROW_TO_1 "vstrb.8 q0, [%[to]]\n"
#define Q_ROW_TO_2 Q_ROW_TO_1 "vstrb.8 q1, [%[to], #16]\n"
#define Q_ROW_TO_3 Q_ROW_TO_2 "vstrb.8 q2, [%[to], #32]\n"
#define Q_ROW_TO_4 Q_ROW_TO_3 "vstrb.8 q3, [%[to], #48]\n"
#define Q_ROWS(load, store) \
  __asm__ volatile("dls lr, %[rows]\n" \
                   "1:\n" load "add %[from], %[pitch]\n" store "add %[to], %[bytes]\n" \
                   "le lr, 1b\n" \
                   : [to] "+&r"(to), [from] "+&r"(from) \
                   : [bytes] "r"(bytes), [pitch] "r"(pitch), [rows] "r"(rows) \
                   : "lr", "q0", "q1", "q2", "q3", "memory")

#endif

/* The same for rows of up to four vectors, read and written as whole ones. */
static inline void q_mve_gather_vectors(int8_t *to, const int8_t *from, int32_t bytes,
                                        int32_t pitch, int32_t rows, int32_t vectors) {
#if Q_MVE
  if (vectors == 1) {
    Q_ROWS(Q_ROW_1, Q_ROW_TO_1);
  } else if (vectors == 2) {
    Q_ROWS(Q_ROW_2, Q_ROW_TO_2);
  } else if (vectors == 3) {
    Q_ROWS(Q_ROW_3, Q_ROW_TO_3);
  } else {
    Q_ROWS(Q_ROW_4, Q_ROW_TO_4);
  }
#else
  for (; rows > 0; rows--, to += bytes, from += pitch) {
    memcpy(to, from, (size_t)vectors * Q_LANES);
  }
#endif
}

/* `taps` pixels from `column` on, of a row that is inside; what is outside reads the zero point. */
static inline int8_t *q_mve_run(const q_mve_conv_params *p, const int8_t *row, int32_t column,
                                int8_t *to) {
  int32_t first = column < 0 ? -column : 0, last = p->w.in - column;
  first = first < p->taps ? first : p->taps;
  last = last < p->taps ? last : p->taps;
  last = last > first ? last : first;
  q_mve_fill(to, p->zero_point, first * p->in_c);
  to += first * p->in_c;
  q_mve_copy(to, row + (ptrdiff_t)(column + first) * p->in_c, (last - first) * p->in_c);
  to += (last - first) * p->in_c;
  q_mve_fill(to, p->zero_point, (p->taps - last) * p->in_c);
  return to + (p->taps - last) * p->in_c;
}

/* A window that reaches over the border. */
static inline void q_mve_edge(const q_mve_conv_params *p, const q_mve_position *at, int8_t *to) {
  for (int32_t kh = 0; kh < p->h.kernel; kh++) {
    const int32_t row = at->top + kh * p->h.dilation;
    for (int32_t piece = 0; piece < p->pieces; piece++) {
      if (row < 0 || row >= p->h.in) {
        q_mve_fill(to, p->zero_point, p->taps * p->in_c);
        to += p->taps * p->in_c;
      } else {
        const ptrdiff_t place = q_place(&at->places, row);
        const int32_t column = at->left + piece * p->w.dilation;
        to = q_mve_run(p, at->x + place * p->w.in * p->in_c, column, to);
      }
    }
  }
}

/* Lay out the window of the next output pixel. */
static inline void q_mve_next(const q_mve_conv_params *p, q_mve_position *at, int8_t *to) {
  if (!at->is_row_inside || at->left < 0 || at->left > at->last) {
    q_mve_edge(p, at, to);
  } else if (at->above < p->h.kernel) {
    q_mve_gather(to, at->first, at->bytes, at->pitch, at->above);
    q_mve_gather(to + at->above * at->bytes, at->below, at->bytes, at->pitch,
                 p->h.kernel - at->above);
  } else if ((uintptr_t)at->first <= at->last_vectors) {
    q_mve_gather_vectors(to, at->first, at->bytes, at->pitch, p->h.kernel, at->vectors);
  } else {
    q_mve_gather(to, at->first, at->bytes, at->pitch, p->h.kernel);
  }
  at->left += p->w.stride;
  at->first += p->w.stride * p->in_c;
  at->below += p->w.stride * p->in_c;
  if (at->left == at->end) {
    if (++at->oh == at->rows->first + at->rows->count) {
      at->oh = at->rows->first;
      at->x += (ptrdiff_t)at->rows->ring * p->w.in * p->in_c;
    }
    q_mve_begin_row(p, at);
  }
}

#endif
