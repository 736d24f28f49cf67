package trial

import (
	"path/filepath"
	"sync"
	"testing"

	"consilium/internal/netlab"
)

// These are the networks that every run of the tests tries; `make lab` tries
// all of them, and more often.

// builder builds the programs once for all tests.
type builder struct {
	once     sync.Once
	programs Programs
	err      error
}

func (b *builder) get(t *testing.T) Programs {
	t.Helper()
	b.once.Do(func() { b.programs, b.err = Build(t.Context(), filepath.Join("..", "..", ".."), t.TempDir()) })
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.programs
}

func open(t *testing.T, b *builder, profile string) *Site {
	t.Helper()
	if err := netlab.Check(); err != nil {
		t.Fatal(err)
	}
	p, err := netlab.FindProfile(profile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), p, b.get(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's last words:\n%s", s.server.lastWords())
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// TestCallsInHardNetworks is one test, since it builds the programs once. Some
// networks are tried at a time, which know nothing of each other; the one whose
// ten seconds are counted comes first, alone.
func TestCallsInHardNetworks(t *testing.T) {
	if err := netlab.Check(); err != nil {
		t.Fatal(err)
	}
	b := &builder{}
	b.get(t) // its directory lasts as long as this test
	for name, path := range map[string]string{
		"symmetric": netlab.PathUDP, "udpblock": netlab.PathICETCP, "tls443": netlab.PathTURNS, "v6broken": netlab.PathUDP,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, b, name)
			for _, kind := range []Kind{Pion, Chromium, Firefox} {
				t.Run(string(kind), func(t *testing.T) {
					r := s.Try(t.Context(), kind, 1)[0]
					if !r.Good(s.Lab.Profile, kind) {
						t.Fatalf("no call within %v: %+v", Limit, r)
					}
					t.Logf("by %s; patient after %v, doctor after %v", r.Path, r.PatientFrame, r.DoctorFrame)
					// Pion nominates what answers first, browsers what is best.
					if r.Path != path && kind != Pion {
						t.Errorf("path %q, want %q", r.Path, path)
					}
				})
				if name == "udpblock" && kind != Pion {
					t.Run(string(kind)+" is told", func(t *testing.T) { blockedUDP(t, s, kind) })
				}
			}
		})
	}
	t.Run("rebind", func(t *testing.T) {
		t.Parallel()
		s := open(t, b, "rebind")
		for _, kind := range []Kind{Pion, Chromium, Firefox} {
			t.Run(string(kind), func(t *testing.T) { goesOn(t, s, kind) })
		}
	})
	t.Run("handover", func(t *testing.T) {
		t.Parallel()
		s := open(t, b, "handover")
		for _, kind := range []Kind{Chromium, Firefox} {
			t.Run(string(kind), func(t *testing.T) { goesOn(t, s, kind) })
		}
	})
	t.Run("intercept", func(t *testing.T) {
		t.Parallel()
		onlyHTTP(t, b)
	})
	t.Run("unreachable", func(t *testing.T) { verdicts(t, b) })
}

// goesOn lets the network's event happen in mid-call.
func goesOn(t *testing.T, s *Site, kind Kind) {
	r := s.Try(t.Context(), kind, 1)[0]
	t.Logf("without media for %v", r.Gap)
	if !r.Good(s.Lab.Profile, kind) {
		t.Errorf("want the call to go on within %v: %+v", gapLimit(s.Lab.Profile.Event, kind), r)
	}
}

// onlyHTTP calls through a proxy that opens TLS.
func onlyHTTP(t *testing.T, b *builder) {
	s := open(t, b, "intercept")
	for kind, r := range atOnce(t, s, Chromium, Firefox) {
		t.Logf("%s: by %s; patient after %v, doctor after %v", kind, r.Path, r.PatientFrame, r.DoctorFrame)
		if !r.Good(s.Lab.Profile, kind) || r.Path != netlab.PathWebSocket {
			t.Errorf("%s: no call through the WebSocket within %v: %+v", kind, Limit, r)
		}
	}
}

// verdicts lets nothing but HTTP through, so that there can be no call.
func verdicts(t *testing.T, b *builder) {
	s := open(t, b, "unreachable")
	for kind, r := range atOnce(t, s, Pion, Chromium, Firefox) {
		t.Logf("%s: patient %v after %v, doctor %v after %v, webhook %s after %v", kind,
			r.PatientCodes, r.PatientAfter, r.DoctorCodes, r.DoctorAfter, r.WebhookCode, r.WebhookAfter)
		if !r.Good(s.Lab.Profile, kind) {
			t.Errorf("%s: want %s everywhere, within %v: %+v", kind, s.Lab.Profile.Code, verdictLimit, r)
		}
	}
}

// atOnce lets clients call at the same time, where they mostly wait.
func atOnce(t *testing.T, s *Site, kinds ...Kind) map[Kind]Result {
	results := make([]Result, len(kinds))
	for _, kind := range kinds { // starting one would take from another's time
		if err := s.prepare(t.Context(), kind); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i, kind := range kinds {
		wg.Go(func() { results[i] = s.Try(t.Context(), kind, 1)[0] })
	}
	wg.Wait()
	byKind := map[Kind]Result{}
	for i, kind := range kinds {
		byKind[kind] = results[i]
	}
	return byKind
}
