# Sourced by every entrypoint: checks of what comes from outside. Values are
# matched against a closed set of characters and never interpreted, so a hostile
# one ends the container with a sentence and reaches no shell and no configuration.
# shellcheck shell=sh
LC_ALL=C
export LC_ALL
umask 077
SECRETS=/opt/secretpg

die() {
  printf 'pgforeman: %s\n' "$*" >&2
  exit 64
}

# need_name NAME VALUE: letters, digits, dot, underscore and dash; 1-63; begins with a letter or a digit.
need_name() {
  [ -n "$2" ] || die "$1 is not set: give the container -e $1=..."
  case $2 in
    *[!A-Za-z0-9._-]* | [!A-Za-z0-9]*) die "$1 holds a character that is not allowed: use letters, digits, dot, underscore, dash" ;;
  esac
  [ "${#2}" -le 63 ] || die "$1 is longer than 63 characters"
}

# need_chars NAME VALUE CHARACTERS EXAMPLE: made of CHARACTERS (the inside of a bracket expression) alone.
need_chars() {
  [ -n "$2" ] || die "$1 is not set: give the container -e $1=$4"
  case $2 in
    *[!$3]*) die "$1 holds a character that is not allowed: it looks like $4" ;;
  esac
  [ "${#2}" -le 4096 ] || die "$1 is longer than 4096 characters"
}

# need_number NAME VALUE MIN MAX: a decimal number in the range.
need_number() {
  case $2 in
    '' | *[!0-9]* | 0?* | ??????*) die "$1 is not a number between $3 and $4" ;;
  esac
  if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
    die "$1 is not a number between $3 and $4"
  fi
}

# tls: true when the volume of secrets holds a CA; the certificate must be there then.
tls() {
  [ -e "$SECRETS/ca.pem" ] || return 1
  for f in ca.pem node.pem node.key; do
    [ -r "$SECRETS/$f" ] || die "$SECRETS/$f cannot be read: with ca.pem, node.pem and node.key are needed too, owned by user 999"
  done
}

# need_dir PATH: a folder that this user can write in, made when it is missing.
need_dir() {
  mkdir -p "$1" 2>/dev/null || :
  [ -w "$1" ] || die "$1 cannot be written by user $(id -u): mount a volume or a tmpfs (uid=999) there"
}
