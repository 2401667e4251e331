// Completion of command lines in bash, from the option table.
#ifndef VQ_DRIVER_COMPLETION_H
#define VQ_DRIVER_COMPLETION_H

#include "vq/strbuf.h"

void completion_bash(vq_strbuf *out);

#endif
