// What quantization did to each layer: --report and --suggest (docs/report.md).
#ifndef VQ_DRIVER_REPORT_H
#define VQ_DRIVER_REPORT_H

#include "json.h"
#include "profile.h"
#include "vq/measure.h"
#include "vq/pass.h"

enum { REPORT_PICTURES = 36 };  // most on its sheet

// Other widths for the layers of a role, of a block unless that is -1.
typedef struct suggestion {
  vq_role role;
  int64_t block;
  bool wide;  // floats, not 8 bits
  const char *why;
} suggestion;

// The compiled model, run on samples that the float one as imported has been run on.
typedef struct report_run {
  vq_module *input;         // as imported
  float *in, *want;         // samples, calibration ones first, and the float results
  int64_t n, n_held;        // of calibration samples, and of ones that were held back
  int64_t n_in, n_out;      // numbers of a sample and of its result
  vq_rows rows, held;       // the comparison; n = 0: it was not run
  const char *why_not;      // NULL: it was
  const char *isa;          // the variant in use
  int64_t file_bytes;
  step_rate *rate;          // of the steps
  const char **role;
  uint32_t n_step;
  double total_us;
} report_run;

typedef struct report {
  vq_module *plain, *before, *after;  // vq_measure's
  vq_measures m;
  vq_arena arena;
  unsigned *worst, n_worst;  // layers
  suggestion *suggested;     // about them; attn.qk and attn.av have one each
  unsigned n_suggested;
  double integer_share;  // of the multiplications
  int64_t weight_bytes;
  vq_score score;  // on made pictures that were held back; n = 0: there are none
  report_run run;
  vq_strbuf sheet;     // made pictures, a PNG; empty: there are none
  int64_t n_pictures, n_pictures_held;  // of all that were made
} report;

bool report_wanted(const options *o);
// A value of --report that is neither a page nor JSON, or NULL.
const char *report_unknown(const options *o);

// For vq_instrument.before, with a report as `user`: keeps what is to be measured.
void report_watch(void *user, const vq_pass *pass, const vq_module *m);
VQ_NODISCARD vq_status report_measure(driver *d, report *r, vq_exec *exec);
// Writes all that is asked for. `m`: the compiled module, written to `output`.
VQ_NODISCARD vq_status report_write(driver *d, report *r, const vq_module *m,
                                    const char *output, const vq_pass_report *passes);
VQ_NODISCARD vq_status report_html(driver *d, const report *r, const vq_module *m,
                                   const char *path);
VQ_NODISCARD vq_status report_json(driver *d, const report *r, const vq_module *m,
                                   const char *path);
void report_release(report *r);

// The float model's results on samples of `exec`, for report_run_compiled.
VQ_NODISCARD vq_status report_run_float(driver *d, report *r, vq_exec *exec);
// Compares the file at `output` with them and times its steps, where it runs here.
VQ_NODISCARD vq_status report_run_compiled(driver *d, report *r, const char *output);

// "block 3 fc2", or a role and a name outside of blocks.
void report_layer_name(vq_strbuf *out, const vq_layer *l);
// A rule as --bits says it.
void report_rule(vq_strbuf *out, const suggestion *s);
// Constants of the kernel that `call` calls, in bytes, and its multiply-adds.
int64_t report_kernel_bytes(const vq_op *call);
int64_t report_kernel_macs(const vq_op *call);

#endif
