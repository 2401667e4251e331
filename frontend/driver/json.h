// Writing small JSON objects.
#ifndef VQ_DRIVER_JSON_H
#define VQ_DRIVER_JSON_H

#include "driver.h"
#include "vq/strbuf.h"

// Zero-initialise; json_write frees it.
typedef struct json {
  vq_strbuf text;
  unsigned depth;
  bool first;  // the next member is the object's first
} json;

// An object; without a key the outermost one, or an element of a list.
void json_begin(json *j, const char *key_or_null);
void json_end(json *j);
void json_begin_list(json *j, const char *key);  // of objects
void json_end_list(json *j);
void json_int(json *j, const char *key, int64_t v);
void json_number(json *j, const char *key, double v);  // not finite: null
void json_counts(json *j, const char *key, const int64_t *v, unsigned n);  // a list
void json_text(json *j, const char *key, const char *v);

// Writes the object to `path` and frees it.
VQ_NODISCARD vq_status json_write(json *j, const char *path, driver *d);

#endif
