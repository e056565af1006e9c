/* What a convolution kernel is told; see q_conv.h, q_depthwise.h, q_conv_planar.h. */
#ifndef QUANTABLE_Q_CONV_PARAMS_H
#define QUANTABLE_Q_CONV_PARAMS_H

#include "q_window.h"

typedef struct {
  q_axis h, w;
  int32_t batch, in_c, out_c, groups, x_zero_point;
  q_output out;
} q_conv;

#endif
