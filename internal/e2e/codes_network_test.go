package e2e

import (
	"bufio"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/media"
)

// Codes of the way to a connection, and of media on it. Each cause is a network
// or a configuration that has it, or a script in the page that does what a
// network would; no script says a code.

// blackHole is an address to which nothing leads (RFC 5737).
const blackHole = "198.51.100.77"

// wantTimeout waits for media.timeout of somebody, with exactly this failure, on
// his page, at the webhook, and in the journal.
func wantTimeout(t *testing.T, p *person, hook *receiver, code event.Code, stage event.Stage, d event.Direction) event.Event {
	t.Helper()
	about := func(e event.Event) bool { return e.Type == event.MediaTimeout && e.Participant == p.identity }
	delivered := hook.wait(t, "media.timeout of "+p.identity, about)
	if delivered.Code != code || delivered.Stage != stage || delivered.Direction != d || len(delivered.Evidence) == 0 {
		t.Errorf("the webhook says %s at %s, %s, %v", delivered.Code, delivered.Stage, delivered.Direction, delivered.Evidence)
	}
	p.isTold(code)
	all, _ := hook.all()
	for _, e := range all {
		if e.Participant == p.identity && e.Code != "" && e.Code != code {
			t.Errorf("the webhook also got %s %s", e.Type, e.Code)
		}
	}
	p.l.wantInJournal(delivered)
	return delivered
}

// wantInJournal fails the test unless feed and timeline have an event that the
// webhook had, with its code.
func (l *lab) wantInJournal(want event.Event) {
	l.t.Helper()
	same := func(e event.Event) bool { return e.ID == want.ID && e.Code == want.Code }
	if !slices.ContainsFunc(l.events(), same) {
		l.t.Errorf("the feed does not have the webhook's event %s", want.ID)
	}
	var timeline struct{ Events []event.Event }
	l.get("/v1/calls/"+want.Call+"/journal", &timeline)
	if !slices.ContainsFunc(timeline.Events, same) {
		l.t.Errorf("the journal of call %s does not have the event %s", want.Call, want.ID)
	}
}

// answered is when the first offer of somebody was answered.
func (l *lab) answered(call, identity string) time.Time {
	l.t.Helper()
	var timeline struct{ Events []event.Event }
	l.get("/v1/calls/"+call+"/journal", &timeline)
	for _, e := range timeline.Events {
		if e.Type == event.NoteNegotiation && e.Participant == identity && e.Data["first"] == true {
			return e.Time
		}
	}
	l.t.Fatalf("no offer of %s was answered", identity)
	return time.Time{}
}

// metric reads one value of GET /metrics, 0 if it is not there.
func (l *lab) metric(series string) (value float64) {
	l.t.Helper()
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+"/metrics", nil)
	l.must(err)
	request.SetBasicAuth(config.DevKeyID, string(config.DevSecret))
	response, err := http.DefaultClient.Do(request)
	l.must(err)
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			value, err = strconv.ParseFloat(text, 64)
			l.must(err)
		}
	}
	return value
}

// failsToConnect lets somebody join a call that never gets media.
func failsToConnect(t *testing.T, kind browser.Kind, code event.Code, stage event.Stage, edit func(*config.Config), o browser.PageOptions, prefs map[string]any) *lab {
	t.Helper()
	l, hook := startHooked(t, func(c *config.Config) {
		c.Media.Tunnel.Enabled = false // the last way
		if edit != nil {
			edit(c)
		}
	})
	o.AllowErrors = true // Firefox itself writes an error when a connection fails
	p := l.openWith(browser.Start(t, browser.Options{Kind: kind, Prefs: prefs}), "patient", l.invite(l.url, "patient", nil), o)
	p.agree()
	p.WaitVisible("call")
	e := wantCode(t, p, l, hook, "patient", code)
	if e.Stage != stage {
		t.Errorf("%s at %s, want %s", e.Code, e.Stage, stage)
	}
	within(t, e.Time.Sub(l.answered(e.Call, "patient")))
	return l
}

func TestANetworkWithoutAWayIsNamed(t *testing.T) {
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			failsToConnect(t, kind, event.NoRoute, event.StageICE, func(c *config.Config) {
				c.Media.Networks.Include = []string{"127.0.0.1/32"}
				c.Media.PublicAddresses, c.Media.OwnAddresses = []string{blackHole}, false // the relay's too
			}, browser.PageOptions{}, nil)
		})
	}
}

func TestARelayThatRefusesTheCredentialIsNamed(t *testing.T) {
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l := failsToConnect(t, kind, event.TURNAuth, event.StageICE, func(c *config.Config) {
				c.TURN.TTL = time.Nanosecond // expired when it is used, as with a clock that is wrong
			}, browser.PageOptions{Relay: "tcp"}, nil)
			if n := l.metric(`consilium_turn_denied_total{reason="expired"}`); n == 0 {
				t.Error("the server has counted no refusal")
			}
		})
	}
}

func TestADeviceWithoutANetworkIsNamed(t *testing.T) {
	// As a policy or an extension may have it: relays only, and there is none.
	relayOnly := map[string]any{"media.peerconnection.ice.relay_only": true}
	failsToConnect(t, browser.Firefox, event.NoCandidates, event.StageICE,
		func(c *config.Config) { c.TURN.Enabled = false }, browser.PageOptions{}, relayOnly)
}

// fingerprints are forged by whoever wants to be in the middle. Here it is a
// script: it changes what the WebSocket carries.
const (
	forge1 = `const forge = (sdp) => sdp.replace(/(a=fingerprint:sha-256 )(..)/gi, (_, a, b) => a + (b === '00' ? 'FF' : '00'));`

	forgedOffer = forge1 + `
	const send = WebSocket.prototype.send;
	WebSocket.prototype.send = function (data) {
		const m = JSON.parse(data);
		if (m.type === 'offer') m.body.sdp = forge(m.body.sdp);
		send.call(this, JSON.stringify(m));
	};`

	forgedAnswer = forge1 + `
	const set = RTCPeerConnection.prototype.setRemoteDescription;
	RTCPeerConnection.prototype.setRemoteDescription = function (d) {
		return set.call(this, {type: d.type, sdp: forge(d.sdp)});
	};`
)

func TestAHandshakeThatSomebodyIsInTheMiddleOfIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		kind   browser.Kind
		script string
	}{
		"chromium refused by the server": {browser.Chromium, forgedOffer},
		"chromium refuses the server":    {browser.Chromium, forgedAnswer},
		"firefox refused by the server":  {browser.Firefox, forgedOffer},
		"firefox refuses the server":     {browser.Firefox, forgedAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			failsToConnect(t, test.kind, event.DTLSFailed, event.StageDTLS, nil, browser.PageOptions{Script: test.script}, nil)
		})
	}
}

// silent sends nothing of what the page publishes, as an encoder does that has
// died: the tracks live, the connection works, no packet comes.
const silent = `
	const add = RTCPeerConnection.prototype.addTransceiver;
	RTCPeerConnection.prototype.addTransceiver = function (track, init = {}) {
		if (init.direction === 'sendonly') init.sendEncodings = [{...init.sendEncodings?.[0], active: false}];
		return add.call(this, track, init);
	};`

func TestADeviceThatSendsNothingIsNamed(t *testing.T) {
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l, hook := startHooked(t, nil)
			p := l.openWith(browser.Start(t, browser.Options{Kind: kind}), "patient", l.invite(l.url, "patient", nil), browser.PageOptions{Script: silent})
			p.agree()
			e := wantTimeout(t, p, hook, event.NoMediaOut, event.StageFirstRTP, event.Out)
			within(t, e.Time.Sub(l.answered(e.Call, "patient")))
		})
	}
}

// blind takes every encoded picture away before the decoder has it.
const blind = `
	RTCPeerConnection = class extends RTCPeerConnection {
		constructor(config) {
			super({...config, encodedInsertableStreams: true});
			this.addEventListener('track', ({receiver, track}) => {
				const {readable, writable} = receiver.createEncodedStreams();
				const through = new TransformStream({transform(frame, c) { if (track.kind === 'audio') c.enqueue(frame); }});
				readable.pipeThrough(through).pipeTo(writable).catch(() => {});
			});
		}
		addTransceiver(...args) {
			const t = super.addTransceiver(...args);
			if (t.direction === 'sendonly') {
				const {readable, writable} = t.sender.createEncodedStreams();
				readable.pipeTo(writable).catch(() => {});
			}
			return t;
		}
	};`

func TestADeviceThatDecodesNothingIsNamed(t *testing.T) {
	l, hook := startHooked(t, nil)
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	b := browser.Start(t, browser.Options{})
	p := l.visit(b, "room", "patient", auth.RolePatient, browser.PageOptions{Script: blind})
	p.join()
	l.must(doctor.WaitFrames(l.context(patience), "patient", media.Camera, 5)) // he is seen
	e := wantTimeout(t, p, hook, event.NoMediaIn, event.StageFirstFrame, event.In)
	within(t, e.Time.Sub(l.waitEvent(event.ICEConnected, "patient", patience).Time))
}
