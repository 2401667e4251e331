// Choosing among the rows of targets.def.
#include "target.h"

#include "vitq.h"
#include "vq/backend.h"
#include "vq/strbuf.h"

static const vq_target rows[] = {
#define TARGET(name, cpu, features, bits, regs, fma, vnni, amx, bf16, codes_only, requires, help) \
  {name, cpu, features, bits, regs, fma, vnni, VQ_AMX_##amx, VQ_BF16_##bf16, codes_only, \
   requires},
#include "targets.def"
#undef TARGET
};

const vq_target *vq_target_rows(unsigned *n) {
  *n = VQ_COUNT(rows);
  return rows;
}

bool vq_target_runs_here(uint64_t requires) {
  return (requires & ~vitq_cpu_isa()) == 0;
}

const vq_target_info *vq_target_list(unsigned *n) {
  static const vq_target_info list[] = {
#define TARGET(name, cpu, features, bits, regs, fma, vnni, amx, bf16, codes_only, requires, help) \
  {name, cpu, help, requires, VQ_BF16_##bf16 > VQ_BF16_SOFT},
#include "targets.def"
#undef TARGET
  };
  *n = VQ_COUNT(list);
  return list;
}

const vq_target_info *vq_target_of_floats(const char *name) {
  unsigned n, i = 0;
  const vq_target_info *list = vq_target_list(&n);
  bool native = strcmp(name, "native") == 0;
  while (i < n && (native ? !vq_target_runs_here(list[i].requires)
                          : strcmp(name, list[i].name) != 0))
    i++;
  while (i < n && rows[i].codes_only) i++;
  bool known = i < n && (rows[i].amx == VQ_AMX_NONE || rows[i].bf16 != VQ_BF16_NONE);
  return known ? &list[i] : NULL;
}

static bool by_name_only(const vq_target *t) {
  return t->amx == VQ_AMX_SOFT || t->bf16 != VQ_BF16_NONE;
}

bool vq_target_has_bf16(const char *cpu) {
  for (unsigned i = 0; i < VQ_COUNT(rows); i++)
    if (strcmp(rows[i].name, cpu) == 0) return rows[i].bf16 != VQ_BF16_NONE;
  return false;
}

// "x86_64" alone or with a vendor, but only for Linux.
static bool triple_known(vq_str t) {
  vq_str arch = VQ_LIT("x86_64");
  if (!vq_str_starts(t, arch)) return false;
  if (t.n == arch.n) return true;
  return t.p[arch.n] == '-' && memmem(t.p, t.n, "-linux", 6);
}

static vq_status unknown_cpu(const char *cpu, vq_diag *diag) {
  vq_strbuf names = {0};
  for (unsigned i = 0; i < VQ_COUNT(rows); i++)
    vq_strbuf_printf(&names, "%s, ", rows[i].name);
  vq_strbuf_puts(&names, "native");
  vq_error(diag, VQ_E_target, (vq_loc){0},
           "unknown cpu '%s', expected one of %s", cpu, vq_strbuf_z(&names));
  vq_strbuf_release(&names);
  return VQ_ERR;
}

vq_status vq_target_select(const char *triple, const char *cpu, vq_diag *diag,
                           const vq_target **first, unsigned *n) {
  if (triple && !triple_known(vq_str_of(triple)))
    return vq_error(diag, VQ_E_target, (vq_loc){0},
                    "unknown target '%s', expected x86_64 or "
                    "x86_64-VENDOR-linux-gnu", triple);
  *first = rows;
  *n = VQ_COUNT(rows);
  while (by_name_only(&rows[*n - 1])) --*n;
  if (!cpu) return VQ_OK;
  *n = 1;
  bool native = strcmp(cpu, "native") == 0;
  for (unsigned i = 0; i < VQ_COUNT(rows); i++) {
    *first = &rows[i];
    if (native ? vq_target_runs_here(rows[i].requires) : !strcmp(cpu, rows[i].name))
      return VQ_OK;
  }
  return unknown_cpu(cpu, diag);
}
