// What the parts of the importer share: values, frames, nodes, emission.
//
// A vq_ox_val stands for one ONNX value. It is a constant (`data` set), a
// value of @main under construction (`v` set), a sequence, or an output that
// was left out on purpose (`missing` says why). Every shape is known, so
// vq_ox_emit can decide at once: operands all constant means evaluate now,
// anything else means append an op. Shape code thereby never reaches the IR,
// and handlers need no second form for constants.
//
// Functions that return vq_ox_val* return NULL after a diagnostic and pass
// NULL operands on, so that a chain needs one check at its end.
#ifndef VQ_ONNX_IMPORT_H
#define VQ_ONNX_IMPORT_H

#include "datafile.h"
#include "onnx.pb-c.h"
#include "vq/build.h"
#include "vq/onnx.h"

typedef struct vq_ox_val {
  const vq_type *type;
  const void *data;     // constant: aligned, `type` many bytes
  vq_value *v;          // run-time value, or the constant once it is used
  vq_str name;          // ONNX name; may be empty
  bool keep;            // `data` lives as long as the module
  const char *missing;  // not NULL: using this value is an error
  struct vq_ox_val **elem;  // a sequence: `type` is NULL
  uint32_t n_elem;
  const Onnx__TensorProto *pending;  // initializer not decoded yet
  bool once;  // nothing else will read its bytes of the file
} vq_ox_val;

// A scope of names: the graph, a branch of If (sees its parent), or the body
// of a model-local function (does not).
typedef struct vq_ox_frame {
  vq_map names;  // ONNX name -> vq_ox_val*
  struct vq_ox_frame *parent;
  const Onnx__FunctionProto *function;  // NULL: a graph
  struct vq_ox_node *caller;            // of the function or branch
  Onnx__OperatorSetIdProto **opset;
  size_t n_opset;
  unsigned depth;
} vq_ox_frame;

typedef struct vq_ox {
  vq_ctx *ctx;
  vq_diag *diag;
  vq_module *m;
  vq_func *main;
  vq_arena tmp;  // values, folded data; gone after the import
  const vq_onnx_options *opt;
  const char *path;  // NULL: bytes without a file
  vq_str shown_path;
  vq_datafile file;
  struct vq_ox_known *external;  // files of external data seen so far
  bool checksum_told;
  bool file_stays;  // the module owns `file`: constants may point into it
  Onnx__ModelProto *model;
  vq_map functions;  // "domain\nname" -> FunctionProto
  vq_map ops;        // ONNX op name -> first row of its table entries
  vq_str batch_symbol;  // the first input's symbolic first dimension, or ""
  uint64_t work, max_work;    // units spent and allowed while folding
  uint64_t made, max_made;    // bytes made by folding and decoding
  uint64_t max_fold;          // largest single folded tensor
  vq_onnx_summary *summary;
} vq_ox;

struct vq_ox_row;

// A node being imported.
typedef struct vq_ox_node {
  vq_ox *ox;
  vq_ox_frame *frame;
  const Onnx__NodeProto *proto;
  const struct vq_ox_row *row;
  int64_t opset;
  vq_loc loc;
  uint64_t index;  // of the node, or of the outermost call around it
  unsigned n_in, n_out;
  vq_ox_val **in;  // NULL: left out
  vq_ox_val **out;
  bool refused;  // and told so
} vq_ox_node;

typedef vq_status (*vq_ox_handler)(vq_ox_node *nd);

// One row of import.def.
typedef struct vq_ox_row {
  const char *domain, *op;
  int64_t since;
  vq_ox_handler handler;
  int arg;  // the handler's own, mostly an opcode
  unsigned min_in, max_in;
  const char *attrs;  // accepted attributes, separated by blanks
} vq_ox_row;

enum { VQ_OX_ANY = 0xffff };  // max_in: no limit

// Why an operator is refused: `arg` of its row.
enum {
  VQ_REFUSE_QUANTIZED,
  VQ_REFUSE_POOL,
  VQ_REFUSE_LOOP,
  VQ_REFUSE_RANDOM
};

#define ONNX(domain, op, since, handler, arg, min_in, max_in, attrs, doc) \
  vq_status vq_onnx_##handler(vq_ox_node *nd);
#include "import.def"
#undef ONNX

// ---- import.c: graphs ------------------------------------------------------
// A file of `bytes` raises what may be spent.
void vq_ox_allow(vq_ox *ox, uint64_t bytes);
// Imports the nodes of one graph or function body into `frame`.
VQ_NODISCARD vq_status vq_ox_nodes(vq_ox *ox, vq_ox_frame *frame,
                                   Onnx__NodeProto **node, size_t n,
                                   const vq_ox_node *outer);
VQ_NODISCARD vq_status vq_ox_initializers(vq_ox *ox, vq_ox_frame *frame,
                                          const Onnx__GraphProto *g);
vq_ox_val *vq_ox_lookup(const vq_ox_frame *frame, vq_str name);
// Binds `name`; an error when it is taken.
VQ_NODISCARD vq_status vq_ox_define(vq_ox *ox, vq_ox_frame *frame, vq_loc loc,
                                    vq_str name, vq_ox_val *v);

// ---- input.c ---------------------------------------------------------------
// Creates @main with the model's inputs and binds them.
VQ_NODISCARD vq_status vq_ox_inputs(vq_ox *ox, vq_ox_frame *frame,
                                    const Onnx__GraphProto *g);
// Checks the results against the declared outputs.
VQ_NODISCARD vq_status vq_ox_check_output(vq_ox *ox, vq_loc loc,
                                          const Onnx__ValueInfoProto *info,
                                          const vq_type *found);

// ---- initializer.c ---------------------------------------------------------
// The element type that ONNX's `data_type` becomes; false when it has none.
bool vq_ox_dtype(int32_t data_type, vq_dtype *out);
const char *vq_ox_data_type_name(int32_t data_type);
// Type and size checks only; the data is decoded when it is first used.
vq_ox_val *vq_ox_tensor_declare(vq_ox *ox, vq_loc loc,
                                const Onnx__TensorProto *t);
VQ_NODISCARD vq_status vq_ox_tensor_decode(vq_ox *ox, vq_loc loc,
                                           vq_ox_val *v);

// ---- function.c: model-local functions -------------------------------------
VQ_NODISCARD vq_status vq_ox_functions(vq_ox *ox);
const Onnx__FunctionProto *vq_ox_function(const vq_ox *ox, vq_str domain,
                                          vq_str name);
VQ_NODISCARD vq_status vq_ox_call(vq_ox_node *nd,
                                  const Onnx__FunctionProto *f);

// ---- node.c: attributes and operands ---------------------------------------
// Emits "Reshape: ..." at the node, once: what a handler still tries behind its
// first failure fails for the same reason. Returns VQ_ERR.
vq_status vq_ox_fail(vq_ox_node *nd, vq_code code, const char *fmt, ...)
    VQ_PRINTF(3, 4);
const Onnx__AttributeProto *vq_ox_attr(const vq_ox_node *nd, const char *name);
// Each leaves *io alone when the attribute is absent.
VQ_NODISCARD vq_status vq_ox_attr_i64(vq_ox_node *nd, const char *name,
                                      int64_t *io);
VQ_NODISCARD vq_status vq_ox_attr_flag(vq_ox_node *nd, const char *name,
                                       bool *io);
VQ_NODISCARD vq_status vq_ox_attr_f32(vq_ox_node *nd, const char *name,
                                      float *io);
VQ_NODISCARD vq_status vq_ox_attr_str(vq_ox_node *nd, const char *name,
                                      vq_str *io);
VQ_NODISCARD vq_status vq_ox_attr_ints(vq_ox_node *nd, const char *name,
                                       vq_ints *io);
// True when operand `i` is present.
bool vq_ox_has(const vq_ox_node *nd, unsigned i);
// Operand `i` as a list of integers known now. `what` names it in messages.
VQ_NODISCARD vq_status vq_ox_ints(vq_ox_node *nd, unsigned i, const char *what,
                                  vq_ints *out);
VQ_NODISCARD vq_status vq_ox_scalar_i64(vq_ox_node *nd, unsigned i,
                                        const char *what, int64_t *out);
VQ_NODISCARD vq_status vq_ox_scalar_f32(vq_ox_node *nd, unsigned i,
                                        const char *what, float *out);
VQ_NODISCARD vq_status vq_ox_need_const(vq_ox_node *nd, unsigned i,
                                        const char *what);
// The list from attribute `name`, or from operand `i` when there is none;
// *found tells whether there was either.
VQ_NODISCARD vq_status vq_ox_ints_either(vq_ox_node *nd, const char *name,
                                         unsigned i, vq_ints *out,
                                         bool *found);
// Brings a possibly negative axis into [0, rank).
VQ_NODISCARD vq_status vq_ox_axis(vq_ox_node *nd, int64_t *io, unsigned rank);
// Binds result `i`; VQ_ERR when `v` is NULL.
VQ_NODISCARD vq_status vq_ox_result(vq_ox_node *nd, unsigned i, vq_ox_val *v);
// Binds result `i`, if the node names it, to an error that says `why`.
void vq_ox_no_result(vq_ox_node *nd, unsigned i, const char *why);
const vq_ox_row *vq_ox_find_row(vq_ox *ox, vq_str domain, vq_str op,
                                int64_t opset, int64_t *first_since);
void vq_ox_table_init(vq_ox *ox);
int64_t vq_ox_arg(const vq_ox_node *nd);

// ---- emit.c ----------------------------------------------------------------
vq_ox_val *vq_ox_val_new(vq_ox *ox, const vq_type *type);
// Known at compile time. Decodes nothing.
static inline bool vq_ox_is_const(const vq_ox_val *v) {
  return v && (v->data || v->pending);
}
// Makes sure that `v` is a tensor and, when constant, decoded.
VQ_NODISCARD vq_status vq_ox_ready(vq_ox *ox, vq_loc loc, vq_ox_val *v);
// `name` with only [A-Za-z0-9_.], without an exporter's "_output_0".
vq_str vq_ox_clean_name(vq_ox *ox, vq_str name);
// A constant with room for the caller to fill through *data.
vq_ox_val *vq_ox_const(vq_ox_node *nd, vq_dtype dtype, unsigned rank,
                       const int64_t *dim, void **data);
vq_ox_val *vq_ox_f32(vq_ox_node *nd, float v);
vq_ox_val *vq_ox_fill(vq_ox_node *nd, const vq_type *type, double v);
vq_ox_val *vq_ox_vec_i64(vq_ox_node *nd, unsigned n, const int64_t *v);
// Adds to the work done while folding; an error past the limit. The unit is a step
// of vq_op_steps; an element that the importer itself reads or computes takes
// VQ_OX_FILL_WORK.
enum { VQ_OX_FILL_WORK = 4 };
VQ_NODISCARD vq_status vq_ox_spend(vq_ox_node *nd, uint64_t units);
// Adds to the memory made; an error past the limit.
VQ_NODISCARD vq_status vq_ox_reserve(vq_ox_node *nd, int64_t bytes);
// The IR value of `v`; makes the module constant on first use.
vq_value *vq_ox_value(vq_ox *ox, vq_loc loc, vq_ox_val *v);

vq_ox_val *vq_ox_emit(vq_ox_node *nd, vq_opcode code, const void *attrs,
                      unsigned n_in, vq_ox_val *const *in);
vq_ox_val *vq_ox_op1(vq_ox_node *nd, vq_opcode code, vq_ox_val *x);
vq_ox_val *vq_ox_op2(vq_ox_node *nd, vq_opcode code, vq_ox_val *a,
                     vq_ox_val *b);
vq_ox_val *vq_ox_select(vq_ox_node *nd, vq_ox_val *c, vq_ox_val *a,
                        vq_ox_val *b);
// These return `x` itself when they would change nothing.
vq_ox_val *vq_ox_to_dtype(vq_ox_node *nd, vq_ox_val *x, vq_dtype dtype);
vq_ox_val *vq_ox_reshape(vq_ox_node *nd, vq_ox_val *x, unsigned rank,
                         const int64_t *dim);
vq_ox_val *vq_ox_transpose(vq_ox_node *nd, vq_ox_val *x, const int64_t *perm);
vq_ox_val *vq_ox_swap_last(vq_ox_node *nd, vq_ox_val *x);
vq_ox_val *vq_ox_expand_to(vq_ox_node *nd, vq_ox_val *x, unsigned rank,
                           const int64_t *dim);
vq_ox_val *vq_ox_slice_axis(vq_ox_node *nd, vq_ox_val *x, unsigned axis,
                            int64_t begin, int64_t size, int64_t step);
vq_ox_val *vq_ox_take(vq_ox_node *nd, vq_ox_val *x, vq_ox_val *index,
                      unsigned axis);
// Elements begin, begin + step, ... (`n` of them, any step) along `axis`.
vq_ox_val *vq_ox_take_range(vq_ox_node *nd, vq_ox_val *x, unsigned axis,
                            int64_t begin, int64_t n, int64_t step);
vq_ox_val *vq_ox_join(vq_ox_node *nd, unsigned n, vq_ox_val *const *x,
                      unsigned axis);
vq_ox_val *vq_ox_matmul(vq_ox_node *nd, vq_ox_val *a, vq_ox_val *b);
vq_ox_val *vq_ox_scale(vq_ox_node *nd, vq_ox_val *x, float factor);
vq_ox_val *vq_ox_reduce(vq_ox_node *nd, vq_opcode code, vq_ox_val *x,
                        vq_ints axes, bool keep);

// ---- nn.c ------------------------------------------------------------------
// LayerNorm over the last dimension; gamma and beta may be NULL.
vq_ox_val *vq_ox_norm_last(vq_ox_node *nd, vq_ox_val *x, vq_ox_val *gamma,
                           vq_ox_val *beta, float eps);
vq_ox_val *vq_ox_softmax_axis(vq_ox_node *nd, vq_ox_val *x, int64_t axis);

#endif
