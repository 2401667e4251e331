// Judging modules by a command: for bisecting and reducing.
#ifndef VQ_DRIVER_JUDGE_H
#define VQ_DRIVER_JUDGE_H

#include "driver.h"
#include "vq/ir.h"

// A folder for the modules that the command sees.
typedef struct judge {
  driver *d;
  const char *shell;
  vq_strbuf folder, file, data;
} judge;

// `shell` is a command, run by sh; {} in it stands for the file, which otherwise is
// its last argument.
VQ_NODISCARD vq_status judge_open(driver *d, const char *shell, judge *out);
void judge_close(judge *j);

// Whether the command ends with exit code 0. A command that cannot be run at all is
// reported, once, as an error.
VQ_NODISCARD vq_status judge_module(judge *j, const vq_module *m, bool *passed);

#endif
