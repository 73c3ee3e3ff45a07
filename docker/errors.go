package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// What a caller can tell apart with errors.Is. ErrUnavailable is worth a retry as it stands; ErrPortTaken and
// ErrNoResources are after something changed; the others need another request.
var (
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("conflict")                    // in use, or in a state that does not allow it
	ErrPortTaken    = errors.New("host port is taken")          // always a *PortTakenError
	ErrImageMissing = errors.New("image is not on this engine") // `pgforeman image build` makes it
	ErrUnavailable  = errors.New("docker engine does not answer")
	ErrForeign      = errors.New("belongs to someone else") // another instance or cluster, or not ours at all
	ErrNoResources  = errors.New("the host lacks resources")
	ErrInvalid      = errors.New("invalid")              // the request itself is wrong
	ErrDied         = errors.New("container died")       // right after its start
	ErrEngine       = errors.New("docker engine failed") // an answer of no other kind
	errSlow         = errors.New("call took too long")   // the cause of the package's own deadlines
)

// PortTakenError says which host port something else listens on. It matches ErrPortTaken.
type PortTakenError struct {
	Port int // 0 when the Engine did not say
}

// Error names the port and what to do.
func (p *PortTakenError) Error() string {
	if p.Port == 0 {
		return "a host port is taken by another program or container; ask for another one"
	}
	return fmt.Sprintf("host port %d is taken by another program or container; ask for another one", p.Port)
}

// Is makes errors.Is(err, ErrPortTaken) true.
func (*PortTakenError) Is(target error) bool { return target == ErrPortTaken }

// engineError is an error of the Engine with the sentinel that it stands for.
type engineError struct {
	kind error
	text string
	err  error
}

func (e *engineError) Error() string   { return e.text }
func (e *engineError) Unwrap() []error { return []error{e.kind, e.err} }

// Phrases of the Engine's answers that its status codes do not tell apart (20.10 to 29).
var (
	portTaken   = regexp.MustCompile(`:(\d+)(?:/tcp)?(?::[\d.:]+/tcp)?(?: failed: port is already allocated|(?:: bind)?: address already in use)`)
	noResources = []string{
		"no space left on device", "cannot allocate memory", "too many open files", "disk quota exceeded",
		"resource temporarily unavailable", "Range of CPUs is from",
	}
	noAddresses = []string{"non-overlapping IPv4 address pool", "address pools have been fully subnetted"}
	inTheWay    = []string{"has active endpoints", "device or resource busy", "is already in progress", "marked for removal"}
)

// explain translates an error of the SDK: the Engine's own words, and the sentinel.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var done *engineError
	if errors.As(err, &done) {
		return err
	}
	text := strings.TrimPrefix(err.Error(), "Error response from daemon: ")
	as := func(kind error, text string) error { return &engineError{kind: kind, text: text, err: err} }
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errSlow):
		return as(ErrUnavailable, "docker engine did not answer in time")
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use"):
		return &PortTakenError{Port: portIn(text)}
	case containsAny(text, noAddresses):
		return as(ErrNoResources, text+" (no address pool is left for another network: remove unused networks, or add "+
			"default-address-pools to the engine's daemon.json)")
	case containsAny(text, noResources):
		return as(ErrNoResources, text)
	case strings.Contains(text, "No such image") || strings.Contains(text, "no such image"):
		return as(ErrImageMissing, text+" (build it with `pgforeman image build`)")
	case cerrdefs.IsNotFound(err):
		return as(ErrNotFound, text)
	case cerrdefs.IsConflict(err) || containsAny(text, inTheWay):
		return as(ErrConflict, text)
	case cerrdefs.IsInvalidArgument(err):
		return as(ErrInvalid, text)
	case isUnreachable(err):
		return as(ErrUnavailable, text)
	}
	return as(ErrEngine, text)
}

// isUnreachable tells a broken or missing connection from an answer.
func isUnreachable(err error) bool {
	var netErr net.Error
	return client.IsErrConnectionFailed(err) || cerrdefs.IsUnavailable(err) || errors.As(err, &netErr) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func portIn(text string) int {
	m := portTaken.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	port, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return port
}

func containsAny(text string, phrases []string) bool {
	for _, p := range phrases {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// limit bounds a call by the package's own deadline; explain turns its end into ErrUnavailable.
func limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, errSlow)
}
