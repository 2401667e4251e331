// What quantization does to each layer, measured on calibration samples.
//
// Three models run on every sample: the float one; the one with its quantizers, as
// lower-int will compute it; and every layer by itself with the codes of its own
// operands, on what the float model gives it.
#ifndef VQ_MEASURE_H
#define VQ_MEASURE_H

#include "vq/compare.h"
#include "vq/exec.h"
#include "vq/ir.h"
#include "vq/rules.h"

enum { VQ_MEASURE_CELLS = 32 };

// Values and the codes they get.
typedef struct vq_measured_codes {
  int bits;            // 0: floats
  double least, most;  // of the values
  double saturated;    // share of the values beyond the range of the codes
  double dead;         // share of the codes that no value has
  double spread;       // largest over median range of channels; 1: there is one channel
  int64_t cell[VQ_MEASURE_CELLS];  // counts of values from least to most
} vq_measured_codes;

typedef struct vq_measured {
  vq_layer layer;
  double sqnr_alone;  // dB, with nothing but this layer's codes; residual: infinite
  double sqnr;        // dB, in the quantized model
  double cosine;      // in the quantized model
  int64_t params;     // of its weights
  int64_t macs;       // a sample
  vq_measured_codes weights, input;  // input: of attn.qk its q; of attn.av v
} vq_measured;

typedef struct vq_measures {
  vq_measured *layer;  // in program order
  unsigned n;
  int64_t n_sample;
  vq_rows result;  // rows of the model's first result
} vq_measures;

// One model at three times. `plain`: in front of insert-quantizers, which is where rules
// know its layers from; `before`: when scales of activations are known and weights are
// still floats; `after`: when these are codes.
typedef struct vq_measured_model {
  const vq_module *plain, *before, *after;
} vq_measured_model;

// At most `n_most` samples of `exec` are used. Results live in `arena`.
VQ_NODISCARD vq_status vq_measure(const vq_measured_model *of, vq_exec *exec,
                                  int64_t n_most, vq_arena *arena, vq_diag *diag,
                                  vq_measures *out);

#endif
