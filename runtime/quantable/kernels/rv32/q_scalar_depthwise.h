/* int.Conv with one input and one output channel a group, channels last, on unsigned bytes, for
 * scalar cores.
 *
 * One channel at a time, whose weights stay in registers: [channel][taps]. Bias is
 * bias - x_zero_point * sum(weights); multipliers are floats, of which only the representation is
 * looked at (q_fixed.h).
 */
#ifndef QUANTABLE_Q_SCALAR_DEPTHWISE_H
#define QUANTABLE_Q_SCALAR_DEPTHWISE_H

#include "q_fixed.h"
#include "q_window.h"

/* `is_sliding`: 3 x 3 taps, neighbours in a row, with a stride of 1 or 2 columns, and either at most
 * one column of padding on either side, or a `plane`: bytes of an image of one channel with its
 * padding, `plane_pitch` a row, which small images are copied to. */
typedef struct {
  q_axis h, w;
  int32_t batch, channels, x_zero_point, is_sliding, plane, plane_pitch;
  q_fixed fixed;
} q_scalar_depthwise_params;

/* Outputs whose sums are held at a time. */
#define Q_LINE_BLOCK 64

/* Pieces of lines of outputs of one channel: rows of the first window from the first column inside
 * the image on, `pitch` bytes from one column to the next, `skip` bytes from behind a line to the
 * next. Rows outside have weights of zero, and the bias holds what they count. */
typedef struct {
  const uint8_t *rows[3];
  ptrdiff_t pitch, skip;
  int32_t lines, count; /* outputs in each */
  int32_t is_left_out, is_right_out;
  int32_t w[9], bias, zero_point;
} q_slide;

#define Q_SLIDE_WEIGHTS \
  const int32_t w00 = p->w[0], w01 = p->w[1], w02 = p->w[2], w10 = p->w[3], w11 = p->w[4]; \
  const int32_t w12 = p->w[5], w20 = p->w[6], w21 = p->w[7], w22 = p->w[8]; \
  const uint8_t *x0 = p->rows[0], *x1 = p->rows[1], *x2 = p->rows[2]; \
  const uint32_t bias = (uint32_t)p->bias; \
  const ptrdiff_t pitch = p->pitch, skip = p->skip; \
  const int32_t count = p->count - p->is_right_out;
/* Read the next column; what it adds to the outputs that it is column 0, 1 or 2 of. */
#define Q_NEXT_COLUMN (v0 = *x0, v1 = *x1, v2 = *x2, x0 += pitch, x1 += pitch, x2 += pitch)
#define Q_COLUMN(kw) ((uint32_t)(v0 * w0##kw + v1 * w1##kw + v2 * w2##kw))
#define Q_OUTSIDE(kw) ((uint32_t)(p->zero_point * (w0##kw + w1##kw + w2##kw)))

/* With a stride of one column. */
static void q_slide_one(const q_slide *p, int32_t *sums) {
  Q_SLIDE_WEIGHTS
  for (int32_t line = p->lines; line > 0; line--, x0 += skip, x1 += skip, x2 += skip) {
    int32_t v0, v1, v2;
    uint32_t last = bias, next;
    if (p->is_left_out) {
      last += Q_OUTSIDE(0);
    } else {
      Q_NEXT_COLUMN;
      last += Q_COLUMN(0);
    }
    Q_NEXT_COLUMN;
    last += Q_COLUMN(1);
    next = bias + Q_COLUMN(0);
    for (int32_t *end = sums + count; sums != end;) {
      Q_NEXT_COLUMN;
      *sums++ = (int32_t)(last + Q_COLUMN(2));
      last = next + Q_COLUMN(1);
      next = bias + Q_COLUMN(0);
    }
    if (p->is_right_out) {
      *sums++ = (int32_t)(last + Q_OUTSIDE(2));
    }
  }
}

/* With a stride of two. */
static void q_slide_two(const q_slide *p, int32_t *sums) {
  Q_SLIDE_WEIGHTS
  for (int32_t line = p->lines; line > 0; line--, x0 += skip, x1 += skip, x2 += skip) {
    int32_t v0, v1, v2;
    uint32_t last = bias;
    if (p->is_left_out) {
      last += Q_OUTSIDE(0);
    } else {
      Q_NEXT_COLUMN;
      last += Q_COLUMN(0);
    }
    for (int32_t *end = sums + count; sums != end;) {
      Q_NEXT_COLUMN;
      last += Q_COLUMN(1);
      Q_NEXT_COLUMN;
      *sums++ = (int32_t)(last + Q_COLUMN(2));
      last = bias + Q_COLUMN(0);
    }
    if (p->is_right_out) {
      Q_NEXT_COLUMN;
      *sums++ = (int32_t)(last + Q_COLUMN(1) + Q_OUTSIDE(2));
    }
  }
}

#undef Q_SLIDE_WEIGHTS
#undef Q_NEXT_COLUMN
#undef Q_COLUMN
#undef Q_OUTSIDE

/* Outputs [first, first + count) of `lines` from `oh` on, several only where all of their windows'
 * rows lie inside the image; `x` and `w` begin at the channel. */
static inline void q_slide_sums(const q_scalar_depthwise_params *p, const uint8_t *x,
                                const int8_t *w, int32_t bias, int32_t oh, int32_t lines,
                                int32_t first, int32_t count, int32_t *sums) {
  const int32_t top = oh * p->h.stride - p->h.pad_begin;
  const int32_t left = first * p->w.stride - p->w.pad_begin;
  const int32_t right = left + (count - 1) * p->w.stride + 2;
  const int32_t begin = left < 0 ? 0 : left, end = right < p->w.in ? right + 1 : p->w.in;
  q_slide slide = {.pitch = p->channels, .bias = bias, .zero_point = p->x_zero_point};
  slide.lines = lines;
  slide.count = count;
  slide.is_left_out = left < 0;
  slide.is_right_out = right >= p->w.in;
  slide.skip = ((ptrdiff_t)p->h.stride * p->w.in - (end - begin)) * p->channels;
  for (int32_t kh = 0; kh < 3; kh++, w += 3) {
    const int32_t row = top + kh * p->h.dilation;
    const int is_inside = row >= 0 && row < p->h.in;
    slide.rows[kh] = x + ((ptrdiff_t)(is_inside ? row : 0) * p->w.in + begin) * p->channels;
    for (int32_t kw = 0; kw < 3; kw++) {
      slide.w[3 * kh + kw] = is_inside ? w[kw] : 0;
      slide.bias = is_inside ? slide.bias : q_add_wrapping(slide.bias, p->x_zero_point * w[kw]);
    }
  }
  (p->w.stride == 1 ? q_slide_one : q_slide_two)(&slide, sums);
}

/* One output, of any window. */
static inline int32_t q_scalar_tap_sum(const q_scalar_depthwise_params *p, const uint8_t *x,
                                       const int8_t *w, int32_t sum, int32_t oh, int32_t ow) {
  const int32_t left = ow * p->w.stride - p->w.pad_begin;
  int32_t row = oh * p->h.stride - p->h.pad_begin;
  for (int32_t kh = 0; kh < p->h.kernel; kh++, row += p->h.dilation) {
    const int is_inside = row >= 0 && row < p->h.in;
    int32_t column = left;
    for (int32_t kw = 0; kw < p->w.kernel; kw++, column += p->w.dilation) {
      int32_t value = p->x_zero_point;
      if (is_inside && column >= 0 && column < p->w.in) {
        value = x[((ptrdiff_t)row * p->w.in + column) * p->channels];
      }
      sum = q_add_wrapping(sum, value * *w++);
    }
  }
  return sum;
}

/* Four outputs, neighbours, of windows that lie inside the image. */
static inline void q_scalar_four_sums(const q_scalar_depthwise_params *p, const uint8_t *x,
                                      const int8_t *w, int32_t bias, int32_t *sums) {
  const ptrdiff_t step = (ptrdiff_t)p->w.stride * p->channels;
  const ptrdiff_t column = (ptrdiff_t)p->w.dilation * p->channels;
  const ptrdiff_t row = (ptrdiff_t)p->h.dilation * p->w.in * p->channels;
  uint32_t s0 = (uint32_t)bias, s1 = s0, s2 = s0, s3 = s0;
  for (int32_t kh = 0; kh < p->h.kernel; kh++, x += row) {
    const uint8_t *tap = x;
    for (int32_t kw = 0; kw < p->w.kernel; kw++, tap += column) {
      const int32_t weight = *w++;
      s0 += (uint32_t)(tap[0] * weight);
      s1 += (uint32_t)(tap[step] * weight);
      s2 += (uint32_t)(tap[2 * step] * weight);
      s3 += (uint32_t)(tap[3 * step] * weight);
    }
  }
  sums[0] = (int32_t)s0;
  sums[1] = (int32_t)s1;
  sums[2] = (int32_t)s2;
  sums[3] = (int32_t)s3;
}

static inline void q_scalar_line_sums(const q_scalar_depthwise_params *p, const uint8_t *x,
                                      const int8_t *w, int32_t bias, int32_t oh, int32_t first,
                                      int32_t count, int32_t *sums) {
  const int32_t top = oh * p->h.stride - p->h.pad_begin;
  const int32_t below = p->h.in - (p->h.kernel - 1) * p->h.dilation;
  const int32_t beyond = p->w.in - (p->w.kernel - 1) * p->w.dilation;
  const int is_inside = top >= 0 && top < below;
  for (int32_t i = 0; i < count;) {
    const int32_t left = (first + i) * p->w.stride - p->w.pad_begin;
    if (is_inside && left >= 0 && i + 4 <= count && left + 3 * p->w.stride < beyond) {
      const uint8_t *window = x + ((ptrdiff_t)top * p->w.in + left) * p->channels;
      q_scalar_four_sums(p, window, w, bias, sums + i);
      i += 4;
    } else {
      sums[i] = q_scalar_tap_sum(p, x, w, bias, oh, first + i);
      i++;
    }
  }
}

/* How many lines from `oh` on can be computed at once. */
static inline int32_t q_scalar_lines(const q_scalar_depthwise_params *p, int32_t oh) {
  const int32_t top = oh * p->h.stride - p->h.pad_begin;
  const int32_t below = p->h.in - (p->h.kernel - 1) * p->h.dilation;
  const int32_t inside = top < 0 || top >= below ? 1 : (below - 1 - top) / p->h.stride + 1;
  const int32_t room = Q_LINE_BLOCK / p->w.out, left = p->h.out - oh;
  const int32_t lines = p->is_sliding && room > 1 ? (inside < room ? inside : room) : 1;
  return lines < left ? lines : left;
}

/* One channel of an image that is read where it lies. */
static inline void q_scalar_channel(const q_scalar_depthwise_params *p, const uint8_t *x,
                                    const int8_t *w, int32_t bias, const float *multiplier,
                                    uint8_t *y) {
  int32_t sums[Q_LINE_BLOCK];
  for (int32_t oh = 0, lines; oh < p->h.out; oh += lines) {
    lines = q_scalar_lines(p, oh);
    for (int32_t ow = 0; ow < p->w.out; ow += Q_LINE_BLOCK) {
      const int32_t left = p->w.out - ow, count = left < Q_LINE_BLOCK ? left : Q_LINE_BLOCK;
      if (p->is_sliding) {
        q_slide_sums(p, x, w, bias, oh, lines, ow, count, sums);
      } else {
        q_scalar_line_sums(p, x, w, bias, oh, ow, count, sums);
      }
      q_fixed_put_uint8_t(&p->fixed, sums, 1, multiplier, 1, lines * count, y, p->channels);
      y += (ptrdiff_t)lines * count * p->channels;
    }
  }
}

/* One channel of an image that is copied; `plane` holds zero points around it. */
static inline void q_scalar_copied(const q_scalar_depthwise_params *p, const uint8_t *x,
                                   const int8_t *w, int32_t bias, const float *multiplier,
                                   uint8_t *plane, uint8_t *y) {
  const int32_t pitch = p->plane_pitch, room = Q_LINE_BLOCK / p->w.out;
  int32_t sums[Q_LINE_BLOCK];
  q_slide slide = {.pitch = 1, .count = p->w.out, .bias = bias};
  uint8_t *row = plane + p->h.pad_begin * pitch + p->w.pad_begin;
  for (int32_t h = 0; h < p->h.in; h++, row += pitch) {
    for (uint8_t *to = row, *end = row + p->w.in; to != end; x += p->channels) {
      *to++ = *x;
    }
  }
  for (int32_t tap = 0; tap < 9; tap++) {
    slide.w[tap] = w[tap];
  }
  slide.skip = (ptrdiff_t)p->h.stride * pitch - ((p->w.out - 1) * p->w.stride + 3);
  for (int32_t oh = 0; oh < p->h.out; oh += slide.lines) {
    slide.lines = p->h.out - oh < room ? p->h.out - oh : room;
    for (int32_t kh = 0; kh < 3; kh++) {
      slide.rows[kh] = plane + (oh * p->h.stride + kh * p->h.dilation) * pitch;
    }
    (p->w.stride == 1 ? q_slide_one : q_slide_two)(&slide, sums);
    q_fixed_put_uint8_t(&p->fixed, sums, 1, multiplier, 1, slide.lines * p->w.out, y, p->channels);
    y += (ptrdiff_t)slide.lines * p->w.out * p->channels;
  }
}

Q_ONE_COPY static void q_scalar_depthwise(const q_scalar_depthwise_params *p, const uint8_t *x,
                                      const int8_t *weight, const int32_t *bias,
                                      const float *multiplier, uint8_t *plane, uint8_t *y) {
  const ptrdiff_t taps = (ptrdiff_t)p->h.kernel * p->w.kernel;
  if (p->plane) {
    memset(plane, p->x_zero_point, (size_t)p->plane);
  }
  for (int32_t n = 0; n < p->batch; n++) {
    for (ptrdiff_t c = 0; c < p->channels; c++) {
      const int8_t *w = weight + c * taps;
      if (p->plane) {
        q_scalar_copied(p, x + c, w, bias[c], multiplier + c, plane, y + c);
      } else {
        q_scalar_channel(p, x + c, w, bias[c], multiplier + c, y + c);
      }
    }
    x += (ptrdiff_t)p->h.in * p->w.in * p->channels;
    y += (ptrdiff_t)p->h.out * p->w.out * p->channels;
  }
}

#endif
