// Basic vocabulary of the whole compiler: strings, status, locations, attributes.
//
// Nothing here allocates. The compiler dies on out-of-memory through
// vq_oom(); only the runtime returns a status for that.
#ifndef VQ_BASE_H
#define VQ_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// A view of bytes, not NUL-terminated, never owned.
typedef struct vq_str {
  const char *p;
  size_t n;
} vq_str;

// VQ_ERR always means: a diagnostic has been emitted.
typedef enum vq_status { VQ_OK, VQ_ERR } vq_status;

// A source location, decoded by the context's source map; 0 is "unknown".
typedef struct vq_loc {
  uint32_t id;
} vq_loc;

#define VQ_NODISCARD __attribute__((warn_unused_result))
#define VQ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define VQ_COUNT(array) (sizeof(array) / sizeof(*(array)))
#define VQ_LIT(s) ((vq_str){"" s, sizeof(s) - 1})
#define VQ_FMT(s) (int)(s).n, (s).p  // for "%.*s"

static inline vq_str vq_str_of(const char *z) {
  return (vq_str){z, z ? strlen(z) : 0};
}

static inline bool vq_str_eq(vq_str a, vq_str b) {
  return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool vq_str_is(vq_str a, const char *z) {
  return vq_str_eq(a, vq_str_of(z));
}

// True when `s` begins with `prefix`.
static inline bool vq_str_starts(vq_str s, vq_str prefix) {
  return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

// Reports that `bytes` could not be allocated and exits with code 70.
_Noreturn void vq_oom(size_t bytes);

// Reports a fault of the compiler itself (never of its input) and aborts after
// running the reproducer hook, if one is installed. Use through VQ_BUG.
_Noreturn void vq_bug(const char *file, int line, const char *fmt, ...)
    VQ_PRINTF(3, 4);
#define VQ_BUG(...) vq_bug(__FILE__, __LINE__, __VA_ARGS__)

// Called once by vq_bug before the process aborts; may be NULL.
void vq_bug_hook(void (*hook)(void *user), void *user);

typedef struct vq_ctx vq_ctx;
typedef struct vq_diag vq_diag;
typedef struct vq_arena vq_arena;
typedef struct vq_strbuf vq_strbuf;
typedef struct vq_type vq_type;
typedef struct vq_quant vq_quant;
typedef struct vq_module vq_module;
typedef struct vq_func vq_func;
typedef struct vq_op vq_op;
typedef struct vq_value vq_value;
typedef struct vq_use vq_use;
typedef struct vq_const vq_const;

#endif
