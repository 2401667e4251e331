# Makes a manual page of a public header: its first comment, then what it declares with
# the comments in front.
#
# usage: awk -v name=PAGE -v package=PKG_CONFIG -v version=V -f header-man.awk HEADER

function roff(s) {
  gsub(/\\/, "\\e", s)
  gsub(/-/, "\\-", s)
  if (s ~ /^[.']/) s = "\\&" s
  return s
}

function mode(m) {
  if (m == now) return
  if (now == "code") print ".EE"
  if (m != "" && now != "start") print ".PP"
  if (m == "code") print ".EX"
  now = m
}

function blank() {
  if (now == "text") now = ""
  else if (now == "code") empty++
}

# What comments say: indented lines are code.
function say(s) {
  if (s == "") { blank(); return }
  if (s ~ /^  /) { code(s); return }
  mode("text")
  print roff(s)
}

function code(s) {
  if (now != "code") empty = 0
  mode("code")
  for (; empty > 0; empty--) print ""
  print roff(s)
}

function title(s) {
  sub(/^\/\* /, "", s)
  sub(/\.$/, "", s)
  printf ".TH %s 3 \"\" \"vitqc %s\"\n.SH NAME\n", toupper(name), version
  printf "%s \\- %s\n", name, roff(tolower(substr(s, 1, 1)) substr(s, 2))
  printf ".SH SYNOPSIS\n.B #include <%s>\n.br\n", header
  printf ".B cc ... $(pkg\\-config \\-\\-cflags \\-\\-libs %s)\n", package
  print ".SH DESCRIPTION"
  now = "start"
}

BEGIN { header = ARGV[1]; sub(/.*\//, "", header) }
NR == 1 { title($0); comment = 1; next }
/^#ifdef __cplusplus/ { skip = 1 }
skip { if (/^#endif/) skip = 0; next }
/^#(include|ifndef|endif)/ || /^#define [A-Z_]+_H$/ || /^#define [A-Z]+_API __/ { next }
!comment && /^\/\*/ {
  now = now == "text" ? "" : now
  sub(/^\/\* ?/, "")
  comment = 1
}
comment {
  last = sub(/ *\*\/$/, "")
  sub(/^ \* ?/, "")
  if (!(last && $0 ~ /^ ?$/)) say($0)
  if (last) comment = 0
  next
}
/^$/ { blank(); next }
{ sub(/^VITQC_API /, ""); code($0) }
END {
  mode("")
  print ".SH SEE ALSO\n.BR vitqc (1)"
}
