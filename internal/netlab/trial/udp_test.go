package trial

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/netlab"
)

// blockedUDP lets two people talk in a network without UDP. The call works, and
// UDP_BLOCKED is said once to the webhook and in the journal, to the patient as
// a word for whoever asks, and to the doctor on the tile; to nobody as a failure.
func blockedUDP(t *testing.T, s *Site, kind Kind) {
	room := s.nextRoom()
	doctor, patient := s.sit(t, kind, room, auth.RoleDoctor), s.sit(t, kind, room, auth.RolePatient)
	entered := time.Now()
	told := func() (found []notice) {
		s.receiver.mu.Lock()
		defer s.receiver.mu.Unlock()
		for _, n := range s.receiver.notices {
			if n.Room == room && n.Participant == string(auth.RolePatient) && n.Code != "" {
				found = append(found, n)
			}
		}
		return found
	}
	ctx, cancel := context.WithTimeout(t.Context(), Limit+extra)
	defer cancel()
	if err := poll(ctx, lookPeriod, func() (bool, error) { return len(told()) > 0, nil }); err != nil {
		t.Fatalf("the webhook hears nothing: %v", err)
	}
	first := told()[0]
	if first.Type != string(event.QualityPoor) || first.Code != string(event.UDPBlocked) || first.Arrived.Sub(entered) > Limit {
		t.Errorf("the webhook heard %s %s after %v", first.Type, first.Code, first.Arrived.Sub(entered))
	}
	for who, look := range map[*visitor]string{
		patient: `document.querySelector('[data-testid=connection-state]')?.dataset.note`,
		doctor:  `document.querySelector('[data-testid=tile-quality]:not([hidden])')?.dataset.code`,
	} {
		err := poll(ctx, lookPeriod, func() (done bool, err error) {
			err = who.window.Eval(ctx, look+" === 'UDP_BLOCKED'", &done)
			return done, err
		})
		if err != nil {
			t.Errorf("the page does not say it by %s: %v", look, err)
		}
		var alarms int
		if err := who.window.Eval(ctx, `document.querySelectorAll('[data-testid=failure]').length`, &alarms); err != nil || alarms != 0 {
			t.Errorf("%d failures on the page, %v", alarms, err)
		}
	}
	e := s.fromFeed(t, room)
	ports, _ := e.Evidence["udp_ports"].([]any)
	if e.Data["protocol"] == "udp" || !slices.Contains(ports, any(netlab.ServerIPv4+":443")) {
		t.Errorf("the feed says %v, %v", e.Data, e.Evidence)
	}
	if n := len(told()); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// sit lets somebody join by a window behind the network that is tried.
func (s *Site) sit(t *testing.T, kind Kind, room string, role auth.Role) *visitor {
	t.Helper()
	token, err := s.token(room, string(role), role)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.browser(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	v, err := enter(t.Context(), b, netlab.ServerURL(true)+"/r/"+room+"#"+token)
	if v != nil {
		// Leaving is part of no result.
		t.Cleanup(func() { _ = v.leave(context.Background()) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fromFeed returns the room's quality.poor of the patient, which the timeline of
// the call must have as well.
func (s *Site) fromFeed(t *testing.T, room string) event.Event {
	t.Helper()
	poor := func(e event.Event) bool {
		return e.Type == event.QualityPoor && e.Code == event.UDPBlocked && e.Participant == string(auth.RolePatient) && e.Room == room
	}
	feed := s.ask(t, "/v1/events?limit=1000")
	i := slices.IndexFunc(feed, poor)
	if i < 0 {
		t.Fatal("the feed does not have it")
	}
	if !slices.ContainsFunc(s.ask(t, "/v1/calls/"+feed[i].Call+"/journal"), func(e event.Event) bool { return e.ID == feed[i].ID }) {
		t.Error("the journal does not have it")
	}
	return feed[i]
}

// ask reads events from the server's API.
func (s *Site) ask(t *testing.T, path string) []event.Event {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+netlab.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(keyID, keySecret)
	response, err := s.server.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var page struct{ Events []event.Event }
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", path, response.Status, err)
	}
	return page.Events
}
