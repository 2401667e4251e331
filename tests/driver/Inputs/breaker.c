/* A plugin whose passes do what passes must not: it reaches behind the interface. */
#include <stdlib.h>
#include <string.h>
#include "vq/ir.h"
#include "vq/plugin.h"

static vq_op *find(const vq_host *host, vq_call *call, const char *name) {
  vq_op *op = host->first_op(host->function(call, "main"));
  while (op && strcmp(host->op_name(op), name)) op = host->next_op(op);
  return op;
}

/* A valid module that computes something else. */
static int wrong(const vq_host *host, vq_call *call) {
  vq_op *op = find(host, call, "silu");
  vq_value *x = op ? host->operand(op, 0) : NULL;
  vq_value *y = op ? host->build(call, op, "relu", 1, &x, 0, NULL, "rectified") : NULL;
  return op && !(y && host->replace(call, op, y));
}

/* An op whose result is not of the type that it has. */
static int invalid(const vq_host *host, vq_call *call) {
  vq_op *op = find(host, call, "silu");
  if (op) op->out->type = op->func->arg->type;
  return 0;
}

static int buggy(const vq_host *host, vq_call *call) {
  (void)host, (void)call;
  abort();
}

static const vq_plugin_pass passes[] = {
    {"wrong", "makes the first silu a relu", wrong, NULL, 0},
    {"invalid", "gives the first silu another type", invalid, NULL, 0},
    {"buggy", "ends as a fault of the compiler does", buggy, NULL, 0},
};

static const vq_plugin plugin = {
    VQ_PLUGIN_ABI, sizeof(vq_plugin), sizeof(vq_plugin_pass), sizeof(vq_plugin_option),
    "breaker",     "1.0",             passes,                 3,
};

const vq_plugin *vq_plugin_query(uint32_t host_abi) {
  return host_abi >= VQ_PLUGIN_ABI ? &plugin : NULL;
}
