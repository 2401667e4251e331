// The pass pipelines of the optimization levels.
#ifndef VQ_DRIVER_PIPELINES_H
#define VQ_DRIVER_PIPELINES_H

#include "vq/base.h"

// The pipeline of -O<level> ("0" to "3"), or NULL when this version lacks it;
// *missing then says what is not there.
const char *level_pipeline(const char *level, const char **missing);

// For derivatives of a recomposed function that are to be run.
extern const char derivative_pipeline[];

#endif
