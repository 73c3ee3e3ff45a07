# Gives HAProxy the certificate that is in the volume of secrets, for its
# statistics and for its health checks, while it runs. No connection is touched.
set -eu
umask 077
cat /opt/secretpg/node.pem /opt/secretpg/node.key >/run/haproxy/node.pem.part
mv -T /run/haproxy/node.pem.part /run/haproxy/node.pem
exec perl -MIO::Socket::UNIX -e '
  sub ask {
    my $socket = IO::Socket::UNIX->new(Peer => "/run/haproxy/admin.sock") or die "the proxy cannot be reached: $!\n";
    print $socket @_;
    local $/;
    return <$socket>;
  }
  open(my $file, "<", "/run/haproxy/node.pem") or die "node.pem: $!\n";
  my $pem = join("", grep { /\S/ } <$file>);
  ask("set ssl cert /run/haproxy/node.pem <<\n", $pem, "\n");
  my $answer = ask("commit ssl cert /run/haproxy/node.pem\n");
  $answer =~ /Success/ or die "the proxy does not take the certificate: $answer\n";
'
