// The C header of a compiled model.
#ifndef VQ_BACKEND_HEADER_H
#define VQ_BACKEND_HEADER_H

#include "layout.h"
#include "vq/strbuf.h"

void vq_header_write(vq_strbuf *out, const vq_layout *layout);

#endif
