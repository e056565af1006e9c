/* What the emulated board runs: network.c defines it, board.c calls it. */
#ifndef QUANTABLE_BOARD_H
#define QUANTABLE_BOARD_H

#include <stdint.h>

typedef struct {
  void *data;
  uint32_t size;
} board_tensor;

extern const board_tensor board_inputs[], board_outputs[];
extern const uint32_t board_input_count, board_output_count, board_samples, board_steps;

/* Run one sample: the status of the generated code. */
int board_network(void);

/* Instructions so far; those that each step took, summed up. */
uint32_t board_ticks(void);
extern uint32_t board_step_ticks[];

#endif
