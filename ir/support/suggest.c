// Nearest name by edit distance (insert, delete, replace, swap neighbours).
#include "vq/suggest.h"

#define MAX_WORD 48

static unsigned least(unsigned a, unsigned b) {
  return a < b ? a : b;
}

// Optimal string alignment; both words have at most MAX_WORD letters.
static unsigned edit_distance(vq_str a, vq_str b) {
  unsigned row[3][MAX_WORD + 1];
  for (unsigned j = 0; j <= b.n; j++) row[0][j] = j;
  for (unsigned i = 1; i <= a.n; i++) {
    unsigned *now = row[i % 3];
    const unsigned *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
    now[0] = i;
    for (unsigned j = 1; j <= b.n; j++) {
      bool same = a.p[i - 1] == b.p[j - 1];
      now[j] = least(least(up[j], now[j - 1]) + 1, up[j - 1] + !same);
      if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] &&
          a.p[i - 2] == b.p[j - 1])
        now[j] = least(now[j], up2[j - 2] + 1);
    }
  }
  return row[a.n % 3][b.n];
}

// A third of the letters may be wrong, and one always may.
vq_suggest vq_suggest_start(vq_str word) {
  unsigned n = word.n < MAX_WORD ? (unsigned)word.n : MAX_WORD;
  return (vq_suggest){.word = word, .distance = (n < 3 ? 1 : n / 3) + 1};
}

void vq_suggest_offer(vq_suggest *s, const char *name) {
  vq_str known = vq_str_of(name);
  if (s->word.n > MAX_WORD || known.n > MAX_WORD) return;
  unsigned d = edit_distance(s->word, known);
  if (d >= s->distance) return;
  s->distance = d;
  s->best = name;
}
