// Tests of compiled code in two halves, for instructions that this CPU lacks. With
// VITQC_TEST_RECORDS=FOLDER in the environment a program also leaves there, of each
// comparison, the expected results and the shared objects of what this CPU lacks.
// The same source built with RECORDED is a program without interpreter and compiler that
// makes the same inputs, reads those files and runs them: in a machine that has the
// instructions (tests/emulated).
#ifndef VQ_TEST_RECORDED_H
#define VQ_TEST_RECORDED_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vq/eval.h"

#ifdef RECORDED
enum { RECORDED_ONLY = true };
#else
enum { RECORDED_ONLY = false };
#endif

static unsigned n_record;  // comparisons so far

// The file `what` of this comparison; NULL: nothing is recorded.
static inline const char *record_path(const char *what) {
  static char path[2][512];
  static unsigned at;
  const char *folder = getenv("VITQC_TEST_RECORDS");
  if (!folder) {
    ck_assert_msg(!RECORDED_ONLY, "VITQC_TEST_RECORDS names no folder");
    return NULL;
  }
  at = (at + 1) % 2;
  snprintf(path[at], sizeof *path, "%s/%u.%s", folder, n_record, what);
  return path[at];
}

// What the interpreter makes of `in`: computed, and written where a record is made; in
// the other half read from there.
static inline void expected_results(const vq_func *f, const vq_tensor *in, vq_tensor *want,
                                    vq_diag *diag) {
#ifndef RECORDED
  ck_assert_int_eq(vq_eval_func(f, in, want, diag, NULL, NULL), VQ_OK);
#else
  (void)in, (void)diag;
#endif
  const char *path = record_path("results");
  if (!path) return;
  FILE *file = fopen(path, RECORDED_ONLY ? "rb" : "wb");
  ck_assert_msg(file != NULL, "cannot open %s", path);
  for (unsigned i = 0; i < f->n_result; i++) {
    size_t bytes = (size_t)vq_type_bytes(want[i].type);
    size_t n = RECORDED_ONLY ? fread(want[i].data, 1, bytes, file)
                             : fwrite(want[i].data, 1, bytes, file);
    ck_assert_uint_eq(n, bytes);
  }
  ck_assert_int_eq(fclose(file), 0);
}

#endif
