# Puts a certificate and its key, which come on standard input, into the
# container's volume of secrets, as the set of the name $1. node.pem and node.key
# are links into the folder that the link "now" leads to, and "now" is exchanged
# in one step: wherever this is interrupted, a certificate stands with its own
# key. Run again, or twice at once, it ends in the same.
set -eu
umask 077
cd /opt/secretpg
set=$1
part=$(mktemp -d .part.XXXXXX)
trap 'rm -rf "$part"' EXIT

# link TARGET NAME: makes NAME a link to TARGET, whatever it was, in one step.
link() {
  ln -s "$1" "$part/link"
  mv -T "$part/link" "$2"
}

# keep FOLDER: makes sure that its two files are on the disk.
keep() {
  chmod 0400 "$1/node.pem" "$1/node.key"
  sync "$1/node.pem" "$1/node.key"
}

if [ ! -e "$set/node.key" ]; then
  mkdir "$part/set"
  file=node.pem
  while IFS= read -r line; do
    case $line in
      "-----BEGIN PRIVATE KEY-----") file=node.key ;;
    esac
    printf '%s\n' "$line" >>"$part/set/$file"
  done
  keep "$part/set"
  mv -T "$part/set" "$set" 2>/dev/null || [ -e "$set/node.key" ] # another was faster
fi

# Files, not links, are from when the container was made: they become a set first.
if [ ! -L node.pem ] || [ ! -L node.key ]; then
  before=$(mktemp -d certificates-before.XXXXXX)
  cp node.pem node.key "$before/"
  keep "$before"
  link "$before" now
  link now/node.pem node.pem
  link now/node.key node.key
fi

link "$set" now
sync .
current=$(readlink now)
for old in certificates-* .part.*; do # of runs that were killed, too
  [ "$old" = "$current" ] || rm -rf "$old"
done
