package trial

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"consilium/internal/netlab"
)

// TestCallsOutliveTheirTCPConnection cuts the connection that carries media,
// and it alone: the page's socket stays, and nothing says that the network has
// changed.
func TestCallsOutliveTheirTCPConnection(t *testing.T) {
	if err := netlab.Check(); err != nil {
		t.Fatal(err)
	}
	b := &builder{}
	b.get(t)
	// The worst of each browser; docs/explanation/networks.md has them all.
	for _, c := range []struct {
		profile, how, rule string
		kind               Kind
	}{
		{"udpblock", "is reset", "reject with tcp reset", Chromium},
		{"tls443", "goes silent", "drop", Firefox},
	} {
		t.Run(fmt.Sprintf("%s %s %s", c.profile, c.how, c.kind), func(t *testing.T) {
			t.Parallel()
			r, err := open(t, b, c.profile).cutTCP(t.Context(), c.kind, c.rule)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, without media for %v", r.Path, r.Gap)
			if limit := gapLimit(cutEvent, c.kind); !r.Connected || !r.Back || r.Gap > limit {
				t.Errorf("%+v, want a gap of at most %v", r, limit)
			}
		})
	}
}

// cutEvent is no event of a profile: it depends on the connections of the call.
const cutEvent netlab.Event = "cut"

// cutTCP holds a call and cuts the patient's media connection in the router.
func (s *Site) cutTCP(ctx context.Context, kind Kind, rule string) (Result, error) {
	if err := s.prepare(ctx, kind); err != nil {
		return Result{}, err
	}
	s.Lab.Profile.Event = cutEvent
	one := newGathering(1, func(ctx context.Context, _ []pair) (bool, error) {
		port, err := busiestTCP(ctx, s.Lab.Client)
		if err != nil {
			return false, err
		}
		return false, cutPort(ctx, s.Lab.Router, port, rule)
	})
	var wg sync.WaitGroup
	wg.Go(func() { one.run(ctx) })
	r := s.call(ctx, kind, &place{g: one})
	wg.Wait()
	if r.Broken != "" {
		return r, errors.New(r.Broken)
	}
	return r, nil
}

// tcpConn is a connection to port 443 in the list of ss, with what it has
// carried.
var tcpConn = regexp.MustCompile(`(?m)^\d+\s+\d+\s+\S+:(\d+)\s+\S+:443\s*\n.*bytes_received:(\d+)`)

// busiestTCP is the local port of the connection that has received most: media,
// of which a socket of signalling carries next to nothing.
func busiestTCP(ctx context.Context, n netlab.Namespace) (port int, err error) {
	out, err := n.Command(ctx, "ss", "-Htni", "state", "established").Output()
	if err != nil {
		return 0, fmt.Errorf("list connections: %w", err)
	}
	most := 0
	for _, found := range tcpConn.FindAllStringSubmatch(string(out), -1) {
		received, errReceived := strconv.Atoi(found[2])
		at, errAt := strconv.Atoi(found[1])
		if errReceived == nil && errAt == nil && received > most {
			port, most = at, received
		}
	}
	if port == 0 {
		return 0, fmt.Errorf("no connection to port 443 in %q", out)
	}
	return port, nil
}

// cutPort lets a router treat the client's port by a rule from now on.
func cutPort(ctx context.Context, router netlab.Namespace, port int, rule string) error {
	var text strings.Builder
	text.WriteString("add table inet cut\nadd chain inet cut forward { type filter hook forward priority -10; }\n")
	for _, way := range []string{"iifname in0 tcp sport", "oifname in0 tcp dport"} {
		fmt.Fprintf(&text, "add rule inet cut forward %s %d %s\n", way, port, rule)
	}
	cmd := router.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cut port %d: %w: %s", port, err, out)
	}
	return nil
}
