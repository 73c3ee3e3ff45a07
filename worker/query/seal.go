package query

import (
	"fmt"

	"github.com/nats-io/nkeys"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// seal encrypts an answer to the public curve key that came with the question,
// from a key made for this answer alone; sender is its public half.
func seal(plain []byte, recipient string) (sealed []byte, sender string, err error) {
	if !nkeys.IsValidPublicCurveKey(recipient) {
		return nil, "", &jobs.Error{Code: jobs.CodeInvalid,
			Message: "the header " + jobs.HeaderSeal + " is not a public curve key (X…) of nkeys"}
	}
	own, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, "", fmt.Errorf("make a key for the answer: %w", err)
	}
	defer own.Wipe()
	if sender, err = own.PublicKey(); err != nil {
		return nil, "", fmt.Errorf("make a key for the answer: %w", err)
	}
	if sealed, err = own.Seal(plain, recipient); err != nil {
		return nil, "", fmt.Errorf("seal the answer: %w", err)
	}
	return sealed, sender, nil
}
