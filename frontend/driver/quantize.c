// What the options of quantization say to the passes of a level.
#include "quantize.h"

#include "calib.h"
#include "vq/bits.h"

// How much wider than seen the ranges of activations of 3 to 8 bits are made. A
// few pictures do not show all there is of a norm's output; made ones and noise show
// less of everything. A wide range costs the less the more codes there are
// (docs/decisions/0006).
typedef struct margins {
  double all, norms;
} margins;

static margins margins_for(int bits, bool noise, bool made) {
  static const double norms[] = {1, 1.1, 1.15, 1.25, 1.3, 1.4};
  static const double from_noise[] = {1, 1.2, 1.3, 1.5, 1.75, 2};
  static const double from_made[] = {1, 1, 1.05, 1.1, 1.15, 1.2};
  static const double norms_from_made[] = {1, 1.15, 1.2, 1.35, 1.5, 1.7};
  int i = bits - 3;
  if (bits < 3 || bits > 8) return (margins){1, 1};
  if (noise) return (margins){from_noise[i], from_noise[i]};
  return made ? (margins){from_made[i], norms_from_made[i]} : (margins){1, norms[i]};
}

static void print_split(vq_strbuf *out, const vq_bits *bits, bool clips, double margin) {
  // Weights of few bits have no room for what activations would gain.
  vq_strbuf_printf(out, bits->all.w <= 4 ? "balance=0 limit=3" : "balance=0.4");
  // With 8 bits the widest channel may have the range that it asks for.
  if (bits->all.a < 8 && clips) vq_strbuf_printf(out, " clip=true margin=%g", margin);
}

// `text` with the options of `pass` given, where the pass is.
static const char *with_options(driver *d, const char *text, const char *pass,
                                const char *given) {
  const char *at = strstr(text, pass);
  if (!at) return text;
  at += strlen(pass);
  vq_strbuf out = {0};
  vq_strbuf_printf(&out, "%.*s{%s}%s", (int)(at - text), text, given, at);
  const char *z = vq_arena_str(&d->arena, vq_strbuf_view(&out)).p;
  vq_strbuf_release(&out);
  return z;
}

static bool calib_is(const driver *d, const char *what) {
  const char *calib = opt_text(&d->opt, OPT_calib);
  return strcmp(calib, what) == 0;
}

bool weights_only(const driver *d) { return calib_is(d, "none"); }

vq_status quantize_options(driver *d, const char **pipeline) {
  const char *text = opt_text(&d->opt, OPT_bits), *p = *pipeline;
  const char *observer = opt_text(&d->opt, OPT_observer);
  vq_bits bits;
  if (vq_bits_parse(&d->arena, vq_str_of(text), &d->diag, &bits)) return VQ_ERR;
  vq_strbuf given = {0};
  vq_strbuf_printf(&given, "bits='%s' probability='%s'%s", text,
                   opt_text(&d->opt, OPT_probability),
                   weights_only(d) ? " weights-only=true" : "");
  p = with_options(d, p, "insert-quantizers", given.p);
  bool noise = calib_is(d, "noise"), made = calibration_is_made(&d->opt);
  if (made) p = calibration_pass(d, p);
  margins m = margins_for(bits.all.a, noise, made);
  vq_strbuf_clear(&given);
  vq_strbuf_printf(&given, "margin=%g norm-margin=%g observer='%s'", m.all, m.norms,
                   observer);
  p = with_options(d, p, "observe", given.p);
  vq_strbuf_clear(&given);
  // Where somebody chose how ranges follow, they are not chosen again.
  print_split(&given, &bits, strcmp(observer, "mse") == 0, m.all);
  p = with_options(d, p, "split-outliers", given.p);
  // Which channels go together is hardly to be learned from noise or made pictures.
  p = with_options(d, p, "compensate-weights",
                   noise  ? "damping=0.2"
                   : made ? "damping=0.2 max-bits=8"
                          : "max-bits=8");
  vq_strbuf_release(&given);
  *pipeline = p;
  return VQ_OK;
}
