package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// away asks /readyz about one dependency; others says which of the others it
// takes for away, "" for none.
func (w *workerProcess) away(dependency string) (away bool, others string, err error) {
	status, body, err := w.get("/readyz")
	if err != nil {
		return false, "", err
	}
	var says struct {
		Ready  bool `json:"ready"`
		Checks []struct {
			Name  string `json:"name"`
			OK    bool   `json:"ok"`
			Error string `json:"error"`
		} `json:"checks"`
	}
	if err := json.Unmarshal([]byte(body), &says); err != nil {
		return false, "", fmt.Errorf("readyz: %w: %s", err, body)
	}
	known := false
	for _, c := range says.Checks {
		switch {
		case c.Name == dependency:
			known, away = true, !c.OK
		case !c.OK:
			others += fmt.Sprintf("%s is away: %s; ", c.Name, c.Error)
		}
	}
	if !known {
		return false, "", fmt.Errorf("readyz says nothing about %s: %s", dependency, body)
	}
	if says.Ready != (status == 200) || says.Ready == (away || others != "") {
		return away, others, fmt.Errorf("readyz says %d with %s", status, body)
	}
	return away, others, nil
}

// cpu is what the process has used so far.
func (w *workerProcess) cpu() time.Duration {
	w.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid()))
	require.NoError(w.t, err)
	_, after, _ := strings.Cut(string(raw), ") ") // the name may hold blanks
	fields := strings.Fields(after)
	var ticks int
	for _, f := range fields[11:13] { // utime and stime, proc(5)
		n, err := strconv.Atoi(f)
		require.NoError(w.t, err)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}
