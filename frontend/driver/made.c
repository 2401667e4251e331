// Options on made calibration pictures.
#include "made.h"

#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>

// What --calib calls objectives, as options of synthesize.
static const struct {
  const char *name, *options;
} objectives[] = {{"psaq", ""},
                  {"mimiq", " entropy=0 heads=1"},
                  {"psaq+mimiq", " heads=1"},
                  {"scenes", " styles=scenes"}};

static const char *objective_of(const options *o) {
  for (size_t i = 0; i < VQ_COUNT(objectives); i++)
    if (strcmp(opt_text(o, OPT_calib), objectives[i].name) == 0)
      return objectives[i].options;
  return NULL;
}

bool made_wanted(const options *o) { return objective_of(o) != NULL; }

// ---- the command line ---------------------------------------------------------------

// "i/n" with i from 0 to n - 1.
static bool read_shard(const char *text, int64_t *i, int64_t *n) {
  char *end;
  if (strspn(text, "0123456789/") != strlen(text) || strlen(text) > 16) return false;
  *i = strtoll(text, &end, 10);
  if (end == text || *end != '/') return false;
  const char *second = end + 1;
  *n = strtoll(second, &end, 10);
  return end != second && !*end && *i < *n;
}

// "90", "90s", "5m"; -1: none of these.
static double read_time(const char *text) {
  char *end;
  if (text[0] < '0' || text[0] > '9') return -1;
  double v = strtod(text, &end), unit = *end == 'm' ? 60 : 1;
  if (*end == 's' || *end == 'm') end++;
  return *end || v > 1e6 ? -1 : v * unit;
}

double made_seconds(const options *o) {
  const char *text = opt_text(o, OPT_calib_time);
  return text ? read_time(text) : 0;
}

static double made_settled(const options *o) {
  return opt_given(o, OPT_calib_settled) ? opt_real(o, OPT_calib_settled) : 0;
}

static int check_shard(driver *d, const char *shard, bool level_2) {
  const options *o = &d->opt;
  int64_t i, n;
  if (opt_given(o, OPT_calib_settled))
    return usage_error(d, "--calib-shard does not see the pictures of other shards, which "
                       "--calib-settled is about: give one of them");
  if (opt_given(o, OPT_calib_time))
    return usage_error(d, "--calib-shard makes all of its pictures: no --calib-time");
  if (!level_2) return usage_error(d, "--calib-shard needs -O2");
  if (!read_shard(shard, &i, &n))
    return usage_error(d, "--calib-shard is '%s', expected I/N with I from 0 to N - 1",
                       shard);
  if (!opt_given(o, OPT_calib_out) && !opt_given(o, OPT_resume))
    return usage_error(d, "--calib-shard makes pictures only: give --calib-out or --resume");
  if (opt_given(o, OPT_output))
    return usage_error(d, "--calib-shard makes pictures only: no -o");
  return EXIT_GOOD;
}

int made_check(driver *d) {
  static const struct {
    opt_id id;
    const char *name;
  } said[] = {{OPT_calib, "--calib"}, {OPT_calib_size, "--calib-size"},
              {OPT_calib_steps, "--calib-steps"}, {OPT_seed, "--seed"},
              {OPT_calib_out, "--calib-out"}, {OPT_resume, "--resume"},
              {OPT_calib_shard, "--calib-shard"}, {OPT_calib_time, "--calib-time"},
              {OPT_calib_settled, "--calib-settled"}};
  const options *o = &d->opt;
  for (size_t k = 0; k < VQ_COUNT(said) && opt_given(o, OPT_profile); k++)
    if (opt_given(o, said[k].id))
      return usage_error(d, "--profile names finished pictures, which leaves nothing to %s",
                         said[k].name);
  if (opt_given(o, OPT_resume) && opt_given(o, OPT_calib_out))
    return usage_error(d, "--resume=DIR writes pictures there, too: no --calib-out");
  const char *shard = opt_text(o, OPT_calib_shard);
  if (!made_wanted(o)) {
    const char *what = opt_given(o, OPT_calib_steps)     ? "--calib-steps"
                       : opt_given(o, OPT_resume)        ? "--resume"
                       : opt_given(o, OPT_calib_time)    ? "--calib-time"
                       : opt_given(o, OPT_calib_settled) ? "--calib-settled"
                       : shard                           ? "--calib-shard"
                                                         : NULL;
    return what ? usage_error(d, "%s needs --calib=psaq, mimiq, psaq+mimiq or scenes", what)
                : EXIT_GOOD;
  }
  const char *time = opt_text(o, OPT_calib_time);
  if (time && made_seconds(o) <= 0)
    return usage_error(d, "--calib-time is '%s', expected a time as in 90s or 5m", time);
  bool until_settled = opt_given(o, OPT_calib_settled);
  if (until_settled && !(made_settled(o) > 0 && made_settled(o) <= 100))
    return usage_error(d, "--calib-settled is '%s', expected a percentage above 0, at most 100",
                       opt_text(o, OPT_calib_settled));
  bool level_2 = !opt_given(o, OPT_passes) && strcmp(opt_text(o, OPT_level), "2") == 0;
  if (until_settled && !level_2)
    return usage_error(d, "--calib-settled needs -O2, which makes pictures");
  return shard ? check_shard(d, shard, level_2) : EXIT_GOOD;
}

// ---- the plan -----------------------------------------------------------------------

static const char *copy(driver *d, vq_strbuf *text) {
  const char *z = vq_arena_str(&d->arena, vq_strbuf_view(text)).p;
  vq_strbuf_release(text);
  return z;
}

// --profile=DIR, or a file in it.
static const char *profile_folder(driver *d) {
  const char *path = opt_text(&d->opt, OPT_profile);
  struct stat st;
  if (stat(path, &st) != 0 || S_ISDIR(st.st_mode)) return path;
  return dirname((char *)vq_arena_str(&d->arena, vq_str_of(path)).p);
}

static vq_status read_profile(driver *d, made_plan *out) {
  calib_profile p;
  out->dir = profile_folder(d);
  out->use = STORE_COMPLETE;
  if (calib_profile_read(d, out->dir, &p)) return VQ_ERR;
  out->made_by = p.made_by, out->n = p.n;
  const char *held = strstr(p.made_by, "held=");
  out->held = held ? strtoll(held + strlen("held="), NULL, 10) : 0;
  out->settled = strstr(p.made_by, "settled=") != NULL;
  // As synthesize has it when ranges settled, or when time was short.
  if (out->settled && out->held > (p.n + 8) / 9) out->held = (p.n + 8) / 9;
  if (out->held >= p.n) out->held = p.n - 1;
  return VQ_OK;
}

// For each eight pictures one more, which is held back to see how good the result is.
vq_status made_plan_read(driver *d, made_plan *out) {
  const options *o = &d->opt;
  *out = (made_plan){.shards = 1};
  if (opt_given(o, OPT_profile)) return read_profile(d, out);
  int64_t size = opt_given(o, OPT_calib_size) ? opt_count(o, OPT_calib_size) : 64;
  int64_t held = (size + 7) / 8;
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "held=%lld seed=%lld steps=%lld%s", (long long)held,
                   (long long)opt_count(o, OPT_seed),
                   (long long)opt_count(o, OPT_calib_steps), objective_of(o));
  out->settled = made_settled(o) > 0;
  if (out->settled) vq_strbuf_printf(&text, " settled=%.9g", made_settled(o));
  out->made_by = copy(d, &text);
  out->n = size + held, out->held = held;
  out->dir = opt_text(o, opt_given(o, OPT_resume) ? OPT_resume : OPT_calib_out);
  out->use = opt_given(o, OPT_resume) ? STORE_GO_ON : STORE_NEW;
  if (opt_given(o, OPT_calib_shard) &&
      !read_shard(opt_text(o, OPT_calib_shard), &out->shard, &out->shards))
    VQ_BUG("a shard that was not checked");
  return VQ_OK;
}

static vq_status set(driver *d, vq_pipeline *p, unsigned at, vq_strbuf *text) {
  vq_status s = vq_pipeline_set(p, at, vq_strbuf_view(text), &d->diag);
  vq_strbuf_clear(text);
  return s;
}

vq_status made_plan_pass(driver *d, const made_plan *plan, vq_pipeline *p) {
  unsigned n = vq_pipeline_length(p), at = vq_pipeline_find(p, "rows");
  if (at == n || vq_pipeline_find(p, "insert-quantizers") == n) return VQ_OK;
  vq_pipeline_insert(p, at, vq_pass_find(d->ctx, VQ_LIT("synthesize")));
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "count=%lld %s", (long long)plan->n, plan->made_by);
  vq_status s = set(d, p, at, &text);
  if (!s && plan->shards > 1) {
    vq_strbuf_printf(&text, "first=%lld every=%lld count=%lld held=0",
                     (long long)plan->shard, (long long)plan->shards,
                     (long long)((plan->n - plan->shard + plan->shards - 1) / plan->shards));
    s = set(d, p, at, &text);
  }
  if (!s && plan->settled && plan->use == STORE_COMPLETE) {
    vq_strbuf_printf(&text, "held=%lld settled=0", (long long)plan->held);
    s = set(d, p, at, &text);
  }
  if (opt_given(&d->opt, OPT_calib_shard)) vq_pipeline_trim(p, 0, at + 1);
  vq_strbuf_release(&text);
  return s;
}
