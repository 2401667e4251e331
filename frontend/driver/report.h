// What quantization did to each layer: --report and --suggest (docs/report.md).
#ifndef VQ_DRIVER_REPORT_H
#define VQ_DRIVER_REPORT_H

#include "driver.h"
#include "vq/measure.h"
#include "vq/pass.h"

// Other widths for the layers of a role, of a block unless that is -1.
typedef struct suggestion {
  vq_role role;
  int64_t block;
  bool wide;  // floats, not 8 bits
  const char *why;
} suggestion;

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
} report;

bool report_wanted(const options *o);
// A value of --report that is neither a page nor JSON, or NULL.
const char *report_unknown(const options *o);

// For vq_instrument.before, with a report as `user`: keeps what is to be measured.
void report_watch(void *user, const vq_pass *pass, const vq_module *m);
VQ_NODISCARD vq_status report_measure(driver *d, report *r, vq_exec *exec);
// Writes all that is asked for. `m`: the compiled module.
VQ_NODISCARD vq_status report_write(driver *d, report *r, const vq_module *m,
                                    const vq_pass_report *passes);
VQ_NODISCARD vq_status report_html(driver *d, const report *r, const vq_module *m,
                                   const char *path);
void report_release(report *r);

// "block 3 fc2", or a role and a name outside of blocks.
void report_layer_name(vq_strbuf *out, const vq_layer *l);
// Constants of the kernel that `call` calls, in bytes.
int64_t report_kernel_bytes(const vq_op *call);

#endif
