// The constants of a model: in memory, or as an ELF object of one section.
//
// As an LLVM constant the weights would be copied four times on their way to
// the object file, which for a large model is most of the memory and much of
// the time of a compilation. Here they go from where they are to the file. The
// object is ELF64 for x86-64: header, padding, .rodata, symbol table, the two
// string tables, section headers.
#include "constants.h"

#include <elf.h>

#include "vq/strbuf.h"

enum { S_NULL, S_RODATA, S_SYMTAB, S_STRTAB, S_SHSTRTAB, S_STACK, N_SECTION };

static const char section_names[] =
    "\0.rodata\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack";

typedef struct plan {
  Elf64_Ehdr head;
  Elf64_Shdr section[N_SECTION];
  Elf64_Sym symbol[2];
  vq_strbuf strings;
} plan;

static uint64_t align_up(uint64_t n, uint64_t a) { return (n + a - 1) & -a; }

static uint32_t name_of(const char *section) {
  const char *p = section_names + 1;
  while (strcmp(p, section)) p += strlen(p) + 1;
  return (uint32_t)(p - section_names);
}

static void place(plan *p, unsigned i, const char *name, uint32_t type,
                  uint64_t at, uint64_t size, uint64_t align) {
  p->section[i] = (Elf64_Shdr){.sh_name = name_of(name), .sh_type = type,
                               .sh_offset = align_up(at, align),
                               .sh_size = size, .sh_addralign = align};
}

static uint64_t end_of(const plan *p, unsigned i) {
  return p->section[i].sh_offset + p->section[i].sh_size;
}

static void make_plan(plan *p, const vq_layout *l) {
  *p = (plan){0};
  vq_strbuf_putc(&p->strings, 0);
  vq_strbuf_printf(&p->strings, "%s_constants", l->symbol);
  vq_strbuf_putc(&p->strings, 0);
  place(p, S_RODATA, ".rodata", SHT_PROGBITS, sizeof p->head, l->constant_bytes,
        VITQ_ALIGN);
  p->section[S_RODATA].sh_flags = SHF_ALLOC;
  place(p, S_SYMTAB, ".symtab", SHT_SYMTAB, end_of(p, S_RODATA),
        sizeof p->symbol, 8);
  p->section[S_SYMTAB].sh_link = S_STRTAB;
  p->section[S_SYMTAB].sh_info = 1;  // the first global one
  p->section[S_SYMTAB].sh_entsize = sizeof *p->symbol;
  place(p, S_STRTAB, ".strtab", SHT_STRTAB, end_of(p, S_SYMTAB), p->strings.n, 1);
  place(p, S_SHSTRTAB, ".shstrtab", SHT_STRTAB, end_of(p, S_STRTAB),
        sizeof section_names, 1);
  // Empty: says that no executable stack is needed.
  place(p, S_STACK, ".note.GNU-stack", SHT_PROGBITS, end_of(p, S_SHSTRTAB), 0, 1);
  p->symbol[1] = (Elf64_Sym){.st_name = 1,
                             .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                             .st_other = STV_HIDDEN, .st_shndx = S_RODATA,
                             .st_size = l->constant_bytes};
  p->head = (Elf64_Ehdr){
      .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                  EV_CURRENT},
      .e_type = ET_REL, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
      .e_shoff = align_up(end_of(p, S_SHSTRTAB), 8),
      .e_ehsize = sizeof p->head, .e_shentsize = sizeof *p->section,
      .e_shnum = N_SECTION, .e_shstrndx = S_SHSTRTAB};
}

uint64_t vq_constants_object_size(const vq_layout *l) {
  plan p;
  make_plan(&p, l);
  vq_strbuf_release(&p.strings);
  return p.head.e_shoff + sizeof p.section;
}

// ---- writing --------------------------------------------------------------------

typedef struct writer {
  vq_output *o;
  uint64_t at;
} writer;

// Writes `n` bytes at offset `at`, behind zeros.
static vq_status put_at(writer *w, uint64_t at, const void *p, uint64_t n) {
  static const char zero[VITQ_ALIGN];
  while (w->at < at) {
    uint64_t pad = at - w->at < sizeof zero ? at - w->at : sizeof zero;
    if (vq_output_write(w->o, zero, pad)) return VQ_ERR;
    w->at += pad;
  }
  w->at += n;
  return vq_output_write(w->o, p, n);
}

static vq_status put_constants(writer *w, const vq_layout *l, uint64_t at) {
  for (uint32_t i = 0; i < l->n_constant; i++) {
    const vq_layout_const *c = &l->constant[i];
    if (!c->shared && put_at(w, at + c->offset, c->bytes, c->size))
      return VQ_ERR;
  }
  return VQ_OK;
}

static vq_status put_object(writer *w, const plan *p, const vq_layout *l) {
  const Elf64_Shdr *s = p->section;
  if (put_at(w, 0, &p->head, sizeof p->head) ||
      put_constants(w, l, s[S_RODATA].sh_offset) ||
      put_at(w, s[S_SYMTAB].sh_offset, p->symbol, sizeof p->symbol) ||
      put_at(w, s[S_STRTAB].sh_offset, p->strings.p, p->strings.n) ||
      put_at(w, s[S_SHSTRTAB].sh_offset, section_names, sizeof section_names))
    return VQ_ERR;
  return put_at(w, p->head.e_shoff, s, sizeof p->section);
}

vq_status vq_constants_object_write(vq_output *o, const vq_layout *l) {
  plan p;
  make_plan(&p, l);
  writer w = {o, 0};
  vq_status st = put_object(&w, &p, l);
  vq_strbuf_release(&p.strings);
  return st;
}

void vq_constants_fill(const vq_layout *l, void *blob) {
  for (uint32_t i = 0; i < l->n_constant; i++) {
    const vq_layout_const *c = &l->constant[i];
    if (!c->shared && c->size) memcpy((char *)blob + c->offset, c->bytes, c->size);
  }
}
