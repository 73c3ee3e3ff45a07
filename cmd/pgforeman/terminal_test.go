package main

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnAnswerNeedsNoEnterAfterCtrlC(t *testing.T) {
	in, person := io.Pipe()
	defer func() { _ = person.Close() }()
	ctx, ctrlC := context.WithCancel(context.Background())
	ctrlC()
	_, err := answer(ctx, in)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAnAnswerIsALine(t *testing.T) {
	in, person := io.Pipe()
	go func() { _, _ = io.WriteString(person, "yes\n") }()
	line, err := answer(context.Background(), in)
	require.NoError(t, err)
	require.Equal(t, "yes\n", line)
}
