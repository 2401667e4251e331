// Status texts and the thread's last error.
#include <stdarg.h>
#include <stdio.h>

#include "rt.h"

// The runtime's only mutable storage: a diagnostic, never read by the code.
static _Thread_local char last_error[512];

const char *vitq_status_text(vitq_status s) {
  switch (s) {
    case VITQ_OK: return "success";
    case VITQ_ERR_ARGUMENT: return "an argument is missing or out of range";
    case VITQ_ERR_OPEN: return "the file cannot be loaded";
    case VITQ_ERR_NOT_MODEL: return "the file is not a compiled model";
    case VITQ_ERR_VERSION: return "the model was made for another ABI version";
    case VITQ_ERR_ISA: return "no variant of the model runs on this CPU";
    case VITQ_ERR_WORKSPACE: return "the workspace is missing or misaligned";
    case VITQ_ERR_MEMORY: return "out of memory";
  }
  return "unknown status";
}

const char *vitq_last_error(void) { return last_error; }

void rt_clear_error(void) { last_error[0] = '\0'; }

vitq_status rt_fail(vitq_status s, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(last_error, sizeof last_error, fmt, ap);
  va_end(ap);
  return s;
}
