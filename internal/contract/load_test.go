package contract

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loaded is what `consilium load --json` says.
type loaded struct {
	People, Joined       int
	Failed               map[string]int
	Sent, Received, Lost int
	Delay                map[string]float64 `json:"delay_ms"`
	Server               map[string]float64
}

// load runs `consilium load` with the key of the servers under test.
func (c *child) load(flags ...string) (result, loaded) {
	c.t.Helper()
	secret := filepath.Join(c.t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(keySecret+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	r := command(c.t, nil, append([]string{
		"load", c.URL, "--token-key", keyID, "--secret-file", secret, "--duration", "1s", "--join-rate", "100", "--json",
	}, flags...)...)
	var out loaded
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		c.t.Fatalf("%v in %+v", err, r)
	}
	return r, out
}

func TestLoadReportsWhatItDidAndWhatItCost(t *testing.T) {
	t.Parallel()
	c := serve(t, options{"recording.enabled": "false"})
	r, got := c.load("--rooms", "2", "--participants", "2", "--video", "200")
	if r.code != 0 || r.stderr != "" || got.People != 4 || got.Joined != 4 || len(got.Failed) > 0 {
		t.Errorf("got %+v", r)
	}
	if got.Sent < 100 || got.Received < got.Sent/2 || got.Delay["p50"] <= 0 || got.Delay["max"] < got.Delay["p50"] {
		t.Errorf("measured %+v", got)
	}
	if got.Server["memory"] < 1<<20 || got.Server["cpu"] <= 0 {
		t.Errorf("the server cost %v", got.Server)
	}
	var calls struct{ Calls []any }
	c.get("/v1/calls", &calls)
	left := 0
	for _, e := range c.events() {
		if e.Type == "participant.left" {
			left++
		}
	}
	if left != 4 {
		t.Errorf("%d left with a word, want 4", left)
	}
}

func TestLoadCountsWhoWasRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, options{"recording.enabled": "false", "limits.joins_per_second": "1"})
	r, got := c.load("--rooms", "1", "--participants", "4", "--video", "0")
	if r.code != 1 || got.Failed["SERVER_BUSY"] < 2 || got.Joined+got.Failed["SERVER_BUSY"]+got.Failed["NO_MEDIA_IN"] != 4 {
		t.Errorf("got %+v %+v", r, got)
	}
	if !strings.Contains(r.stderr, "SERVER_BUSY") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("standard error is %q", r.stderr)
	}
}

func TestLoadRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	const url = "http://127.0.0.1:1"
	missing := filepath.Join(t.TempDir(), "missing")
	for name, c := range map[string]struct {
		args []string
		code int
		say  string
	}{
		"no URL":              {[]string{"--dev"}, 2, "URL"},
		"no key":              {[]string{url}, 2, "--config"},
		"two keys":            {[]string{url, "--dev", "--token-key", "mis", "--secret-file", missing}, 2, "two keys"},
		"key without secret":  {[]string{url, "--token-key", "mis"}, 2, "go together"},
		"absent secret":       {[]string{url, "--token-key", "mis", "--secret-file", missing}, 1, "missing"},
		"too many people":     {[]string{url, "--dev", "--rooms", "1000"}, 2, "at most 500"},
		"too long":            {[]string{url, "--dev", "--duration", "2h"}, 2, "1h"},
		"no number":           {[]string{url, "--dev", "--rooms", "many"}, 2, "rooms"},
		"URL of another kind": {[]string{"ws://127.0.0.1:1", "--dev"}, 2, "https://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOneLine(t, command(t, nil, append([]string{"load"}, c.args...)...), c.code, c.say)
		})
	}
	nobody := command(t, nil, "load", "http://127.0.0.1:"+freePort(t), "--dev", "--duration", "1s", "--participants", "1")
	if nobody.code != 1 || !strings.Contains(nobody.stderr, "SIGNAL_LOST") || strings.Count(nobody.stderr, "\n") != 1 {
		t.Errorf("load of nobody: %+v", nobody)
	}
}
