// The form of values in recipes. What they mean is checked where options' values are.
#include <stdlib.h>

#include "recipe_xml.h"
#include "vq/rules.h"

typedef enum value_kind {
  IS_TEXT, IS_SHAPE, IS_COUNT, IS_WIDTH, IS_ROLES, IS_RANGES, IS_GLOB, IS_TRUE, IS_OBSERVER,
  IS_CODE, IS_NUMBERS, IS_PIXELS, IS_INTERP, IS_TIME, IS_SIZE, IS_DECIBELS, IS_PERCENT,
  IS_ONE
} value_kind;

static const value_kind kinds[] = {
#define ELEMENT(name, once)
#define ATTR(element, id, spelling, kind, help) IS_##kind,
#include "recipe.def"
#undef ELEMENT
#undef ATTR
};

static bool is_one_of(const char *v, const char *const *words, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(v, words[i]) == 0) return true;
  return false;
}
#define IS_ONE_OF(v, ...)                                       \
  is_one_of(v, (const char *const[]){__VA_ARGS__},              \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static bool is_count(const char *v) {
  size_t n = strlen(v);
  return n > 0 && n <= 9 && strspn(v, "0123456789") == n && v[0] != '0';
}

static bool is_role(const char *v) {
  for (int r = 0; r < VQ_N_ROLES; r++)
    if (strcmp(v, vq_role_name((vq_role)r)) == 0) return true;
  return false;
}

static bool is_range(const char *v) {
  size_t n = strspn(v, "0123456789"), m = 0;
  if (n == 0 || n > 5) return false;
  if (v[n] == '\0') return true;
  if (strncmp(v + n, "..", 2) != 0) return false;
  m = strspn(v + n + 2, "0123456789");
  return m > 0 && m <= 5 && v[n + 2 + m] == '\0' && atol(v) <= atol(v + n + 2);
}

// Words between spaces, at least one.
static bool is_list(const char *v, bool (*is)(const char *word)) {
  bool any = false;
  for (size_t n; *(v += strspn(v, " \t\r\n")); v += n) {
    char word[32] = {0};
    n = strcspn(v, " \t\r\n");
    if (n >= sizeof word) return false;
    memcpy(word, v, n);
    if (!is(word)) return false;
    any = true;
  }
  return any;
}

// Quotes and commas would end the text of an option.
static bool is_glob(const char *v) {
  if (!*v) return false;
  for (; *v; v++)
    if ((unsigned char)*v <= ' ' || strchr("'\",=", *v)) return false;
  return true;
}

static bool is_numbers(const char *v) {
  return *v && strspn(v, "0123456789.,/+-eE") == strlen(v);
}

static bool is_text(const char *v) {
  for (const char *c = v; *c; c++)
    if ((unsigned char)*c < ' ' || *c == '\'' || *c == '"') return false;
  return *v != '\0';
}

static bool is_observer(const char *v) {
  static const char word[] = "percentile:";
  if (IS_ONE_OF(v, "mse", "minmax", "percentile")) return true;
  if (strncmp(v, word, sizeof word - 1) != 0) return false;
  v += sizeof word - 1;
  size_t whole = strspn(v, "0123456789"), part = 0;
  if (v[whole] == '.') part = 1 + strspn(v + whole + 1, "0123456789");
  return whole > 0 && whole <= 3 && part != 1 && part <= 7 && v[whole + part] == '\0' &&
         atof(v) > 0 && atof(v) <= 100;
}

// A number above 0 with at most nine digits in front of a point, and one of `units`,
// "|s|m", behind it.
static bool is_quantity(const char *v, const char *units) {
  size_t whole = strspn(v, "0123456789"), part = 0;
  if (v[whole] == '.') part = 1 + strspn(v + whole + 1, "0123456789");
  if (whole == 0 || whole > 9 || part == 1 || part > 7 || !(atof(v) > 0)) return false;
  const char *unit = v + whole + part;
  for (const char *u = units; *u == '|'; u += 1 + strcspn(u + 1, "|"))
    if (strcspn(u + 1, "|") == strlen(unit) && strncmp(u + 1, unit, strlen(unit)) == 0)
      return true;
  return false;
}

static bool is_shape(const char *v) {
  return *v && strspn(v, "0123456789x") == strlen(v);
}

const char *recipe_value_wrong(recipe_attr a, const char *v) {
  switch (kinds[a]) {
    case IS_TEXT: return is_text(v) ? NULL : "text without quotes and line breaks";
    case IS_SHAPE: return is_shape(v) ? NULL : "a shape, as 1x3x224x224";
    case IS_COUNT: return is_count(v) ? NULL : "a whole number from 1 to 999999999";
    case IS_WIDTH:
      return IS_ONE_OF(v, "3", "4", "5", "6", "7", "8", "16", "float")
                 ? NULL : "3 to 8 or float, or 16 for the residual stream";
    case IS_ROLES:
      return is_list(v, is_role)
                 ? NULL : "some of qkv, attn.qk, attn.av, proj, fc1, fc2, patch-embed, head, "
                          "residual, linear";
    case IS_RANGES: return is_list(v, is_range) ? NULL : "numbers or ranges N..M";
    case IS_GLOB:
      return is_glob(v) ? NULL : "a name without spaces, quotes, commas and =; ? stands for any "
                                 "character";
    case IS_TRUE: return strcmp(v, "true") == 0 ? NULL : "true";
    case IS_OBSERVER: return is_observer(v) ? NULL : "mse, minmax or percentile[:P]";
    case IS_CODE:
      return IS_ONE_OF(v, "auto", "uniform", "log2", "log-sqrt2")
                 ? NULL : "auto, uniform, log2 or log-sqrt2";
    case IS_NUMBERS: return is_numbers(v) ? NULL : "numbers or fractions with commas between";
    case IS_PIXELS:
      return strcmp(v, "0") == 0 || (is_count(v) && strlen(v) <= 5) ? NULL
                                                                    : "a number of pixels";
    case IS_INTERP:
      return IS_ONE_OF(v, "nearest", "bilinear", "bicubic") ? NULL
                                                            : "nearest, bilinear or bicubic";
    case IS_TIME: return is_quantity(v, "||s|m") ? NULL : "a time, as in 90s or 5m";
    case IS_SIZE:
      return is_quantity(v, "|B|KB|MB|KiB|MiB") ? NULL : "a size in B, KB, MB, KiB or MiB";
    case IS_DECIBELS: return is_quantity(v, "|dB") ? NULL : "decibels, as in 20dB";
    case IS_PERCENT:
      return is_quantity(v, "|") && atof(v) <= 100 ? NULL : "a number above 0, at most 100";
    case IS_ONE: return strcmp(v, "1") == 0 ? NULL : "1";
  }
  return NULL;
}
