// Response files: @FILE on a command line stands for the words in FILE.
#ifndef VQ_DRIVER_RESPONSE_H
#define VQ_DRIVER_RESPONSE_H

#include "vq/arena.h"
#include "vq/diag.h"

// Words are separated by blanks; single and double quotes group, a backslash
// takes the next character as it is. Files may name further files, 8 deep.
VQ_NODISCARD vq_status response_expand(int n_in, char **in, vq_arena *arena,
                                       vq_diag *diag, const char ***out,
                                       unsigned *n_out);

// The words of `text`, files left alone.
const char **response_split(vq_str text, vq_arena *arena, unsigned *n);

#endif
