/* clip-gelu: bounds what activation functions give.
 *
 * A few channels of some vision transformers reach values far beyond all others. A
 * quantizer that must cover them has few codes left for the rest; whether a model
 * stands a bound can be tried with this pass and `vitqc eval`.
 *
 *   vitqc M.onnx --load-pass-plugin=./clip.so \
 *     --passes='fold,recompose,cse,dce,clip-gelu{most=20}' -o clipped.so */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <vq/plugin.h>

/* Everything that read the result of `op` reads that of a clip behind it. */
static int clip_result(const vq_host *host, vq_call *call, vq_op *op, double most) {
  vq_value *y = host->result(op, 0);
  const vq_attr hi = {.name = "hi", .kind = VQ_ATTR_IS_REAL, .f = most};
  vq_value *clipped =
      host->build(call, host->next_op(op), "clip", 1, &y, 1, &hi, "clipped");
  if (!clipped) return 0;
  vq_op *clip = host->definition(clipped);
  /* Setting an operand takes it out of the uses of y, so the first that is not the
   * clip itself is always the next one. */
  for (size_t i = 0; i < host->uses(y);) {
    size_t index;
    vq_op *user = host->user(y, i, &index);
    if (user == clip) {
      i++;
      continue;
    }
    if (!host->set_operand(call, user, index, clipped)) return 0;
  }
  return 1;
}

static int clip_gelu(const vq_host *host, vq_call *call) {
  double most = host->option_real(call, "most");
  if (!(most > 0)) {
    char text[100];
    snprintf(text, sizeof text, "option 'most' of clip-gelu is %g, expected more than 0",
             most);
    host->report(call, VQ_LEVEL_ERROR, NULL, text);
    return 1;
  }
  vq_op *next;
  for (vq_op *op = host->first_op(host->function(call, "main")); op; op = next) {
    next = host->next_op(op); /* a clip that is new is not looked at */
    if (strcmp(host->op_name(op), "gelu")) continue;
    if (!clip_result(host, call, op, most)) return 1;
    host->count(call, "activations clipped", 1);
  }
  return 0;
}

static const vq_plugin_option options[] = {
    {"most", "largest value that stays as it is", VQ_OPTION_IS_REAL, "8", NULL},
};

static const vq_plugin_pass passes[] = {
    {"clip-gelu", "bounds the results of gelu", clip_gelu, options, 1},
};

static const vq_plugin plugin = {
    VQ_PLUGIN_ABI, sizeof(vq_plugin), sizeof(vq_plugin_pass), sizeof(vq_plugin_option),
    "clip",        "1.0",             passes,                 1,
};

const vq_plugin *vq_plugin_query(uint32_t host_abi) {
  return host_abi >= VQ_PLUGIN_ABI ? &plugin : NULL;
}
