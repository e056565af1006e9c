/* Start-up code of an emulated MPS2 or MPS3 board. */
#include "semihosting.h"

extern uint32_t board_data[], board_data_end[], board_data_source[];
extern uint32_t board_bss[], board_bss_end[];

#ifdef BOARD_MPS3
/* The subsystem's counter, up at 32 MHz: control, then, at 8, the low word of the count. */
#define COUNTER ((volatile uint32_t *)0x58100000)
#else
/* Timer 0 counts down at 25 MHz. */
#define TIMER ((volatile uint32_t *)0x40000000)
#endif
#define COPROCESSORS (*(volatile uint32_t *)0xE000ED88)

void board_reset(void);

intptr_t semihost(uintptr_t operation, const uintptr_t *arguments) {
  register uintptr_t r0 __asm__("r0") = operation;
  register const uintptr_t *r1 __asm__("r1") = arguments;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return (intptr_t)r0;
}

#ifdef BOARD_MPS3

uint32_t board_ticks(void) {
  return COUNTER[2];
}

static void start_clock(void) {
  COUNTER[0] = 1;
}

#else

uint32_t board_ticks(void) {
  return ~TIMER[1];
}

static void start_clock(void) {
  TIMER[2] = 0xFFFFFFFFu; /* reload, value, enable */
  TIMER[1] = 0xFFFFFFFFu;
  TIMER[0] = 1;
}

#endif

/* Everything is in registers or in memory that needs no start-up until the loops have run. */
void board_reset(void) {
  COPROCESSORS |= 0xFu << 20; /* before the first float */
  const uint32_t *source = board_data_source;
  for (uint32_t *to = board_data; to < board_data_end; to++) {
    *to = *source++;
  }
  for (uint32_t *to = board_bss; to < board_bss_end; to++) {
    *to = 0;
  }
  for (volatile uint32_t *to = board_stack; to < board_stack_marked; to++) {
    *to = BOARD_STACK_MARK;
  }
  start_clock();
  board_main();
}

static void board_fault(void) {
  machine_quit(BOARD_FAULT);
}

/* The initial stack pointer, reset, and every fault. */
typedef union {
  void *stack;
  void (*handler)(void);
} board_vector;

__attribute__((section(".vectors"), used)) static const board_vector board_vectors[16] = {
    {.stack = board_stack_top}, {.handler = board_reset}, {.handler = board_fault},
    {.handler = board_fault},   {.handler = board_fault}, {.handler = board_fault},
    {.handler = board_fault},
};
