package docker

// What the images are made of. Every version is pinned here and nowhere else: the
// values go into the builds as arguments and into the images' content hashes, so a
// change makes new tags. A trailing ".*" lets Debian's point releases and security
// updates through without a change here.
const (
	debianSuite = "trixie"
	// debianImage is the base that is taken when the Engine has it or can pull it.
	debianImage = "debian:" + debianSuite + "-slim"
	// debianMadeHere is the same thing made from Debian's mirror, see ensureDebian.
	debianMadeHere = "pgforeman/debian:" + debianSuite
)

// versions holds the build arguments of each image.
func (n ImageName) versions() map[string]string {
	switch n {
	case BaseImage:
		return map[string]string{"TINI_VERSION": "0.19.*", "CURL_VERSION": "8.14.*"}
	case EtcdImage:
		return map[string]string{"ETCD_VERSION": "3.5.*"}
	case PatroniImage:
		return map[string]string{"POSTGRESQL_VERSION": "17.*", "PATRONI_VERSION": "4.0.*"}
	case HAProxyImage:
		return map[string]string{"HAPROXY_VERSION": "3.0.*"}
	default:
		return nil
	}
}
