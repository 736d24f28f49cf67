package api

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/problem"
)

const (
	// precheckTTL is long enough for a test of a minute.
	precheckTTL = 2 * time.Minute
	// precheckRate and precheckBurst bound the tests of all devices together,
	// a second and at once.
	precheckRate  = 2
	precheckBurst = 30
	// maxChecks bounds what a device says of its test.
	maxChecks = 32
)

// precheckRoom is where a device may test its paths for a while.
type precheckRoom struct {
	Room     string `json:"room"`
	Identity string `json:"identity"` // the bearer's own
	Token    string `json:"token"`    // join token of the room
	TTL      int    `json:"ttl"`      // seconds
	// WebSocket says that media may go through GET /ws/media.
	WebSocket bool `json:"websocket"`
}

// openPrecheck gives the bearer of a join token a room of his own for a test by
// WHIP and WHEP. Nothing of it is recorded or announced.
func (a *API) openPrecheck(w http.ResponseWriter, r *request) error {
	claims, err := a.config.Auth.VerifyIdentity(auth.BearerToken(r.Request))
	if err != nil {
		return err
	}
	if !a.precheck.Allow() {
		return problem.New(http.StatusTooManyRequests, problem.RateLimited, "too many tests at once")
	}
	room := event.PrecheckRoom + strings.ToLower(rand.Text())
	token, err := a.config.Auth.Mint(auth.Claims{
		// Of the roles with these grants the one that never waits.
		Room: room, Subject: claims.Subject, Role: auth.RoleInterpreter,
		Grants: auth.PublishAudio | auth.PublishVideo | auth.Subscribe,
	}, precheckTTL)
	if err != nil {
		return fmt.Errorf("make token for a precheck: %w", err)
	}
	return writeJSON(w, http.StatusOK, precheckRoom{
		Room: room, Identity: claims.Subject, Token: token, TTL: int(precheckTTL / time.Second),
		WebSocket: a.config.Tunnel,
	})
}

// precheckOutcome is what a device found, as part of its log.
type precheckOutcome struct {
	Verdict string     `json:"verdict"` // good, limited or failed
	Code    event.Code `json:"code"`    // why not good; may be empty
	// Checks by name: page, camera, microphone, socket, udp, tcp, turn_udp,
	// turn_tcp, turn_tls, websocket, media.
	Checks map[string]checkOutcome `json:"checks"`
}

type checkOutcome struct {
	Status string             `json:"status"` // ok, failed or skipped
	Code   event.Code         `json:"code,omitempty"`
	Values map[string]float64 `json:"values,omitempty"` // such as ms, bitrate, loss, rtt
}

func (p *precheckOutcome) check() error {
	switch {
	case !slices.Contains([]string{"good", "limited", "failed"}, p.Verdict):
		return unusable("precheck: verdict: good, limited or failed")
	case p.Code != "" && !slices.Contains(event.Codes(), p.Code):
		return unusable("precheck: code: not a known failure code")
	case len(p.Checks) > maxChecks:
		return unusable(fmt.Sprintf("precheck: at most %d checks", maxChecks))
	}
	for name, c := range p.Checks {
		switch {
		case !auth.Ident(name):
			return unusable("precheck: checks: a name is 1 to 64 of A-Z a-z 0-9 . _ ~ -")
		case !slices.Contains([]string{"ok", "failed", "skipped"}, c.Status):
			return unusable("precheck: checks: status: ok, failed or skipped")
		case c.Code != "" && !slices.Contains(event.Codes(), c.Code):
			return unusable("precheck: checks: code: not a known failure code")
		case len(c.Values) > maxChecks:
			return unusable(fmt.Sprintf("precheck: checks: at most %d values", maxChecks))
		}
		for key := range c.Values {
			if !auth.Ident(key) {
				return unusable("precheck: checks: values: a name is 1 to 64 of A-Z a-z 0-9 . _ ~ -")
			}
		}
	}
	return nil
}

// completed is the event about it.
func (p *precheckOutcome) completed(about event.Event) event.Event {
	about.Type = event.PrecheckCompleted
	about.Data = map[string]any{"verdict": p.Verdict, "checks": p.Checks}
	if p.Code != "" {
		about.Data["code"] = string(p.Code)
	}
	return about
}
