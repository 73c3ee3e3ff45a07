package worker

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// headerRoom is what a message has beside its body: the id, and what clients add.
const headerRoom = 1 << 10

// fitting is the body of a message as the server takes it. A dead letter with a
// large original does not fit where a server's max_payload is less than usual;
// it would hold up everything behind it. It goes without the original, which the
// state database has. Events are small.
func fitting(m jobs.Outgoing, maxPayload int64) []byte {
	if maxPayload <= 0 || int64(len(m.Body)) <= maxPayload-headerRoom ||
		!strings.HasPrefix(m.Subject, strings.Join([]string{jobs.Prefix, jobs.Version, "dead", ""}, ".")) {
		return m.Body
	}
	var d jobs.DeadLetter
	if json.Unmarshal(m.Body, &d) != nil {
		return m.Body
	}
	d.Advice += fmt.Sprintf(" The original of %d bytes does not fit into a message of this NATS server;"+
		" the state database has it (dead letter %s).", len(d.Original), d.ID)
	d.Original, d.Header = nil, nil
	body, err := json.Marshal(d)
	if err != nil {
		return m.Body
	}
	return body
}
