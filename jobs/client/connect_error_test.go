package client

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Addresses may hold a password, or a token in the user's place; errors hold
// neither, also where the address cannot be read.
func TestConnectErrorHoldsNoSecret(t *testing.T) {
	for _, address := range []string{
		"nats://ann:5ecret@127.0.0.1:1", "nats://5ecret@127.0.0.1:1", "nats://127.0.0.1:1,nats://ann:5ecret@127.0.0.1:1",
		"nats://ann:5ecret@127.0.0.1:port", "nats://ann:5e cret@127.0.0.1:1", "nats://ann:%zz5ecret@127.0.0.1:1",
	} {
		_, err := nats.Connect(address, nats.NoReconnect())
		require.Error(t, err, address)
		told := ConnectError(address, err)
		require.ErrorIs(t, told, ErrNoConnection)
		require.NotContains(t, told.Error(), "5ecret")
		require.NotContains(t, told.Error(), "5e cret")
		require.NotContains(t, told.Error(), "5e%20cret")
	}
}
