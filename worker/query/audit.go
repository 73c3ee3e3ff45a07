package query

import (
	"context"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/nats-io/nats.go/micro"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func (s *Service) auditList(ctx context.Context, q question) (any, error) {
	entries, err := s.opt.Store.AuditTrail(ctx, q.tenant, q.Cluster, limit(q.Limit))
	if err != nil {
		return nil, err
	}
	views := make([]jobs.AuditView, len(entries))
	for i, e := range entries {
		views[i] = jobs.AuditView{
			At: e.At, Actor: e.Actor, Action: e.Action, Cluster: e.Cluster,
			OperationID: e.OperationID, RequestID: e.RequestID, Outcome: string(e.Outcome), Detail: e.Detail,
		}
	}
	return views, nil
}

// headerRequestInfo is what a NATS server adds to a message that crosses from
// one account into another: who sent it. It writes over what the sender put
// there. (It takes the header off messages that go into a stream, so requests
// do not have it: their actor is what they say.)
const headerRequestInfo = "Nats-Request-Info"

// unknownActor asks without saying who it is.
const unknownActor = "unknown"

// asker is who asks, for the audit: the identity that the NATS server tells,
// where that can be trusted, as "nats:account/user", with what the asker says
// of itself; else only the latter. The account has to be the tenant's: from any
// other the message cannot have come, and whoever is in the worker's own account
// can write the header as it likes.
func (s *Service) asker(tenant string, h micro.Headers) (actor, claim string) {
	claim = oneLine(h.Get(jobs.HeaderActor))
	if s.opt.TrustRequestInfo {
		var info struct {
			Account string `json:"acc"`
			User    string `json:"user"`
		}
		err := json.Unmarshal([]byte(h.Get(headerRequestInfo)), &info)
		if err == nil && info.Account == tenant {
			return strings.TrimSuffix("nats:"+oneLine(info.Account)+"/"+oneLine(info.User), "/"), claim
		}
	}
	if claim == "" {
		claim = unknownActor
	}
	return claim, ""
}

// oneLine makes what comes from outside fit for the audit: at most 200
// characters, printable ones.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200])
	}
	return s
}
