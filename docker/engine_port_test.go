package docker

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func testContainerPorts(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.Ports = []PortBinding{{ContainerPort: 8080}}
	c, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.Positive(t, c.Ports[8080].Port)
	eventually(t, func() error {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", c.Ports[8080].Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		said, err := io.ReadAll(conn)
		if err == nil && string(said) != "hello\n" {
			err = errors.New("it said " + string(said))
		}
		return err
	})
}

func testContainerPortTaken(t *testing.T, b bench) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port

	spec := b.spec(t)
	spec.Ports = []PortBinding{{ContainerPort: 8080, HostPort: taken}}
	_, err = b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrPortTaken)
	var which *PortTakenError
	require.ErrorAs(t, err, &which)
	require.Equal(t, taken, which.Port, "%v", err)

	spec.Ports[0].HostPort = 0
	c, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)

	// Taken by another container, which the Engine words differently.
	second := b.spec(t)
	second.Ports = []PortBinding{{ContainerPort: 8080, HostPort: c.Ports[8080].Port}}
	_, err = b.EnsureContainer(t.Context(), second)
	require.ErrorAs(t, err, &which)
	require.Equal(t, c.Ports[8080].Port, which.Port, "%v", err)

	// Given back, the same request succeeds.
	require.NoError(t, b.RemoveContainer(t.Context(), spec.Name))
	_, err = b.EnsureContainer(t.Context(), second)
	require.NoError(t, err)
}
