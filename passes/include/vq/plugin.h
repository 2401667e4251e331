/* Passes that are loaded at run time: the stable interface between vitqc and a
 * plugin.
 *
 * A plugin is a shared object that exports one function, vq_plugin_query, and
 * returns data: names, options and functions of its passes. It links against
 * nothing; each pass receives a table of functions, vq_host, and does all its work
 * through them. This header needs stdint.h and stddef.h only.
 *
 * Tables grow at the end, and each begins with its size, so that a plugin built
 * against an older header works in a newer vitqc and the other way round. Ask for
 * what your header has and an older vitqc may lack with VQ_HOST_HAS. `abi` changes
 * only when that is not possible any more; then the plugin is refused.
 *
 * Handles (vq_op and so on) are the compiler's own objects. They stay valid while
 * the pass runs; an op until it is erased or replaced. Nothing has to be freed. All
 * strings are UTF-8. Unless said otherwise `n` bytes at `p` are followed by no NUL.
 *
 * What is wrong with a call (an unknown op or attribute, shapes that do not fit)
 * becomes a diagnostic for the user and is returned as NULL or 0, so that a pass may
 * go on and fail at its end.
 *
 * A plugin runs inside the compiler with all its rights: load only what you trust.
 *
 * docs/plugins.md builds a plugin step by step; docs/examples/plugins has three. */
#ifndef VQ_PLUGIN_H
#define VQ_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VQ_PLUGIN_ABI 1u

typedef struct vq_func vq_func;       /* @main, or a kernel */
typedef struct vq_op vq_op;           /* one operation */
typedef struct vq_value vq_value;     /* a result, an argument or a constant */
typedef struct vq_prepared vq_prepared; /* a function ready to run */
typedef struct vq_call vq_call;       /* this run of this pass */

typedef struct vq_text {
  const char *p;
  size_t n;
} vq_text;

typedef enum vq_attr_is {
  VQ_ATTR_IS_INT,  /* i */
  VQ_ATTR_IS_REAL, /* f */
  VQ_ATTR_IS_FLAG, /* i: 0 or 1 */
  VQ_ATTR_IS_TEXT, /* s */
  VQ_ATTR_IS_INTS  /* p, n */
} vq_attr_is;

/* An attribute of an op by name, as docs/ops.md lists them. */
typedef struct vq_attr {
  const char *name;
  vq_attr_is kind;
  int64_t i;
  double f;
  vq_text s;
  const int64_t *p;
  size_t n;
} vq_attr;

typedef enum vq_level { VQ_LEVEL_NOTE, VQ_LEVEL_WARNING, VQ_LEVEL_ERROR } vq_level;

typedef struct vq_host {
  uint32_t abi;  /* VQ_PLUGIN_ABI of vitqc */
  uint32_t size; /* bytes of this table in vitqc */

  /* ---- what the user said, what the user gets to see ---- */

  /* An option of this pass by name; of another kind or unknown: 0 after an error. */
  int64_t (*option_int)(vq_call *c, const char *name);
  double (*option_real)(vq_call *c, const char *name);
  int (*option_flag)(vq_call *c, const char *name);
  vq_text (*option_text)(vq_call *c, const char *name);
  /* Reports `text` at `op`'s place in the model (NULL: at none). A note belongs to
   * the message before it. After an error vitqc fails, whatever the pass returns. */
  void (*report)(vq_call *c, vq_level level, const vq_op *op, const char *text);
  /* Adds to a number that --stats shows; `name` stays the plugin's and must live as
   * long as the plugin is loaded. */
  void (*count)(vq_call *c, const char *name, int64_t n);
  /* Zeroed memory for the time of this run, aligned to 64 bytes. */
  void *(*memory)(vq_call *c, size_t bytes);

  /* ---- walking ---- */

  vq_func *(*function)(vq_call *c, const char *name); /* "main"; NULL: none */
  vq_func *(*first_function)(vq_call *c);
  vq_func *(*next_function)(vq_func *f); /* NULL after the last */
  vq_text (*function_name)(const vq_func *f);
  size_t (*arguments)(const vq_func *f); /* their number */
  vq_value *(*argument)(vq_func *f, size_t i);
  vq_op *(*first_op)(vq_func *f); /* in program order, the last is "return"; of NULL: NULL */
  vq_op *(*next_op)(vq_op *op);
  vq_op *(*previous_op)(vq_op *op);
  const char *(*op_name)(const vq_op *op); /* with a NUL, as in dumps: "linear" */
  vq_func *(*function_of)(const vq_op *op);
  size_t (*operands)(const vq_op *op);
  vq_value *(*operand)(const vq_op *op, size_t i); /* NULL: not given */
  size_t (*results)(const vq_op *op);
  vq_value *(*result)(const vq_op *op, size_t i);
  vq_op *(*definition)(const vq_value *v); /* NULL: an argument or a constant */
  size_t (*uses)(const vq_value *v);
  /* The op of use `i` in order of creation; `*operand_index` (if not NULL) is set. */
  vq_op *(*user)(const vq_value *v, size_t i, size_t *operand_index);

  /* ---- values ---- */

  vq_text (*value_name)(const vq_value *v); /* without sigil; may be empty */
  const char *(*dtype)(const vq_value *v);  /* with a NUL: "f32", "i8", ... */
  size_t (*rank)(const vq_value *v);
  int64_t (*dim)(const vq_value *v, size_t i);
  int64_t (*elements)(const vq_value *v);
  int (*is_constant)(const vq_value *v);
  /* Elements [first, first + n) of a constant as doubles; 0 after an error. */
  int (*read_constant)(vq_call *c, const vq_value *v, int64_t first, int64_t n,
                       double *out);
  /* A new constant of `dtype`; values are converted as by op cast. Names that are
   * taken get a suffix. */
  vq_value *(*constant)(vq_call *c, const char *name, const char *dtype, size_t rank,
                        const int64_t *dim, const double *value);

  /* ---- attributes ---- */

  /* Fills *out; 0 (and no error) when ops of this kind have none of that name. */
  int (*get_attr)(const vq_op *op, const char *name, vq_attr *out);
  /* Results must keep their types. */
  int (*set_attr)(vq_call *c, vq_op *op, const vq_attr *attr);

  /* ---- changing ---- */

  /* A new op in front of `before` with one result, whose type is inferred; attributes
   * that are not given have their defaults. Optional operands may be NULL at the end. */
  vq_value *(*build)(vq_call *c, vq_op *before, const char *op, size_t n_operand,
                     vq_value *const *operand, size_t n_attr, const vq_attr *attr,
                     const char *name);
  int (*set_operand)(vq_call *c, vq_op *op, size_t i, vq_value *v); /* same type */
  /* All uses of the single result of `op` become uses of `by`; `op` is erased. */
  int (*replace)(vq_call *c, vq_op *op, vq_value *by);
  int (*erase)(vq_call *c, vq_op *op); /* its results must be unused */
  int (*rename)(vq_call *c, vq_value *v, const char *name);

  /* ---- running ---- */

  /* Prepares `f` as it is now; NULL after an error. Release it before changing f. */
  vq_prepared *(*prepare)(vq_call *c, const vq_func *f);
  /* `in` and `out` are buffers in storage format for f's arguments and results. */
  int (*run)(vq_call *c, vq_prepared *p, const void *const *in, void *const *out);
  void (*release)(vq_call *c, vq_prepared *p);
  /* Calibration samples (--calib) and one of them, an f32 input of @main without the
   * batch. */
  int64_t (*samples)(vq_call *c);
  int (*sample)(vq_call *c, int64_t i, float *out);
} vq_host;

/* Whether the vitqc at hand has `field`; always true for what abi 1 began with. */
#define VQ_HOST_HAS(host, field) \
  ((host)->size >= offsetof(vq_host, field) + sizeof((host)->field))

typedef enum vq_option_is {
  VQ_OPTION_IS_INT,
  VQ_OPTION_IS_REAL,
  VQ_OPTION_IS_FLAG,
  VQ_OPTION_IS_TEXT
} vq_option_is;

typedef struct vq_plugin_option {
  const char *name, *help;
  vq_option_is kind;
  const char *value;   /* when not given, as it would be typed */
  const char *choices; /* TEXT: "a|b|c", or NULL for anything */
} vq_plugin_option;

typedef struct vq_plugin_pass {
  const char *name, *help; /* name: [a-z0-9-]+, not that of another pass */
  /* Returns 0 when all is well. Keeps nothing from one run to the next. */
  int (*run)(const vq_host *host, vq_call *call);
  const vq_plugin_option *option;
  uint32_t n_option; /* at most 64 */
} vq_plugin_pass;

/* What vq_plugin_query returns: lives as long as the plugin. */
typedef struct vq_plugin {
  uint32_t abi;         /* VQ_PLUGIN_ABI */
  uint32_t size;        /* sizeof(vq_plugin) */
  uint32_t pass_size;   /* sizeof(vq_plugin_pass) */
  uint32_t option_size; /* sizeof(vq_plugin_option) */
  const char *name, *version;
  const vq_plugin_pass *pass;
  uint32_t n_pass;
} vq_plugin;

#if defined(__GNUC__)
#define VQ_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define VQ_PLUGIN_EXPORT
#endif

/* The one exported symbol. NULL: this plugin cannot work with `host_abi`. */
typedef const vq_plugin *vq_plugin_query_fn(uint32_t host_abi);
VQ_PLUGIN_EXPORT const vq_plugin *vq_plugin_query(uint32_t host_abi);

#ifdef __cplusplus
}
#endif

#endif
