package integration

import (
	"cmp"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// counted is a life with its boundaries, in the order of a run without a kill.
type counted struct {
	life
	boundaries []string
}

// chooseAll picks the kills of all lives, those first of which there is no like.
func chooseAll(t *testing.T, all []counted) []kill {
	t.Helper()
	var todo []kill
	known := map[string]bool{}
	slices.SortStableFunc(all, func(a, b counted) int { // those of which every boundary is tried come first
		if a.every == b.every {
			return 0
		} else if a.every {
			return -1
		}
		return 1
	})
	for _, c := range all {
		before := maps.Clone(known)
		for _, at := range c.choose(t, before) {
			todo = append(todo, kill{c.life, at, rank(at, known[subjectOf(at)])})
			known[subjectOf(at)] = true
		}
		maps.Copy(known, before)
	}
	slices.SortStableFunc(todo, func(a, b kill) int { return cmp.Compare(a.rank, b.rank) })
	return todo
}

// worthKilling leaves out what comes by the clock, again and again: of the
// renewals of leases and of the duty the first two, of the keeper's looks the
// first ten. Ports that are allocated are only read when they are asked for
// again.
func worthKilling(passed []string) []string {
	limits := map[string]int{"store.Renew": 2, "store.TakeDuty": 2, "state.SaveNodes": 10, "state.AllocatePorts": 2}
	return slices.DeleteFunc(slices.Clone(passed), func(name string) bool {
		limit, some := limits[kindOf(name)]
		return some && occurrence(name) > limit
	})
}

var ordinal = regexp.MustCompile(` #(\d+)$`)

// occurrence is the how manieth of its name a boundary is.
func occurrence(name string) int {
	if m := ordinal.FindStringSubmatch(name); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 1
}

// kindOf is what a boundary is at, without what it is about: store.Update,
// docker POST /containers/create, etcd, nats ack.
func kindOf(name string) string {
	words := strings.Fields(ordinal.ReplaceAllString(name, ""))
	switch words = words[1:]; words[0] {
	case "exec":
		return "docker exec"
	case "docker":
		return strings.Join(words[:3], " ")
	case "nats":
		return strings.Join(words, " ")
	case "add", "grant", "enable", "etcd":
		return "etcd"
	default:
		return words[0]
	}
}

// subjectOf is a boundary without its number.
func subjectOf(name string) string { return ordinal.ReplaceAllString(name, "") }

// samples are the kills of "make test".
func samples() []kill {
	var todo []kill
	for _, l := range lives() {
		for _, at := range l.samples {
			todo = append(todo, kill{life: l, at: at})
		}
	}
	return todo
}

// choose picks boundaries: all of them; or the first of each name that no life
// before has, and a few of the others; or so many, spread evenly. known is what
// was there before.
func (c counted) choose(t *testing.T, known map[string]bool) []string {
	some := 0
	setting := os.Getenv("PGFOREMAN_CHAOS_KILLS")
	switch {
	case setting == "all" && c.every:
		for _, b := range c.boundaries {
			known[subjectOf(b)] = true
		}
		return c.boundaries
	case setting == "all":
		some = c.few
	case setting == "list":
		t.Logf("%s:\n%s", c.name, strings.Join(c.boundaries, "\n"))
		return nil
	default:
		n, err := strconv.Atoi(setting)
		require.NoError(t, err, "PGFOREMAN_CHAOS_KILLS is all, list or a number")
		some = n
	}
	var chosen []string
	for i, b := range c.boundaries {
		spread := some > 0 && i*some/len(c.boundaries) != (i+1)*some/len(c.boundaries)
		if spread || setting == "all" && !known[subjectOf(b)] {
			chosen = append(chosen, b)
		}
		known[subjectOf(b)] = true
	}
	return chosen
}

// rank puts what is the same again behind what is not, so that with a budget the
// latter comes first: names that were there before, and last the relay's
// publishing of one more event.
func rank(at string, known bool) int {
	switch kindOf(at) {
	case "nats event", "store.Published":
		return min(occurrence(at), 2)
	}
	if known {
		return 1
	}
	return 0
}
