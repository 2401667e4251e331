# What bash offers for the last word of a command line; '=' is a word of its own.
#
# usage: complete.sh SCRIPT WORD...
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_vitqc
echo "${COMPREPLY[*]}"
