/* Files of the host, for machines whose emulator hands them in: included by one file a machine,
 * which defines the call that reaches the host.
 */
#ifndef QUANTABLE_SEMIHOSTING_H
#define QUANTABLE_SEMIHOSTING_H

#include "board.h"

#include <stddef.h>

enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT_EXTENDED = 0x20 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
enum { STOPPED_BY_APPLICATION = 0x20026 };

intptr_t semihost(uintptr_t operation, const uintptr_t *arguments);

static uintptr_t inputs, written[2];

_Noreturn void machine_quit(uint32_t code) {
  const uintptr_t arguments[2] = {STOPPED_BY_APPLICATION, code};
  for (;;) {
    semihost(SYS_EXIT_EXTENDED, arguments);
  }
}

static uintptr_t open_file(const char *name, uintptr_t length, uintptr_t mode) {
  const uintptr_t arguments[3] = {(uintptr_t)name, mode, length};
  const intptr_t file = semihost(SYS_OPEN, arguments);
  if (file < 0) {
    machine_quit(BOARD_NO_FILE);
  }
  return (uintptr_t)file;
}

void machine_open(void) {
  inputs = open_file("inputs.bin", 10, READ_BINARY);
  written[BOARD_OUTPUTS] = open_file("outputs.bin", 11, WRITE_BINARY);
  written[BOARD_COUNTS] = open_file("counts.bin", 10, WRITE_BINARY);
}

void machine_close(void) {
  semihost(SYS_CLOSE, &inputs);
  semihost(SYS_CLOSE, &written[BOARD_OUTPUTS]);
  semihost(SYS_CLOSE, &written[BOARD_COUNTS]);
}

/* The host answers with the bytes that are missing. */
static int is_short(uintptr_t operation, uintptr_t file, const void *data, uint32_t size) {
  const uintptr_t arguments[3] = {file, (uintptr_t)data, size};
  return size != 0 && semihost(operation, arguments) != 0;
}

void machine_read(void *data, uint32_t size) {
  if (is_short(SYS_READ, inputs, data, size)) {
    machine_quit(BOARD_FILE_TOO_SHORT);
  }
}

void machine_write(board_file file, const void *data, uint32_t size) {
  if (is_short(SYS_WRITE, written[file], data, size)) {
    machine_quit(BOARD_FILE_NOT_WRITTEN);
  }
}

#endif
