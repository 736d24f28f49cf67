package signaling

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

// rejoin says hello with a token and the secret of an earlier session.
func (f *fixture) rejoin(t *testing.T, token, secret string) *client {
	t.Helper()
	c := f.dial(t)
	c.send(Envelope{Type: "hello"}, Hello{Token: token, Rejoin: secret})
	return c
}

func TestAReloadedPageRejoinsAsTheSameParticipant(t *testing.T) {
	tests := map[string]struct{ token, rejoin, code string }{
		"same token":          {token: "pat@r", rejoin: "session-1"},
		"token expired":       {token: "expired", rejoin: "session-1"},
		"no token":            {token: "", rejoin: "session-1"},
		"token of another":    {token: "mallory@r", rejoin: ""},
		"token of other room": {token: "pat@r2", rejoin: ""},
		"bad token":           {token: "foreign", code: "TOKEN_BAD"},
		"early token":         {token: "early", code: "TOKEN_EARLY"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			old, w := f.join(t, "pat@r")
			old.cut()
			c := f.rejoin(t, test.token, w.Secret)
			if test.code != "" {
				c.expectError(test.code)
				return
			}
			again := receiveBody[Welcome](c, "welcome")
			r := f.sfu.session(t, 1).request
			if r.Rejoin != test.rejoin || again.Session == w.Session {
				t.Errorf("join request %+v, session %s", r, again.Session)
			}
			if test.rejoin != "" && (r.Identity != "pat" || r.Room != "r" || !r.Grants.PublishAudio || again.Name != "Name of pat") {
				t.Errorf("the person is not the same: %+v", r.Person)
			}
		})
	}
}

func TestASecretHoldsAcrossARestart(t *testing.T) {
	before := newFixture(t, nil)
	_, w := before.join(t, "pat:doctor@r")
	before.Drain()

	after := newFixture(t, nil)
	c := after.rejoin(t, "expired", w.Secret)
	again := receiveBody[Welcome](c, "welcome")
	r := after.sfu.session(t, 0).request
	if again.Identity != "pat" || r.Rejoin != w.Session || !r.Grants.Admit {
		t.Errorf("rejoined as %+v", r)
	}

	foreign := newFixture(t, func(c *Config) { c.SecretKey = []byte(strings.Repeat("k", 32)) })
	c = foreign.rejoin(t, "expired", w.Secret)
	c.expectError("TOKEN_EXPIRED")
}

func TestWhetherASecretOutlivesItsSessionDependsOnTheEnd(t *testing.T) {
	tests := map[media.EndReason]bool{
		media.EndLost: true, media.EndReplaced: true,
		media.EndLeft: false, media.EndRemoved: false, media.EndCall: false,
	}
	for reason, good := range tests {
		t.Run(string(reason), func(t *testing.T) {
			f := newFixture(t, nil)
			old, w := f.join(t, "pat@r")
			f.sfu.session(t, 0).end(sfu.NoticeEnded{Reason: reason, By: "doc"})
			old.expectClose(closeNormal)
			// A server that has just started takes unknown secrets: this one
			// started earlier.
			f.hub.mu.Lock()
			f.hub.started = f.hub.started.Add(-time.Hour)
			f.hub.mu.Unlock()
			c := f.rejoin(t, "expired", w.Secret)
			if good {
				c.receive("welcome")
			} else if _, b := c.expectError("TOKEN_EXPIRED"); !b.Fatal {
				t.Error("not fatal")
			}
		})
	}
}

func TestSecretsCannotBeForged(t *testing.T) {
	now := time.Now()
	s := secretSigner{key: []byte(strings.Repeat("a", 32))}
	secret, err := s.sign(secretClaims{Session: "x", Person: sfu.Person{Identity: "pat"}, Expires: now.Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.verify(secret, now)
	if err != nil || c.Session != "x" || c.Person.Identity != "pat" {
		t.Fatalf("verify: %+v, %v", c, err)
	}
	if _, err := s.verify(secret, now.Add(time.Hour)); err != errSecretExpired {
		t.Errorf("expired: %v", err)
	}
	payload, mac, _ := strings.Cut(secret, ".")
	other := secretSigner{key: []byte(strings.Repeat("b", 32))}
	forged, err := other.sign(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty": "", "no signature": payload, "empty signature": payload + ".", "other key": forged,
		"changed": "A" + payload[1:] + "." + mac, "not base64": payload + ".!!", "signature only": "." + mac,
	} {
		if _, err := s.verify(bad, now); err != errSecretBad {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHubForgetsTheOldest(t *testing.T) {
	h := newHub(time.Hour)
	h.started = h.started.Add(-2 * time.Hour)
	for range maxEnded + 100 {
		h.remove(&session{id: rand.Text()}, true)
	}
	h.remove(&session{id: "newest"}, true)
	if len(h.ended) > maxEnded {
		t.Errorf("%d ended sessions remembered", len(h.ended))
	}
	now := time.Now()
	if !h.mayRejoin(secretClaims{Session: "newest", Issued: now.Unix()}, now) {
		t.Error("the newest is forgotten")
	}
	if h.mayRejoin(secretClaims{Session: "newest", Issued: now.Unix()}, now.Add(2*time.Hour)) {
		t.Error("a secret holds for ever")
	}
}

func TestClientClockIsCorrected(t *testing.T) {
	now := time.UnixMilli(1_000_000_000_000)
	var c clientClock
	if got := c.at(500, 1500, now); !got.Equal(now.Add(-time.Second)) {
		t.Errorf("before any ping: %v", got.Sub(now))
	}
	c.observe(toMillis(now.Add(-time.Hour)), now.Add(80*time.Millisecond))
	c.observe(toMillis(now.Add(-time.Hour)), now) // a faster ping: an hour behind
	if got := c.at(toMillis(now.Add(-time.Hour-time.Second)), 0, now); !got.Equal(now.Add(-time.Second)) {
		t.Errorf("after pings: %v", got.Sub(now))
	}
	for _, ms := range []float64{-1, 1e300, toMillis(now.Add(time.Hour))} {
		if got := c.at(ms, ms, now); got.After(now) {
			t.Errorf("at(%v) is in the future", ms)
		}
	}
	c.observe(-5, now)
}

func TestTokenFailuresAreCoded(t *testing.T) {
	if f := tokenFailure(&TokenError{Code: event.TokenEarly, Err: errSecretBad}); f.code != "TOKEN_EARLY" || f.status != 401 {
		t.Errorf("%+v", f)
	}
	if f := tokenFailure(errSecretBad); f.code != "TOKEN_BAD" || f.status != 401 {
		t.Errorf("%+v", f)
	}
	if f := tokenFailure(&TokenError{Forbidden: true, Err: errSecretBad}); f.code != "TOKEN_BAD" || f.status != 403 {
		t.Errorf("%+v", f)
	}
}
