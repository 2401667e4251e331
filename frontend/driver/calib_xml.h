// Reading the XML files of a folder of calibration pictures.
//
// Such a file may come from anybody: nothing is loaded from elsewhere, a document type
// declaration is refused, and with it all entities.
#ifndef VQ_DRIVER_CALIB_XML_H
#define VQ_DRIVER_CALIB_XML_H

#include "driver.h"

struct _xmlDoc;
struct _xmlNode;

typedef struct calib_xml {
  driver *d;
  const char *path;
  const char *what;  // it should be, in messages: "no WHAT: ..."
  struct _xmlDoc *doc;
  struct _xmlNode *root;
} calib_xml;

// Reads `path`, whose root has to be `root` with this version. Whatever it returns,
// calib_xml_close ends it.
VQ_NODISCARD vq_status calib_xml_open(driver *d, const char *path, const char *what,
                                      const char *root, int64_t version, calib_xml *out);
void calib_xml_close(calib_xml *x);

// An error about the file.
VQ_PRINTF(2, 3) vq_status calib_xml_bad(const calib_xml *x, const char *fmt, ...);

// The value of an attribute, "" when there is none. In the driver's memory.
const char *calib_xml_text(const calib_xml *x, struct _xmlNode *node, const char *name);
// A whole number below `end`, or -1.
int64_t calib_xml_number(const calib_xml *x, struct _xmlNode *node, const char *name,
                         int64_t end);
// Whether `z` is a SHA-256 in hexadecimal digits.
bool calib_xml_is_digest(const char *z);
// Whether `z` is a word or options of passes, shorter than `most`.
bool calib_xml_is_word(const char *z, size_t most);

#endif
