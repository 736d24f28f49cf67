package signaling

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"consilium/internal/event"
	"consilium/sfu"
)

// Bounds of what refusals may tell: a client that tries again every second is
// one failure, and whoever makes up tokens can't fill journal and webhook.
const (
	refusalAgain    = time.Minute // before the same refusal of the same person is told again
	refusalsPending = 4096        // refusals remembered for that
	refusalRate     = 10          // events a second, about people whose token is genuine
	refusalBurst    = 100
	forgedEvery     = 10 * time.Second // one event, about tokens that are nobody's
	forgedBurst     = 20
)

// refusals tells of clients that were refused before they had a session, as
// participant.failed. It is safe for concurrent use.
type refusals struct {
	genuine, forged *rate.Limiter

	mu   sync.Mutex
	told map[refusalKey]refusal
}

type refusalKey struct {
	code           event.Code
	room, identity string
}

// refusal is one that was told.
type refusal struct {
	at       time.Time
	incident string // its number
}

func newRefusals() *refusals {
	return &refusals{
		genuine: rate.NewLimiter(refusalRate, refusalBurst),
		forged:  rate.NewLimiter(rate.Every(forgedEvery), forgedBurst),
		told:    map[refusalKey]refusal{},
	}
}

// allow reports whether a refusal may be told; it counts as told then. If it was
// told a short while ago, incident is its number.
func (r *refusals) allow(k refusalKey, genuine bool, now time.Time) (ok bool, incident string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.told[k]; ok && now.Sub(last.at) < refusalAgain {
		return false, last.incident
	}
	limiter := r.forged
	if genuine {
		limiter = r.genuine
	}
	if len(r.told) >= refusalsPending {
		maps.DeleteFunc(r.told, func(_ refusalKey, last refusal) bool { return now.Sub(last.at) >= refusalAgain })
	}
	if len(r.told) >= refusalsPending || !limiter.AllowN(now, 1) {
		return false, ""
	}
	r.told[k] = refusal{at: now}
	return true, ""
}

// number notes the incident number of a refusal that was told.
func (r *refusals) number(k refusalKey, incident string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.told[k]; ok {
		last.incident = incident
		r.told[k] = last
	}
}

// tellRefused emits participant.failed for somebody who was refused with a
// failure code: who, or if that is zero the bearer of the refused token. Who he
// is comes from a token whose signature was checked. What another token says is
// a claim: it goes into the evidence, and the event names nobody. The failure
// gets its incident number.
func (s *Server) tellRefused(who sfu.Person, f *failure, r *http.Request, stage event.Stage) {
	code := event.Code(f.code)
	if !slices.Contains(event.Codes(), code) {
		return
	}
	if who.Identity == "" {
		who = f.person
	}
	key := refusalKey{code, who.Room, who.Identity}
	genuine := who.Identity != ""
	if !genuine {
		key.room, key.identity = f.claimed.Room, f.claimed.Identity
	}
	ok, incident := s.refusals.allow(key, genuine, time.Now())
	if !ok {
		f.incident = incident
		s.metrics.untold.Add(1)
		return
	}
	evidence := map[string]any{"reason": f.text, "user_agent": clip(r.UserAgent(), maxName)}
	if !genuine {
		evidence["claimed_room"], evidence["claimed_participant"] = f.claimed.Room, f.claimed.Identity
	}
	e := s.cfg.Number(event.Event{
		Type: event.ParticipantFailed, Time: time.Now(), Room: who.Room, Participant: who.Identity,
		Failure: event.Failure{Code: code, Stage: stage, Evidence: evidence},
		Data:    refusalData(*f),
	})
	f.incident = e.Incident()
	s.refusals.number(key, f.incident)
	s.cfg.Events.Emit(e)
}

// refusalData is what a receiver can act on: nobody is in a call by a refusal,
// and whether the client comes back by itself.
func refusalData(f failure) map[string]any {
	data := map[string]any{"present": false}
	if f.retry > 0 {
		data["retry_ms"] = f.retry.Milliseconds()
	}
	return data
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
