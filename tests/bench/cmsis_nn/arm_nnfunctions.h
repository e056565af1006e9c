/* The interface of CMSIS-NN that the benchmark calls, by definition and without any speed: written
 * for the test of the calls. Rescaling rounds once, in double. */
#ifndef ARM_NNFUNCTIONS_H
#define ARM_NNFUNCTIONS_H
#include <math.h>
#include <stdint.h>

typedef enum { ARM_CMSIS_NN_SUCCESS = 0 } arm_cmsis_nn_status;
typedef struct { int32_t w, h; } cmsis_nn_tile;
typedef struct { void *buf; int32_t size; } cmsis_nn_context;
typedef struct { int32_t n, h, w, c; } cmsis_nn_dims;
typedef struct { int32_t *multiplier, *shift; } cmsis_nn_per_channel_quant_params;
typedef struct { int32_t multiplier, shift; } cmsis_nn_per_tensor_quant_params;
typedef struct { int32_t min, max; } cmsis_nn_activation;
typedef struct {
  int32_t input_offset, output_offset;
  cmsis_nn_tile stride, padding, dilation;
  cmsis_nn_activation activation;
} cmsis_nn_conv_params;
typedef struct {
  int32_t input_offset, output_offset, ch_mult;
  cmsis_nn_tile stride, padding, dilation;
  cmsis_nn_activation activation;
} cmsis_nn_dw_conv_params;
typedef struct {
  cmsis_nn_tile stride, padding;
  cmsis_nn_activation activation;
} cmsis_nn_pool_params;
typedef struct {
  int32_t input_offset, filter_offset, output_offset;
  cmsis_nn_activation activation;
} cmsis_nn_fc_params;

static int8_t put(double value, int32_t offset, cmsis_nn_activation a) {
  return (int8_t)fmin(fmax(rint(value) + offset, a.min), a.max);
}

static double scaled(double value, int32_t multiplier, int32_t shift) {
  return ldexp(value * multiplier, shift - 31);
}

/* Of all channels, or of one (depthwise): what lies outside the input counts as its zero. */
#define WINDOW(NAME, PARAMS, FILTER, FIRST, LAST)                                               \
  static arm_cmsis_nn_status NAME(                                                              \
      const cmsis_nn_context *ctx, const PARAMS *p, const cmsis_nn_per_channel_quant_params *q, \
      const cmsis_nn_dims *in, const int8_t *x, const cmsis_nn_dims *f, const int8_t *weight,   \
      const cmsis_nn_dims *b, const int32_t *bias, const cmsis_nn_dims *out, int8_t *y) {       \
    (void)ctx, (void)b;                                                                         \
    for (int i = 0; i < out->n * out->h * out->w * out->c; i++) {                               \
      const int o = i % out->c, ox = i / out->c % out->w, oy = i / out->c / out->w % out->h;    \
      double sum = bias[o];                                                                     \
      for (int ky = 0; ky < f->h; ky++)                                                         \
        for (int kx = 0; kx < f->w; kx++) {                                                     \
          const int row = oy * p->stride.h - p->padding.h + ky * p->dilation.h;                 \
          const int column = ox * p->stride.w - p->padding.w + kx * p->dilation.w;              \
          if (row < 0 || row >= in->h || column < 0 || column >= in->w) continue;               \
          for (int c = FIRST; c < LAST; c++)                                                    \
            sum += weight[FILTER] *                                                             \
                   (x[(row * in->w + column) * in->c + c] + p->input_offset);                   \
        }                                                                                       \
      y[i] = put(scaled(sum, q->multiplier[o], q->shift[o]), p->output_offset, p->activation);  \
    }                                                                                           \
    return ARM_CMSIS_NN_SUCCESS;                                                                \
  }                                                                                             \
  static int32_t NAME##_get_buffer_size(const PARAMS *p, const cmsis_nn_dims *in,               \
                                        const cmsis_nn_dims *f, const cmsis_nn_dims *out) {     \
    (void)p, (void)out;                                                                         \
    return in->c * f->w * f->h;                                                                 \
  }
WINDOW(arm_convolve_wrapper_s8, cmsis_nn_conv_params,
       ((o * f->h + ky) * f->w + kx) * in->c + c, 0, in->c)
WINDOW(arm_depthwise_conv_wrapper_s8, cmsis_nn_dw_conv_params, (ky * f->w + kx) * f->c + c, o, o + 1)

static arm_cmsis_nn_status arm_fully_connected_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_fc_params *p,
    const cmsis_nn_per_tensor_quant_params *q, const cmsis_nn_dims *in, const int8_t *x,
    const cmsis_nn_dims *f, const int8_t *weight, const cmsis_nn_dims *b, const int32_t *bias,
    const cmsis_nn_dims *out, int8_t *y) {
  (void)ctx, (void)b, (void)in;
  for (int i = 0; i < out->n * out->c; i++) {
    double sum = bias[i % out->c];
    for (int k = 0; k < f->n; k++)
      sum += weight[i % out->c * f->n + k] * (x[i / out->c * f->n + k] + p->input_offset);
    y[i] = put(scaled(sum, q->multiplier, q->shift), p->output_offset, p->activation);
  }
  return ARM_CMSIS_NN_SUCCESS;
}

static int32_t arm_fully_connected_s8_get_buffer_size(const cmsis_nn_dims *f) { return f->c; }

static arm_cmsis_nn_status arm_avgpool_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_pool_params *p, const cmsis_nn_dims *in,
    const int8_t *x, const cmsis_nn_dims *f, const cmsis_nn_dims *out, int8_t *y) {
  (void)ctx;
  for (int i = 0; i < out->h * out->w * out->c; i++) {
    const int c = i % out->c, ox = i / out->c % out->w, oy = i / out->c / out->w;
    double sum = 0;
    for (int ky = 0; ky < f->h; ky++)
      for (int kx = 0; kx < f->w; kx++)
        sum += x[((oy * p->stride.h + ky) * in->w + ox * p->stride.w + kx) * in->c + c];
    y[i] = put(sum / (f->h * f->w), 0, p->activation);
  }
  return ARM_CMSIS_NN_SUCCESS;
}

static int32_t arm_avgpool_s8_get_buffer_size(int width, int channels) { return width + channels; }

static arm_cmsis_nn_status arm_elementwise_add_s8(
    const int8_t *a, const int8_t *b, int32_t a_offset, int32_t a_mult, int32_t a_shift,
    int32_t b_offset, int32_t b_mult, int32_t b_shift, int32_t left, int8_t *y, int32_t offset,
    int32_t mult, int32_t shift, int32_t low, int32_t high, int32_t size) {
  const cmsis_nn_activation bounds = {low, high};
  for (int i = 0; i < size; i++) {
    const double sum = scaled(ldexp(a[i] + a_offset, left), a_mult, a_shift) +
                       scaled(ldexp(b[i] + b_offset, left), b_mult, b_shift);
    y[i] = put(scaled(sum, mult, shift), offset, bounds);
  }
  return ARM_CMSIS_NN_SUCCESS;
}
#endif
