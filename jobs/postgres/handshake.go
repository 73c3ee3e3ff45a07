package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// sslRequest asks a server to speak TLS from now on. Source: PostgreSQL 17,
// "Message Formats", SSLRequest.
var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// ErrNoTLS says that the server does not speak TLS.
var ErrNoTLS = errors.New("the server does not speak TLS")

// Handshake connects to a server as far as TLS goes, without logging in: to see
// its certificate. The caller closes the connection.
func Handshake(ctx context.Context, address string, conf *tls.Config) (*tls.Conn, error) {
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = plain.Close() })
	defer stop()
	conn, err := overTLS(ctx, plain, conf)
	if err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("shake hands with %s: %w", address, err)
	}
	return conn, nil
}

func overTLS(ctx context.Context, plain net.Conn, conf *tls.Config) (*tls.Conn, error) {
	if _, err := plain.Write(sslRequest); err != nil {
		return nil, err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(plain, answer); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, ErrNoTLS
	}
	conn := tls.Client(plain, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}
