package integration

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// programDoors looks at what the program itself listens on, which has to be
// loopback, and at the files that it keeps.
func (l *locked) programDoors(t *testing.T) {
	pid := l.p.cmd.Process.Pid
	open := listening(t, pid)
	require.Contains(t, open, l.p.natsAddr)
	require.Contains(t, open, l.p.httpAddr)
	for _, addr := range open {
		host, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		require.Truef(t, net.ParseIP(host).IsLoopback(), "dev listens on %s", addr)
	}
	for _, flag := range []string{"--nats-addr", "--http-addr"} {
		for _, addr := range []string{"0.0.0.0:21999", "[::]:21999", ":21999", "192.0.2.1:21999"} {
			out, err := exec.Command(l.p.bin, "dev", "--state-dir", t.TempDir(), flag, addr).CombinedOutput()
			require.Errorf(t, err, "dev takes %s %s", flag, addr)
			require.Contains(t, string(out), "listens on loopback only")
		}
	}
	for _, name := range []string{"key", "database-password"} {
		info, err := os.Stat(filepath.Join(l.p.dir, name))
		require.NoError(t, err)
		require.Zerof(t, info.Mode().Perm()&0o077, "others may read %s", name)
	}
}

// listening gives the TCP addresses that a process listens on, from what the
// kernel says.
func listening(t *testing.T, pid int) []string {
	t.Helper()
	sockets := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			sockets[strings.Trim(strings.TrimPrefix(to, "socket:"), "[]")] = true
		}
	}
	require.NotEmpty(t, sockets)
	var open []string
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			cell := strings.Fields(lines.Text())
			const listens = "0A"
			if len(cell) > 9 && cell[3] == listens && sockets[cell[9]] {
				open = append(open, kernelAddress(t, cell[1]))
			}
		}
		require.NoError(t, lines.Err())
		require.NoError(t, f.Close())
	}
	return open
}

// kernelAddress reads an address as /proc/net/tcp writes it: words of four bytes,
// the lowest first.
func kernelAddress(t *testing.T, text string) string {
	t.Helper()
	address, port, ok := strings.Cut(text, ":")
	require.True(t, ok, text)
	var ip net.IP
	for i := 0; i+8 <= len(address); i += 8 {
		for j := 6; j >= 0; j -= 2 {
			var b byte
			_, err := fmt.Sscanf(address[i+j:i+j+2], "%02X", &b)
			require.NoError(t, err)
			ip = append(ip, b)
		}
	}
	var number int
	_, err := fmt.Sscanf(port, "%X", &number)
	require.NoError(t, err)
	return net.JoinHostPort(ip.String(), fmt.Sprint(number))
}
