// What the options of quantization say to the passes of a level.
#include "quantize.h"

#include "made.h"
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
  static const double from_made[] = {1, 1, 1.05, 1.05, 1.1, 1.1};
  int i = bits - 3;
  if (bits < 3 || bits > 8) return (margins){1, 1};
  if (noise) return (margins){from_noise[i], from_noise[i]};
  return made ? (margins){from_made[i], norms[i]} : (margins){1, norms[i]};
}

// Gives `pass` these options, where the pipeline has it.
VQ_NODISCARD VQ_PRINTF(4, 5) static vq_status set(driver *d, vq_pipeline *p,
                                                  const char *pass, const char *fmt, ...) {
  unsigned at = vq_pipeline_find(p, pass);
  if (at == vq_pipeline_length(p)) return VQ_OK;
  vq_strbuf text = {0};
  va_list args;
  va_start(args, fmt);
  vq_strbuf_vprintf(&text, fmt, args);
  va_end(args);
  vq_status s = vq_pipeline_set(p, at, vq_strbuf_view(&text), &d->diag);
  vq_strbuf_release(&text);
  return s;
}

static vq_status set_split(driver *d, vq_pipeline *p, const vq_bits *bits, bool clips,
                           double margin) {
  // Weights of few bits have no room for what activations would gain.
  const char *balance = bits->all.w <= 4 ? "balance=0 limit=3" : "balance=0.4";
  // With 8 bits the widest channel may have the range that it asks for.
  if (bits->all.a >= 8 || !clips) return set(d, p, "split-outliers", "%s", balance);
  return set(d, p, "split-outliers", "%s clip=true margin=%g", balance, margin);
}

static bool calib_is(const driver *d, const char *what) {
  const char *calib = opt_text(&d->opt, OPT_calib);
  return strcmp(calib, what) == 0;
}

bool weights_only(const driver *d) { return calib_is(d, "none"); }

static vq_status add_synthesis(driver *d, vq_pipeline *p) {
  made_plan plan;
  return made_plan_read(d, &plan) ? VQ_ERR : made_plan_pass(d, &plan, p);
}

vq_status quantize_options(driver *d, vq_pipeline *p) {
  const char *text = opt_text(&d->opt, OPT_bits);
  const char *observer = opt_text(&d->opt, OPT_observer);
  vq_bits bits;
  if (vq_bits_parse(&d->arena, vq_str_of(text), &d->diag, &bits)) return VQ_ERR;
  bool noise = calib_is(d, "noise"), made = made_wanted(&d->opt);
  if (made && add_synthesis(d, p)) return VQ_ERR;
  if (set(d, p, "insert-quantizers", "bits='%s' probability='%s' weights-only=%s", text,
          opt_text(&d->opt, OPT_probability), weights_only(d) ? "true" : "false"))
    return VQ_ERR;
  margins m = margins_for(bits.all.a, noise, made);
  if (set(d, p, "observe", "margin=%g norm-margin=%g observer='%s'", m.all, m.norms,
          observer))
    return VQ_ERR;
  // Where somebody chose how ranges follow, they are not chosen again.
  if (set_split(d, p, &bits, strcmp(observer, "mse") == 0, m.all)) return VQ_ERR;
  // Which channels go together is hardly to be learned from noise or made pictures.
  return set(d, p, "compensate-weights", "%s",
             noise  ? "damping=0.2"
             : made ? "damping=0.2 max-bits=8"
                    : "max-bits=8");
}
