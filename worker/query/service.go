// Package query answers the questions of contract v1 (jobs.QueryClusterGet, …)
// as a NATS micro service. The tenant is the one in the subject, which the NATS
// server guards, and is part of everything that is asked of the store: nobody
// reads what is another tenant's.
//
// Every worker runs the service; NATS gives each question to one of them. An
// answer is the view as JSON. An error is {"error": {code, message, retryable}}
// with the header Nats-Service-Error-Code, by which it is told from a view that
// has a field "error" of its own.
package query

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
)

const (
	// maxQuery is the largest question read, in bytes.
	maxQuery = 64 << 10
	// timeLimit bounds the answering of one question.
	timeLimit = 10 * time.Second
	// parallel is how many questions of one kind are answered at the same time;
	// the others wait.
	parallel = 16
)

// Store is what the service reads of the state. Each method answers
// jobs.ErrNotFound where there is nothing of the tenant's.
type Store interface {
	ClusterByName(ctx context.Context, tenant, name string) (jobs.Cluster, error)
	Clusters(ctx context.Context, tenant string, all bool, limit int) ([]jobs.Cluster, error)
	Nodes(ctx context.Context, clusterID string) ([]jobs.NodeRecord, error)
	Operation(ctx context.Context, tenant, id string) (jobs.Operation, []jobs.StepRecord, error)
	Operations(ctx context.Context, tenant string, f jobs.OperationFilter) ([]jobs.Operation, error)
	DeadLetters(ctx context.Context, tenant string, all bool, limit int) ([]jobs.DeadLetter, error)
	DeadLetter(ctx context.Context, tenant, id string) (jobs.DeadLetter, error)
	Audit(ctx context.Context, e jobs.AuditEntry) error
	AuditTrail(ctx context.Context, tenant, cluster string, limit int) ([]jobs.AuditEntry, error)
}

// Inspector looks at a cluster as it is now.
type Inspector interface {
	Status(ctx context.Context, c jobs.Cluster) (jobs.StatusView, error)
}

// Vault knows how applications connect.
type Vault interface {
	Credentials(ctx context.Context, c jobs.Cluster, user string) (jobs.Credentials, error)
}

// Options are what the service is made of.
type Options struct {
	NATS      *nats.Conn
	Store     Store
	Inspector Inspector
	Vault     Vault
	// TrustRequestInfo says that questions come in from tenants' accounts of
	// their own, so that the NATS server says in Nats-Request-Info who asks. It
	// is for the audit; where everybody is in one account, anybody can write it.
	TrustRequestInfo bool
	// Steps give the titles of steps.
	Steps   []jobs.StepType
	Version string // of the program, as x.y.z; "0.0.0" where it is not
	Log     zerolog.Logger
}

// Service answers until it is stopped.
type Service struct {
	opt    Options
	titles map[string]string
	micro  micro.Service
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	stopped bool
	busy    sync.WaitGroup // not added to once stopped
}

// question is one that came in.
type question struct {
	tenant string
	actor  string // who asks, for the audit
	claim  string // what they say of themselves, where actor is what NATS says
	seal   string // public curve key to seal the answer to; "" for none
	jobs.Query
}

// Serve answers until ctx ends, and then the questions under way.
func Serve(ctx context.Context, opt Options) error {
	s, err := Start(opt)
	if err != nil {
		return err
	}
	<-ctx.Done()
	s.Stop()
	return nil
}

// Start begins to answer.
func Start(opt Options) (*Service, error) {
	s := &Service{opt: opt, titles: map[string]string{}}
	for _, st := range opt.Steps {
		s.titles[st.Name] = st.Title
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	s.micro, err = micro.AddService(opt.NATS, micro.Config{
		Name: "pgforeman", Version: semantic(opt.Version), Description: "answers questions about clusters and operations",
	})
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("start the query service: %w", err)
	}
	for what, answer := range s.answers() {
		err := s.micro.AddEndpoint(strings.ReplaceAll(what, ".", "-"), s.handler(what, answer),
			micro.WithEndpointSubject(jobs.QuerySubject("*", what)))
		if err != nil {
			s.Stop()
			return nil, fmt.Errorf("answer %s: %w", what, err)
		}
	}
	return s, nil
}

// Stop ends the service once the questions under way are answered.
func (s *Service) Stop() {
	if err := s.micro.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.opt.Log.Debug().Err(err).Msg("query service not stopped in order")
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.busy.Wait()
	s.cancel()
}

// begin counts a question in, unless the service has been stopped.
func (s *Service) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.busy.Add(1)
	}
	return !s.stopped
}

// answers is the table of questions.
func (s *Service) answers() map[string]func(context.Context, question) (any, error) {
	return map[string]func(context.Context, question) (any, error){
		jobs.QueryClusterGet:   s.clusterGet,
		jobs.QueryClusterList:  s.clusterList,
		jobs.QueryStatus:       s.status,
		jobs.QueryCredentials:  s.credentials,
		jobs.QueryOperationGet: s.operationGet,
		jobs.QueryOperations:   s.operationList,
		jobs.QueryDeadList:     s.deadList,
		jobs.QueryDeadGet:      s.deadGet,
		jobs.QueryAudit:        s.auditList,
	}
}

// handler answers one kind of question, several at the same time.
func (s *Service) handler(what string, answer func(context.Context, question) (any, error)) micro.Handler {
	slots := make(chan struct{}, parallel)
	return micro.HandlerFunc(func(r micro.Request) {
		slots <- struct{}{}
		if !s.begin() {
			<-slots
			s.refuse(r, what, fmt.Errorf("the worker is shutting down: %w", jobs.ErrUnavailable))
			return
		}
		go func() {
			defer s.busy.Done()
			defer func() { <-slots }()
			s.handle(r, what, answer)
		}()
	})
}

// handle answers one question.
func (s *Service) handle(r micro.Request, what string, answer func(context.Context, question) (any, error)) {
	defer func() {
		if p := recover(); p != nil {
			s.refuse(r, what, fmt.Errorf("a fault of pgforeman: %v", p))
		}
	}()
	ctx, cancel := context.WithTimeout(s.ctx, timeLimit)
	defer cancel()
	q, err := s.read(what, r)
	if err != nil {
		s.refuse(r, what, err)
		return
	}
	view, err := answer(ctx, q)
	if err != nil {
		s.refuse(r, what, err)
		return
	}
	s.respond(r, what, q, view)
}

// read reads a question.
func (s *Service) read(what string, r micro.Request) (question, error) {
	before, after, _ := strings.Cut(jobs.QuerySubject("*", what), "*")
	tenant := strings.TrimSuffix(strings.TrimPrefix(r.Subject(), before), after)
	q := question{tenant: tenant, seal: r.Headers().Get(jobs.HeaderSeal)}
	q.actor, q.claim = s.asker(tenant, r.Headers())
	if !jobs.IsName(tenant) {
		return q, &jobs.Error{Code: jobs.CodeInvalid, Message: "the tenant in the subject is not a DNS label of at most 40 characters"}
	}
	if len(r.Data()) > maxQuery {
		return q, &jobs.Error{Code: jobs.CodeInvalid, Message: fmt.Sprintf("a query has at most %d bytes", maxQuery)}
	}
	if faults := jobs.DecodeStrict(r.Data(), &q.Query); len(faults) > 0 {
		return q, faults
	}
	return q, nil
}

// semantic gives a version that NATS takes.
func semantic(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) == 3 {
		patch, _, _ := strings.Cut(parts[2], "-")
		if digits(parts[0]) && digits(parts[1]) && digits(patch) {
			return strings.Join([]string{parts[0], parts[1], patch}, ".")
		}
	}
	return "0.0.0"
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}
