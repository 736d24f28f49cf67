package trial

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

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
	// The other way round was measured too: docs/explanation/networks.md.
	for _, c := range []struct {
		profile, how, rule string
		kinds              []Kind
	}{
		{"udpblock", "is reset", "reject with tcp reset", []Kind{Chromium, Firefox}},
		{"tls443", "goes silent", "drop", []Kind{Firefox}},
	} {
		t.Run(c.profile+" "+c.how, func(t *testing.T) {
			s := open(t, b, c.profile)
			for _, kind := range c.kinds {
				t.Run(string(kind), func(t *testing.T) {
					path, gap, err := s.cutTCP(t.Context(), kind, c.rule)
					if err != nil {
						t.Fatal(err)
					}
					t.Logf("%s, without media for %v", path, gap)
					if limit := gapLimit(kind); gap > limit {
						t.Errorf("without media for %v, want at most %v", gap, limit)
					}
				})
			}
		})
	}
}

// gapLimit is how long media may be gone when a path has died.
func gapLimit(kind Kind) time.Duration {
	if kind == Chromium {
		return 5 * time.Second
	}
	return 8 * time.Second
}

// cutTCP holds a call and cuts the patient's media connection in the router. It
// returns the path before and for how long some stream did not flow.
func (s *Site) cutTCP(ctx context.Context, kind Kind, rule string) (path string, gap time.Duration, err error) {
	s.rooms++
	room := fmt.Sprintf("room-%d", s.rooms)
	doctor, err := s.doctor(room)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = doctor.leave(context.WithoutCancel(ctx)) }() // its call is over
	if err := waitAnswered(ctx, doctor); err != nil {
		return "", 0, err
	}
	patient, err := s.patient(ctx, room, kind)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = patient.leave(context.WithoutCancel(ctx)) }() // as above
	p := pair{patient, doctor}
	if r := p.watchMedia(ctx); r.Err != nil || !r.Connected {
		return r.Path, 0, fmt.Errorf("no call to cut: %+v", r)
	} else {
		path = r.Path
	}
	w := &flowWatch{}
	if err := w.follow(ctx, p, settled, settled+Limit); err != nil {
		return path, 0, err
	}
	port, err := busiestTCP(ctx, s.Lab.Client)
	if err != nil {
		return path, 0, err
	}
	w.reset()
	if err := cutPort(ctx, s.Lab.Router, port, rule); err != nil {
		return path, 0, err
	}
	err = w.follow(ctx, p, settled, eventLimit)
	return path, w.gap, err
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
