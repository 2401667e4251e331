// Shared by pipeline.c, manager.c and instrument.c.
#ifndef VQ_MANAGER_H
#define VQ_MANAGER_H

#include "vq/strbuf.h"
#include "vq/text.h"

#include "passes.h"

// One pass of a pipeline with its options, as struct and as text.
typedef struct vq_pass_item {
  const vq_pass *pass;
  void *opts;          // pass->opts_size bytes
  vq_str *value;       // canonical text of each option
} vq_pass_item;

struct vq_pipeline {
  vq_ctx *ctx;
  vq_arena arena;
  vq_pass_item *item;
  unsigned n;
};

// "name" or "name{key=value ...}", options at their default left out.
void vq_pass_item_print(vq_strbuf *out, const vq_pass_item *it);

// Stores `text` as option `i`; returns NULL or, in words, what was expected.
const char *vq_pass_option_set(vq_pipeline *p, vq_pass_item *it, unsigned i,
                               vq_str text);

// The same without a pipeline: whether `text` would do.
const char *vq_pass_option_check(vq_ctx *ctx, const vq_opt_desc *o, vq_str text);

// Reports a name that is no pass, with the nearest one. Returns VQ_ERR.
vq_status vq_pass_unknown(vq_diag *diag, vq_loc loc, vq_str name);

// ---- instrument.c -------------------------------------------------------------

typedef struct vq_watch {
  const vq_instrument *ins;
  const vq_pipeline *pipeline;
  vq_module *m;
  vq_diag *diag;
  vq_blob_writer *blobs;  // of print_to
  vq_module *before;      // what a reproducer would show
  unsigned at;            // the running pass
} vq_watch;

// Checks the instrument's pass names and opens its directory.
vq_status vq_watch_open(vq_watch *w);
vq_status vq_watch_before(vq_watch *w);
vq_status vq_watch_after(vq_watch *w, bool changed);
// Writes the reproducer for the pass that has just failed verification.
void vq_watch_failed(vq_watch *w);
// Completes what was written, also after a failure.
vq_status vq_watch_close(vq_watch *w);

#endif
