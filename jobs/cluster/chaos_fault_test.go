package cluster

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// fault is something that goes wrong at a call.
type fault string

const (
	noFault     fault = ""
	faultError  fault = "error"                   // no effect, an error
	faultLost   fault = "lost reply"              // the effect, then an error
	faultDelay  fault = "delay"                   // late, but in time
	faultHang   fault = "hang"                    // no answer until the context ends
	faultFail   fault = "permanent error"         // a step says that it cannot be done
	faultPanic  fault = "panic"                   // a step panics
	faultKill   fault = "worker killed"           // nothing of it has an effect any more
	faultFreeze fault = "worker suspended"        // its calls take effect when it wakes
	faultDB     fault = "database away"           // every call refused, or hanging, for a while
	faultCut    fault = "connections cut"         // the database ends all of them
	faultNATS   fault = "NATS restarted"          // every connection lost
	faultDocker fault = "Docker away"             // every call refused for a while
	faultCrash  fault = "container crashed"       // it comes back by itself
	faultLate   fault = "deadline passed"         // of an operation
	faultTwice  fault = "sent twice"              // a message published again
	faultOther  fault = "id used again"           // the same id with other content
	faultPoison fault = "unreadable"              // no request at all
	faultOrder  fault = "cancel, replay, discard" // a person's order at a random time
	faultDrain  fault = "worker drained"          // told to stop, replaced
	faultBehind fault = "result overtaken"        // it arrives when another worker has a newer attempt
	faultSelf   fault = "overtaken by itself"     // the same, and the newer attempt is the same worker's
	faultClock  fault = "clock jumped"            // one worker's, by an hour
)

// allFaults are those that many seeds together must have seen.
var allFaults = []fault{faultError, faultLost, faultDelay, faultHang, faultFail, faultPanic, faultKill, faultFreeze, faultDB, faultCut,
	faultNATS, faultDocker, faultCrash, faultLate, faultTwice, faultOther, faultPoison, faultOrder, faultDrain, faultBehind, faultSelf, faultClock}

// Points of failure: every call that a worker makes, before and after its
// effect, and both ends of a step.
var (
	storePoints = []string{"store.Admit", "store.Reject", "store.Bury", "store.Seen", "store.DeadLetter", "store.StartQueued", "store.Claim",
		"store.Renew", "store.Release", "store.Update", "store.Overdue", "store.NextWake", "store.Outbox",
		"store.Published", "store.TakeDuty", "store.GiveUpDuty"}
	statePoints = []string{"state.Cluster", "state.LiveClusters", "state.ClusterStates", "state.PutSecretsOnce", "state.Secrets",
		"state.AllocatePorts", "state.ReallocatePort", "state.ForgetCluster", "state.SaveNodes", "state.Nodes", "state.TellFacts",
		"state.StageSecrets", "state.StagedSecrets", "state.AdoptSecrets", "state.DropStagedSecrets", "state.Operations"}
	enginePoints = []string{"engine.Info", "engine.EnsureNetwork", "engine.EnsureVolume", "engine.EnsureContainer",
		"engine.Container", "engine.Containers", "engine.StartContainer", "engine.PutFiles", "engine.Inventory", "engine.Remove"}
	probePoints = []string{"probe.etcdHealth", "probe.etcdAuth", "probe.leader", "probe.isPrimary", "probe.settle",
		"probe.replication", "probe.databases", "probe.answerer", "probe.write", "probe.read", "probe.revoke", "probe.status",
		"probe.members", "probe.receiver", "probe.basebackups", "probe.install", "probe.served"}
	workPoints = []string{"step.begin", "step.end", "nats.write"}
	// sorePoints are where a death or a sleep does most harm: they are chosen
	// as often as all the others.
	sorePoints = []string{"store.Admit", "store.Reject", "store.Claim", "store.Update", "store.StartQueued", "store.Published",
		"engine.EnsureContainer", "engine.EnsureVolume", "engine.EnsureNetwork", "engine.Remove", "state.PutSecretsOnce",
		"state.AllocatePorts", "state.ForgetCluster", "state.SaveNodes", "step.end", "nats.write"}
)

// plan says, for one seed, which call of each point fails and how. It depends on
// the seed and on how many calls a point has seen, not on the order in which
// goroutines come, so a seed brings much the same faults again.
type plan struct {
	seed   uint64
	rates  map[fault]float64
	deaths map[string]death // by point, call and side
	late   []lateness       // of results that are held back, one after the other
	on     atomic.Bool

	mu    sync.Mutex
	calls map[string]int
}

// death is what happens to a worker at a point.
type death struct {
	fault fault
	sleep time.Duration
	light bool
}

const (
	before = " before "
	after  = " after "
)

// themes are the faults of which a seed brings many; the first means all alike.
var themes = []fault{noFault, faultError, faultLost, faultKill, faultFreeze, faultDB, faultHang, faultDelay}

func newPlan(seed uint64, lease time.Duration) *plan {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := &plan{seed: seed, calls: map[string]int{}, deaths: map[string]death{}, rates: map[fault]float64{
		faultError: 0.04, faultLost: 0.04, faultDelay: 0.03, faultHang: 0.006, faultFail: 0.02, faultPanic: 0.01,
	}}
	theme := themes[seed%uint64(len(themes))]
	if r, ok := p.rates[theme]; ok {
		p.rates[theme] = r * 3
	}
	kills, sleeps := rng.IntN(4), 1+rng.IntN(4)
	switch theme {
	case faultKill:
		kills += 3
	case faultFreeze:
		sleeps += 2
	}
	// One death goes through all boundaries, seed by seed; the others are anywhere.
	p.deaths[boundary(int(seed))+fmt.Sprint(1+rng.IntN(2))] = death{fault: faultKill}
	for range kills {
		p.deaths[p.somewhere(rng)] = death{fault: faultKill}
	}
	for range sleeps {
		sleep := lease/3 + time.Duration(rng.Int64N(int64(2*lease)))
		if rng.IntN(8) == 0 {
			sleep = 7 * lease // longer than a message waits for its ack
		}
		at := p.somewhere(rng)
		if rng.IntN(2) == 0 { // with a result in its hands
			at = one(rng, []string{"store.Update" + before, "step.end" + before, "step.end" + after}) + fmt.Sprint(1+rng.IntN(40))
		}
		p.deaths[at] = death{fault: faultFreeze, sleep: sleep, light: rng.IntN(4) > 0}
	}
	for range maxLate {
		p.late = append(p.late, lateness{inside: rng.IntN(2) == 0, alone: rng.IntN(6) > 0})
	}
	p.on.Store(true)
	return p
}

// points are all points of failure.
func points() []string {
	var all []string
	for _, list := range [][]string{storePoints, statePoints, enginePoints, probePoints, workPoints} {
		all = append(all, list...)
	}
	return all
}

// somewhere is a point, a side and a call.
func (p *plan) somewhere(rng *rand.Rand) string {
	from := points()
	if rng.IntN(2) == 0 {
		from = sorePoints
	}
	side := []string{before, after}[rng.IntN(2)]
	// An early call more often than a late one: few points see many.
	call := 1 + rng.IntN(2<<rng.IntN(7))
	return from[rng.IntN(len(from))] + side + fmt.Sprint(call)
}

// boundary is one side of a point; boundaries are how many there are.
func boundary(i int) string {
	all := points()
	i = 7 * i % (2 * len(all)) // neighbours are far apart, so that few seeds see all parts
	return all[i/2] + []string{before, after}[i%2]
}

// unlisted are calls that were made at points which points does not have: no
// worker would ever die there.
func (p *plan) unlisted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []string
	for point := range p.calls {
		if !slices.Contains(points(), point) {
			missing = append(missing, point)
		}
	}
	return missing
}

func boundaries() int { return 2 * len(points()) }

// verdict is what happens at one call.
type verdict struct {
	before, after death
	fault         fault
	delay         time.Duration
}

// next counts a call of the point and says what happens at it.
func (p *plan) next(point string) verdict {
	p.mu.Lock()
	p.calls[point]++
	n := p.calls[point]
	p.mu.Unlock()
	var v verdict
	if !p.on.Load() {
		return v
	}
	v.before = p.deaths[point+before+fmt.Sprint(n)]
	v.after = p.deaths[point+after+fmt.Sprint(n)]
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/%d", p.seed, point, n)
	rng := rand.New(rand.NewPCG(h.Sum64(), p.seed))
	dice := rng.Float64()
	kinds := []fault{faultError, faultLost, faultDelay, faultHang}
	if strings.HasPrefix(point, "step.") {
		kinds = []fault{faultFail, faultPanic}
	}
	if point == "nats.write" {
		kinds = nil
	}
	for _, f := range kinds {
		if dice < p.rates[f] {
			v.fault = f
			break
		}
		dice -= p.rates[f]
	}
	v.delay = time.Duration(rng.Int64N(int64(40 * time.Millisecond)))
	return v
}
