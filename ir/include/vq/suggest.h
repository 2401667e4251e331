// "did you mean ...?": the known name nearest to a misspelt one.
//
//   vq_suggest s = vq_suggest_start(word);
//   for each known name: vq_suggest_offer(&s, name);
//   if (s.best) ... "; did you mean '%s'?"
#ifndef VQ_SUGGEST_H
#define VQ_SUGGEST_H

#include "vq/base.h"

typedef struct vq_suggest {
  vq_str word;
  const char *best;   // borrowed from an offer; NULL: nothing is near enough
  unsigned distance;  // of best, or the first distance that is too far
} vq_suggest;

vq_suggest vq_suggest_start(vq_str word);
void vq_suggest_offer(vq_suggest *s, const char *name);

#endif
