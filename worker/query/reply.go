package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// respond sends the answer, sealed where a key is given.
func (s *Service) respond(r micro.Request, what string, q question, view any) {
	body, err := json.Marshal(view)
	if err != nil {
		s.refuse(r, what, fmt.Errorf("write the answer: %w", err))
		return
	}
	header := nats.Header{}
	if q.seal != "" {
		var sender string
		if body, sender, err = seal(body, q.seal); err != nil {
			s.refuse(r, what, err)
			return
		}
		header.Set(jobs.HeaderSeal, sender)
	}
	if limit := s.opt.NATS.MaxPayload() - 4096; limit > 0 && int64(len(body)) > limit {
		s.refuse(r, what, &jobs.Error{Code: jobs.CodeInvalid, Message: "the answer is too large for one message; ask for fewer with limit"})
		return
	}
	s.send(r, what, header, body)
}

// send publishes an answer. Request.Respond is for handlers that answer before
// they return.
func (s *Service) send(r micro.Request, what string, header nats.Header, body []byte) {
	if r.Reply() == "" {
		return
	}
	err := s.opt.NATS.PublishMsg(&nats.Msg{Subject: r.Reply(), Header: header, Data: body})
	if err != nil {
		s.opt.Log.Debug().Err(err).Str("query", what).Msg("answer not sent")
	}
}

// refuse answers with an error. What is nobody's business is logged, and told
// in general terms.
func (s *Service) refuse(r micro.Request, what string, err error) {
	var e *jobs.Error
	var faults jobs.Faults
	switch {
	case errors.As(err, &e):
	case errors.As(err, &faults):
		e = jobs.ErrorOf(err, jobs.CodeInvalid)
	case errors.Is(err, jobs.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e = &jobs.Error{Code: jobs.CodeUnavailable, Retryable: true, Message: "the worker cannot reach what it needs for the answer; try again in a moment"}
	default:
		e = &jobs.Error{Code: jobs.CodeInternal, Retryable: true, Message: "the worker failed to answer; its log says why"}
	}
	if e.Code == jobs.CodeInternal || e.Code == jobs.CodeUnavailable {
		s.opt.Log.Warn().Err(err).Str("query", what).Msg("query not answered")
	}
	body, err := json.Marshal(map[string]any{"error": e})
	if err != nil {
		s.opt.Log.Error().Err(err).Str("query", what).Msg("error not written")
		return
	}
	s.send(r, what, nats.Header{micro.ErrorHeader: {headline(e.Message)}, micro.ErrorCodeHeader: {string(e.Code)}}, body)
}

// headline fits into a header.
func headline(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	if s == "" {
		return "error"
	}
	return s[:min(len(s), 200)]
}
