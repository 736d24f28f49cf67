package trial

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/netlab"
)

func cell(t *testing.T, network string, client Kind, commit string, results ...Result) Cell {
	t.Helper()
	p, err := netlab.FindProfile(network)
	if err != nil {
		t.Fatal(err)
	}
	return Cell{Network: network, Client: client, Commit: commit, Results: results, profile: p}
}

func reopen(t *testing.T, file, commit string, keep bool) *record {
	t.Helper()
	r, err := openRecord(file, commit, keep)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAKilledRunGoesOnWhereItWas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	first := reopen(t, file, "abc", false)
	call := Result{Connected: true, Path: netlab.PathUDP, PatientFrame: time.Second, Both: 2 * time.Second}
	for _, c := range []Cell{cell(t, "open", Pion, "abc", call, call), cell(t, "open", Firefox, "abc", Result{}), cell(t, "open", Firefox, "abc", call)} {
		if err := first.add(c); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteString("\n{\"Network\": \"sym"); err != nil { // killed while writing
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	again := reopen(t, file, "abc", true)
	if err := again.add(cell(t, "symmetric", Pion, "abc", call)); err != nil {
		t.Fatal(err)
	}
	again = reopen(t, file, "abc", true)
	for name, tc := range map[string]struct {
		network  string
		client   Kind
		attempts int
		want     bool
	}{
		"all attempts":     {"open", Pion, 2, true},
		"too few attempts": {"open", Pion, 3, false},
		"another client":   {"open", Chromium, 1, false},
		"after the kill":   {"symmetric", Pion, 1, true},
	} {
		if got := again.has(tc.network, tc.client, tc.attempts); got != tc.want {
			t.Errorf("%s: known is %v, want %v", name, got, tc.want)
		}
	}
	if i := again.index("open", Firefox); again.cells[i].good() != 1 {
		t.Error("the later of two cells does not hold")
	}
	if other := reopen(t, file, "def", true); len(other.cells) != 0 {
		t.Errorf("%d cells of another commit are kept", len(other.cells))
	}
	if anew := reopen(t, file, "abc", false); len(anew.cells) != 0 {
		t.Errorf("%d cells are kept without being asked for", len(anew.cells))
	}
}

func TestTheTableCountsPathsAndGoodAttempts(t *testing.T) {
	known := &record{commit: "abc"}
	udp := Result{Connected: true, Path: "udp", PatientFrame: 100 * time.Millisecond, DoctorFrame: 200 * time.Millisecond, Both: 300 * time.Millisecond}
	tcp := udp
	tcp.Path, tcp.PatientFrame = "ice-tcp", 900*time.Millisecond
	known.put(cell(t, "loss15", Pion, "abc", udp, tcp, udp))
	known.put(cell(t, "open", Chromium, "abc", Result{Broken: "no window\nand so on"}))
	var out strings.Builder
	if err := writeTable(&out, known); err == nil {
		t.Error("a table with a failure is no error")
	}
	for _, want := range []string{
		"| loss15 | pion | 3 of 3 | udp 2, ice-tcp 1 | 0.1 s (0.9 s) | 0.2 s (0.2 s) | 0.3 s (0.3 s) |",
		"| open | chromium | 0 of 1 |  | - | - | - | no window |",
		"3 of 4 attempts good.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Index(out.String(), "| open") > strings.Index(out.String(), "| loss15") {
		t.Error("networks are not in their order")
	}
}

func TestAnEventHappensOnceWhenEveryCallIsThereOrGone(t *testing.T) {
	calls := make(chan int, 2)
	g := newGathering(3, func(_ context.Context, all []pair) (bool, error) {
		calls <- len(all)
		return true, nil
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { g.run(t.Context()) })
	a, b, c := &place{g: g}, &place{g: g}, &place{g: g}
	a.take(pair{})
	b.giveUp()
	a.giveUp() // has arrived already
	select {
	case <-g.ready:
		t.Fatal("ready without the third")
	default:
	}
	c.take(pair{})
	<-g.over
	if n := <-calls; n != 2 || !g.held || len(calls) != 0 {
		t.Errorf("the event happened to %d calls, then %d times more; want to 2, once", n, len(calls))
	}
}

func TestNetworksAreJudgedByTheirEvent(t *testing.T) {
	back := Result{Connected: true, Back: true, Gap: 6 * time.Second}
	for name, tc := range map[string]struct {
		network string
		client  Kind
		result  Result
		want    bool
	}{
		"Firefox may take 8 s":          {"rebind", Firefox, back, true},
		"Chromium may take 5 s":         {"rebind", Chromium, back, false},
		"a server may take its time":    {"serverdies", Chromium, back, true},
		"but must come back":            {"serverdies", Chromium, Result{Connected: true}, false},
		"an idle mapping must be held":  {"shortmap", Firefox, back, false},
		"a broken attempt is not good":  {"open", Pion, Result{Connected: true, Broken: "x"}, false},
		"a call where none can be":      {"unreachable", Pion, Result{Connected: true}, false},
		"a plain call":                  {"open", Pion, Result{Connected: true}, true},
		"a plain call that came to nil": {"open", Pion, Result{}, false},
	} {
		p, err := netlab.FindProfile(tc.network)
		if err != nil {
			t.Fatal(err)
		}
		if got := tc.result.Good(p, tc.client); got != tc.want {
			t.Errorf("%s: good is %v", name, got)
		}
	}
}

func TestTheGuideHasTheConfigurationsOfNginx(t *testing.T) {
	guide := filepath.Join("..", "..", "..", "docs", "how-to", "nginx.md")
	c := &certificate{chain: "/lab/chain.pem", key: "/lab/key.pem"}
	for front, want := range map[netlab.Front]string{
		netlab.FrontStream: "ssl_preread on;",
		netlab.FrontHTTP:   "ssl_certificate     /lab/chain.pem;",
	} {
		text, err := nginxConfig(front, guide, t.TempDir(), c)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, want) || strings.Contains(text, "hospital.example") && front == netlab.FrontHTTP {
			t.Errorf("%s: no %q in\n%s", front, want, text)
		}
	}
	if _, err := codeBlock(guide, "nothing.conf"); err == nil {
		t.Error("a missing code block is no error")
	}
}
