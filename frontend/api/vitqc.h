/* Compiling vision transformers from within a program.
 *
 *   const char *option[] = {"-O1", "--batch=8"};
 *   vitqc_source model = {sizeof model, "model.onnx", NULL, 0};
 *   vitqc_buffer so;
 *   vitqc_host host = {sizeof host};
 *   host.message = show;
 *   if (vitqc_compile(&model, option, 2, &host, &so) == VITQC_GOOD) {
 *     fwrite(so.data, 1, so.size, file);
 *     vitqc_free(&so);
 *   }
 *
 * The library prints nothing, installs no signal handlers, never ends the process and
 * keeps no state between calls; any number of threads may call it at once. What it has
 * to say goes through the callbacks of vitqc_host: during the call, one after another,
 * mostly on the calling thread but, while calibration pictures are made, also on threads
 * that the call waits for. Loaded passes (--load-pass-plugin) are code of their own.
 * Numbers in options and texts are written as in the C locale, whatever the caller's.
 * Needs stddef.h and stdint.h, C99 or C++. Link with -lvitqc.
 *
 * Structures begin with their size, which the caller sets, and grow at their end only.
 */
#ifndef VITQC_H
#define VITQC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VITQC_API __attribute__((visibility("default")))

/* Raised with every addition; vitqc_api_version() is the library's. */
#define VITQC_API_VERSION 1u

/* Results of a call; also the exit codes of the vitqc command. */
enum vitqc_result {
  VITQC_GOOD = 0,
  VITQC_ERROR = 1,        /* of the model, an option's value, a file: see the messages */
  VITQC_USAGE = 2,        /* the options do not make sense */
  VITQC_FAULT = 70,       /* of the compiler, or no memory; what it held is lost */
  VITQC_INTERRUPTED = 130 /* vitqc_host.progress said so */
};

enum vitqc_severity {
  VITQC_SEVERITY_NOTE = 0, /* belongs to the message before it */
  VITQC_SEVERITY_WARNING = 1,
  VITQC_SEVERITY_ERROR = 2
};

/* One diagnostic. Texts are UTF-8 and live until the callback returns. Bytes of names
 * and texts of the input that could steer a terminal are escaped. */
typedef struct vitqc_message {
  uint32_t size;      /* of this struct */
  uint32_t severity;  /* vitqc_severity */
  const char *code;   /* "shape", "not-onnx", ...; "" for notes */
  const char *place;  /* "x.vq:3:14", "m.onnx:#41(/blocks.0/attn/MatMul)"; "" if unknown */
  const char *text;
  const char *path;   /* the file that `place` names, "vitqc" for options; "" if unknown */
  uint32_t line, column;  /* in IR text, recipes and pipelines, from 1; 0 if unknown */
  const char *rendered;   /* all of it as vitqc prints it, with the line of source */
} vitqc_message;

enum vitqc_flag {
  VITQC_COLOR = 1,  /* `rendered` holds escape sequences for a terminal */
  VITQC_SUMMARY = 2 /* print what was compiled, in a few lines, as to a terminal */
};

/* Who calls. Anything but `size` may be 0. */
typedef struct vitqc_host {
  uint32_t size;   /* sizeof(vitqc_host) */
  uint32_t flags;  /* vitqc_flag */
  void *user;      /* handed to the callbacks */

  void (*message)(void *user, const vitqc_message *m);

  /* Text that was asked for: results and, with is_log = 1, what the command writes to
   * standard error (-v, --stats, --print-after, ...). Not NUL-terminated. */
  void (*print)(void *user, int is_log, const char *text, size_t n);

  /* Called often during long work, of which `done` of `total` steps are done. `what` is
   * a pass or stage, "" with -q. Another result than 0 ends the call with
   * VITQC_INTERRUPTED as soon as possible, and no output is written. */
  int (*progress)(void *user, const char *what, int64_t done, int64_t total);

  /* A temporary file or folder will be made (live = 1), is gone or has become an output
   * (0). A process that may be killed by a signal can remove those that are left. */
  void (*temporary)(void *user, const char *path, int live);
} vitqc_host;

/* A model: a file or bytes in memory, ONNX or IR text, which is told by its content. */
typedef struct vitqc_source {
  uint32_t size;     /* sizeof(vitqc_source) */
  /* The file to read or, with `data`, a name for messages, whose folder holds the
   * model's external data; "" or NULL then: there is no such folder. The name up to its
   * last dot is the model's. */
  const char *path;
  const void *data;  /* NULL: read `path` */
  size_t n_data;     /* bytes */
} vitqc_source;

/* Release with vitqc_free. */
typedef struct vitqc_buffer {
  void *data;
  size_t size;
} vitqc_buffer;

/* "0.1.0", and the LLVM that generates code, "19.1.7". */
VITQC_API const char *vitqc_version(void);
VITQC_API const char *vitqc_llvm_version(void);
VITQC_API uint32_t vitqc_api_version(void);

/* Compiles `model`. Options are written as for the command, "-O1" or "--batch=8", a
 * value apart from its option in an element of its own; response files and other words
 * that are no option are errors. `host` may be NULL. With `out` the result goes there
 * and "-o" may not be given; IR text comes without its large constants, as on standard
 * output. Without, an option "-o" names the file. Returns a vitqc_result; unless it is
 * VITQC_GOOD, *out is empty and no file was written. */
VITQC_API int vitqc_compile(const vitqc_source *model, const char *const *option,
                            size_t n_option, const vitqc_host *host, vitqc_buffer *out);
VITQC_API void vitqc_free(vitqc_buffer *buffer); /* makes it empty; NULL is allowed */

/* Does what the command `vitqc arg...` does: compiles, or any of its other commands.
 * Returns its exit code: a vitqc_result or what the command defines instead. */
VITQC_API int vitqc_command(const char *const *arg, size_t n_arg, const vitqc_host *host);

#ifdef __cplusplus
}
#endif
#endif
