/* What an emulated machine runs: network.c defines the network, board.c runs it on all samples, and
 * the file that is named after the machine starts it and talks to what emulates it.
 */
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

/* Called by the machine when its stack is marked and what starts as zero is zero. */
_Noreturn void board_main(void);

/* Exit codes from 100 on; below are the network's own statuses, negated. */
enum { BOARD_FAULT = 100, BOARD_NO_FILE, BOARD_FILE_TOO_SHORT, BOARD_FILE_NOT_WRITTEN };
typedef enum { BOARD_OUTPUTS, BOARD_COUNTS } board_file;

/* Of the machine. Files are open between the first two; the last one ends the emulation. */
void machine_open(void);
void machine_close(void);
void machine_read(void *data, uint32_t size);
void machine_write(board_file file, const void *data, uint32_t size);
_Noreturn void machine_quit(uint32_t code);

/* The machine's clock, and what it took each step, summed up. */
uint32_t board_ticks(void);
extern uint32_t board_step_ticks[];

/* The stack below its top is marked up to `board_stack_marked`; where it is used no more. */
#define BOARD_STACK_MARK 0xDEADBEEFu
extern uint32_t board_stack[], board_stack_marked[], board_stack_top[];

#endif
