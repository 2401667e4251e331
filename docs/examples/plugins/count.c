/* count-ops: how many ops of each kind a model has, and the weights they read.
 *
 *   vitqc M.onnx --load-pass-plugin=./count.so --stats \
 *     --passes=fold,recompose,cse,dce,count-ops --emit=ir -o /dev/null */
#include <string.h>

#include <vq/plugin.h>

static int count_ops(const vq_host *host, vq_call *call) {
  int all = host->option_flag(call, "kernels");
  vq_func *f = all ? host->first_function(call) : host->function(call, "main");
  for (; f; f = all ? host->next_function(f) : NULL)
    for (vq_op *op = host->first_op(f); op; op = host->next_op(op)) {
      host->count(call, host->op_name(op), 1);
      for (size_t i = 0; i < host->operands(op); i++) {
        vq_value *v = host->operand(op, i);
        if (v && host->is_constant(v))
          host->count(call, "numbers read from constants", host->elements(v));
      }
    }
  return 0;
}

static const vq_plugin_option options[] = {
    {"kernels", "count in fused kernels as well", VQ_OPTION_IS_FLAG, "false", NULL},
};

static const vq_plugin_pass passes[] = {
    {"count-ops", "counts ops by name, for --stats", count_ops, options, 1},
};

static const vq_plugin plugin = {
    VQ_PLUGIN_ABI, sizeof(vq_plugin), sizeof(vq_plugin_pass), sizeof(vq_plugin_option),
    "count",       "1.0",             passes,                 1,
};

const vq_plugin *vq_plugin_query(uint32_t host_abi) {
  return host_abi >= VQ_PLUGIN_ABI ? &plugin : NULL;
}
