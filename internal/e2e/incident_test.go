package e2e

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/timeline"
)

// dump returns the lines of a participant's rtcstats dump, without the first
// two, by method, and the whole text.
func (l *lab) dump(call, identity string) (methods map[string]int, text string) {
	l.t.Helper()
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet,
		l.url+"/v1/calls/"+call+"/journal?format=rtcstats&participant="+url.QueryEscape(identity), nil)
	l.must(err)
	request.SetBasicAuth(config.DevKeyID, string(config.DevSecret))
	response, err := http.DefaultClient.Do(request)
	l.must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	l.must(err)
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	var about map[string]any
	if response.StatusCode != http.StatusOK || len(lines) < 3 || lines[0] != "RTCStatsDump" || json.Unmarshal([]byte(lines[1]), &about) != nil {
		l.t.Fatalf("%d %.300s", response.StatusCode, body)
	}
	if about["fileFormat"] != 3.0 || about["userAgent"] == nil {
		l.t.Errorf("metadata: %s", lines[1])
	}
	methods = make(map[string]int)
	for _, line := range lines[2:] {
		var list []any
		if err := json.Unmarshal([]byte(line), &list); err != nil || len(list) < 4 {
			l.t.Fatalf("%v: %s", err, line)
		}
		method, _ := list[0].(string)
		if delta, ok := list[len(list)-1].(float64); !ok || delta < 0 || method == "" {
			l.t.Errorf("line: %s", line)
		}
		methods[method]++
	}
	return methods, string(body)
}

// secrets are what the page knows and nobody else may.
func (p *person) secrets() (found []string) {
	p.l.t.Helper()
	p.Eval(`[location.hash.slice(1), location.hash.split('.')[2],
		...consilium.pc.getConfiguration().iceServers.flatMap((s) => [s.credential, s.username]),
		...[...Object.values(sessionStorage)].map((s) => JSON.parse(s).secret),
		...consilium.pc.localDescription.sdp.matchAll(/ice-pwd:(\S+)/g).map((m) => m[1]),
		...consilium.pc.remoteDescription.sdp.matchAll(/ice-pwd:(\S+)/g).map((m) => m[1])].filter(Boolean)`, &found)
	if len(found) < 6 {
		p.l.t.Fatalf("only %d secrets were found", len(found))
	}
	return found
}

// journal is the answer of GET /v1/calls/{id}/journal.
type journalAnswer struct {
	Events []struct {
		event.Event
		Side timeline.Side `json:"side"`
		At   time.Time     `json:"at"`
	} `json:"events"`
	Participants []timeline.Participant `json:"participants"`
}

func TestACallLeavesATimelineOfBothSidesAndADump(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	chromium := browser.Start(t, browser.Options{})
	people := []*person{
		l.enter(chromium, "room", "doctor", auth.RoleDoctor),
		l.enter(browser.Start(t, browser.Options{Kind: browser.Firefox}), "room", "patient", auth.RolePatient),
	}
	people[0].sees("patient")
	people[1].sees("doctor")
	call := l.waitEvent(event.CallStarted, "", patience).Call
	for _, p := range people {
		t.Run(p.identity, func(t *testing.T) {
			l := l.in(t)
			var of timeline.Participant
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the timeline has %+v", of)
				}
			})
			l.eventually("a first frame and a report in the timeline", func() bool {
				var answer journalAnswer
				l.get("/v1/calls/"+call+"/journal", &answer)
				i := slices.IndexFunc(answer.Participants, func(q timeline.Participant) bool { return q.Identity == p.identity })
				if i < 0 {
					return false
				}
				of = answer.Participants[i]
				return len(of.Clocks) > 0 && of.Clocks[0].Method == "ping" && of.Path != nil && of.Path.Pair != nil &&
					slices.ContainsFunc(of.Stages, func(s timeline.Stage) bool { return s.Name == event.StageFirstFrame && s.MS != nil })
			})
			checkParticipant(t, of)
			methods, text := l.dump(call, p.identity)
			for _, method := range []string{
				"navigator.mediaDevices.getUserMedia", "navigator.mediaDevices.getUserMediaOnSuccess", "create", "createOffer",
				"setLocalDescription", "setLocalDescriptionOnSuccess", "setRemoteDescription", "setRemoteDescriptionOnSuccess",
				"onicecandidate", "onsignalingstatechange", "oniceconnectionstatechange", "onconnectionstatechange", "getStats",
				"consilium.server",
			} {
				if methods[method] == 0 {
					t.Errorf("the dump has no %s, only %v", method, methods)
				}
			}
			for _, secret := range p.secrets() {
				if strings.Contains(text, secret) {
					t.Errorf("the dump has %.12s...", secret)
				}
			}
		})
	}
}

// checkParticipant looks at what a timeline sums up of somebody whose call
// works, on the machine of the server.
func checkParticipant(t *testing.T, p timeline.Participant) {
	t.Helper()
	// The device's clock is the server's; a millisecond is lost to rounding.
	if c := p.Clocks[0]; c.AccuracyMS == nil || math.Abs(c.OffsetMS) > *c.AccuracyMS+2 {
		t.Errorf("clock %+v of a device that has the server's clock", c)
	}
	for _, side := range []timeline.Side{timeline.Client, timeline.Server} {
		for _, name := range []event.Stage{event.StageNegotiate, event.StageICE, event.StageDTLS} {
			if !slices.ContainsFunc(p.Stages, func(s timeline.Stage) bool {
				return s.Side == side && s.Name == name && s.MS != nil && *s.MS >= 0 && *s.MS < 30_000
			}) {
				t.Errorf("no %s of the %s in %+v", name, side, p.Stages)
			}
		}
	}
	for end, states := range map[string]timeline.EndStates{"client": p.States.Client, "server": p.States.Server} {
		for what, list := range map[string][]timeline.Change{"ICE": states.ICE, "DTLS": states.DTLS, "signalling": states.Signaling} {
			if len(list) == 0 {
				t.Errorf("the %s has no states of %s", end, what)
			}
		}
	}
	if len(p.Candidates) == 0 {
		t.Error("no candidates")
	}
	for _, c := range p.Candidates {
		if c.Reason == "" {
			t.Errorf("no reason why %+v was ignored", c)
		}
	}
}

// eventually waits until ok.
func (l *lab) eventually(what string, ok func() bool) {
	l.t.Helper()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-ticker.C {
		if time.Now().After(deadline) {
			l.t.Fatalf("no %s within %v", what, patience)
		}
	}
}

func TestTheNumberOnThePageIsThatOfTheWebhookAndFindsTheTimeline(t *testing.T) {
	t.Parallel()
	l, hook := startHooked(t, nil)
	p := l.visit(browser.Start(t, browser.Options{DenyPermissions: true}), "room", "patient", auth.RolePatient, browser.PageOptions{})
	p.WaitVisible("incident")
	failed := hook.wait(t, "participant.failed", failureOf("patient"))
	numbers := p.numbers()
	if !slices.Contains(numbers, failed.Incident()) {
		t.Errorf("the page says %q, the webhook %q", numbers, failed.Incident())
	}
	if e := l.waitEvent(event.ParticipantFailed, "patient", patience); e.Incident() != failed.Incident() {
		t.Errorf("the feed says %q, the webhook %q", e.Incident(), failed.Incident())
	}
	var found struct{ Events []event.Event }
	l.get("/v1/events?incident="+url.QueryEscape(strings.ToLower(failed.Incident())), &found)
	if len(found.Events) < 2 || found.Events[0].Participant != "patient" {
		t.Errorf("the number finds %+v", found.Events)
	}
	p.shoot("incident")

	// In the call the same failure keeps its number, and a new one is told.
	p.join()
	p.WaitVisible("incident")
	if again := p.numbers(); !slices.ContainsFunc(again, func(n string) bool { return slices.Contains(numbers, n) }) {
		t.Errorf("before the call the page said %q, in it %q", numbers, again)
	}
}

// numbers are the incident numbers on the page.
func (p *person) numbers() (list []string) {
	p.l.t.Helper()
	p.Eval(`[...document.querySelectorAll('[data-testid=incident]')].map((e) => e.textContent)`, &list)
	return list
}
