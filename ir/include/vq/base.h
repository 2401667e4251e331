// Basic vocabulary of the whole compiler: strings, status, locations, attributes.
//
// Nothing here allocates. The compiler ends on out-of-memory through vq_oom(): the
// process, or what runs inside vq_guarded. Only the runtime returns a status for that.
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

// Ways of the compiler to end that are not its input's fault.
typedef enum vq_fault { VQ_FAULT_MEMORY = 1, VQ_FAULT_BUG } vq_fault;

// `bytes` could not be allocated.
_Noreturn void vq_oom(size_t bytes);

// A fault of the compiler itself. Use through VQ_BUG.
_Noreturn void vq_bug(const char *file, int line, const char *fmt, ...)
    VQ_PRINTF(3, 4);
#define VQ_BUG(...) vq_bug(__FILE__, __LINE__, __VA_ARGS__)

// What both of them do: outside of vq_guarded, print `text` and end the process, with
// exit code 70 or, after a bug, by abort(). A bug runs the hook in between.
_Noreturn void vq_fault_raise(vq_fault kind, const char *text);

// Called once by a bug on this thread; may be NULL. Each vq_guarded starts without one and
// puts its caller's back.
void vq_bug_hook(void (*hook)(void *user), void *user);

// Calls fn(user) and returns true, or false when a fault on this thread ended it. Then
// tell(user, ...) has been called, unless there was no memory for that either, and what
// `fn` had allocated is lost. Calls may be nested.
bool vq_guarded(void (*fn)(void *user), void *user,
                void (*tell)(void *user, vq_fault kind, const char *text));

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
