package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/config"
	"consilium/internal/event"
)

// This is how every failure code is tried: the cause is made, not the code, and
// then wantCode finds it in the four places where somebody looks for it.

// hookKey signs the webhooks of these tests.
const hookKey = "0123456789abcdef0123456789abcdef"

// receiver is a webhook receiver that keeps what it got. It refuses what is not
// signed as Standard Webhooks 1.0 has it.
type receiver struct {
	url string

	mu     sync.Mutex
	events []event.Event
	more   chan struct{} // closed and replaced with each delivery
}

// startHooked runs a server that reports to a receiver of the test's own. edit
// changes its configuration.
func startHooked(t *testing.T, edit func(*config.Config)) (*lab, *receiver) {
	t.Helper()
	r := newReceiver(t)
	return start(t, func(c *config.Config) {
		c.Webhook.URL = r.url
		c.Webhook.Secret = config.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte(hookKey)))
		if edit != nil {
			edit(c)
		}
	}), r
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{more: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		e, err := openDelivery(q)
		if err != nil {
			t.Errorf("webhook: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
		close(r.more)
		r.more = make(chan struct{})
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// openDelivery checks the signature of a delivery and reads its event.
func openDelivery(q *http.Request) (e event.Event, err error) {
	body, err := io.ReadAll(io.LimitReader(q.Body, 1<<20))
	if err != nil {
		return e, err
	}
	id := q.Header.Get("webhook-id")
	mac := hmac.New(sha256.New, []byte(hookKey))
	fmt.Fprintf(mac, "%s.%s.%s", id, q.Header.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !slices.Contains(strings.Fields(q.Header.Get("webhook-signature")), want) {
		return e, fmt.Errorf("signature %q, want %q", q.Header.Get("webhook-signature"), want)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("%w in %s", err, body)
	}
	if e.ID != id {
		return e, fmt.Errorf("webhook-id %q of event %q", id, e.ID)
	}
	return e, nil
}

// all is what has arrived, and what will be closed when there is more.
func (r *receiver) all() ([]event.Event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events), r.more
}

// wait returns the first event that matches, waiting for it.
func (r *receiver) wait(t *testing.T, what string, match func(event.Event) bool) event.Event {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		all, more := r.all()
		if i := slices.IndexFunc(all, match); i >= 0 {
			return all[i]
		}
		select {
		case <-more:
		case <-timer.C:
			t.Fatalf("no %s at the webhook within %v; there were %s", what, patience, summary(all))
		}
	}
}

// failureOf says whether an event is a participant.failed of somebody.
func failureOf(identity string) func(event.Event) bool {
	return func(e event.Event) bool { return e.Type == event.ParticipantFailed && e.Participant == identity }
}

// wantCode waits until a failure is named by exactly its code everywhere: on
// the person's page (nil: there is none to look at), at the webhook, in the
// feed, and in the journal of the call if he was in one. Every failure of his
// that the webhook gets must have this code. It returns the event.
func wantCode(t *testing.T, p *person, journal *lab, hook *receiver, identity string, code event.Code) event.Event {
	t.Helper()
	if p != nil {
		p.isTold(code)
	}
	delivered := hook.wait(t, "participant.failed "+string(code)+" of "+identity, func(e event.Event) bool {
		return failureOf(identity)(e) && e.Code == code
	})
	all, _ := hook.all()
	for _, e := range all {
		if failureOf(identity)(e) && e.Code != code {
			t.Errorf("the webhook also got %s at %s, %v", e.Code, e.Stage, e.Evidence)
		}
	}
	checkFailure(t, delivered)
	same := func(e event.Event) bool { return e.ID == delivered.ID && e.Code == code }
	if !slices.ContainsFunc(journal.events(), same) {
		t.Errorf("the feed does not have the webhook's event %s", delivered.ID)
	}
	if delivered.Call == "" {
		return delivered
	}
	var timeline struct{ Events []event.Event }
	journal.get("/v1/calls/"+delivered.Call+"/journal", &timeline)
	if !slices.ContainsFunc(timeline.Events, same) {
		t.Errorf("the journal of call %s does not have the event %s", delivered.Call, delivered.ID)
	}
	return delivered
}

// checkFailure says what a failure lacks that is of use to anybody.
func checkFailure(t *testing.T, e event.Event) {
	t.Helper()
	if e.Stage == "" || len(e.Evidence) == 0 || e.Data == nil {
		t.Errorf("%s has stage %q, evidence %v, data %v", e.Code, e.Stage, e.Evidence, e.Data)
	}
	if _, claimed := e.Evidence["claimed_room"]; e.Room == "" && !claimed {
		t.Errorf("%s names no room", e.Code)
	}
	if e.Incident() == "" {
		t.Errorf("%s has no incident number", e.Code)
	}
}
