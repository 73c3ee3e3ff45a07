# Prints the certificate that HAProxy shows at its statistics, and what it says of
# the one with which it checks the nodes.
set -eu
cd /opt/secretpg
curl -sS --max-time 4 --cacert ca.pem --cert node.pem --key node.key \
  -o /dev/null -w '%{certs}\n' "https://localhost:${STATS_PORT:-8404}/"
exec perl -MIO::Socket::UNIX -e '
  my $socket = IO::Socket::UNIX->new(Peer => "/run/haproxy/admin.sock") or die "the proxy cannot be reached: $!\n";
  print $socket "show ssl cert /run/haproxy/node.pem\n";
  print while <$socket>;
'
