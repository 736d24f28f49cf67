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
	base, client := l.api()
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, base+"/metrics", nil)
	l.must(err)
	request.SetBasicAuth(config.DevKeyID, string(config.DevSecret))
	response, err := client.Do(request)
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

// middleman is what somebody in the middle does to the fingerprint of a certificate.
const middleman = `const forge = (sdp) => sdp.replace(/(a=fingerprint:sha-256 )(..)/gi, (_, a, b) => a + (b === '00' ? 'FF' : '00'));`

// forgedOffer has the server refuse the client's certificate, and forgedAnswer
// the client that of the server.
const (
	forgedOffer = middleman + `
	const send = WebSocket.prototype.send;
	WebSocket.prototype.send = function (data) {
		const m = JSON.parse(data);
		if (m.type === 'offer') m.body.sdp = forge(m.body.sdp);
		send.call(this, JSON.stringify(m));
	};`

	forgedAnswer = middleman + `
	const set = RTCPeerConnection.prototype.setRemoteDescription;
	RTCPeerConnection.prototype.setRemoteDescription = function (d) {
		return set.call(this, {type: d.type, sdp: forge(d.sdp)});
	};`
)

// silent sends nothing of what the page publishes, as an encoder does that has
// died: the tracks live, the connection works, no packet comes.
const silent = `
	const add = RTCPeerConnection.prototype.addTransceiver;
	RTCPeerConnection.prototype.addTransceiver = function (track, init = {}) {
		if (init.direction === 'sendonly') init.sendEncodings = [{...init.sendEncodings?.[0], active: false}];
		return add.call(this, track, init);
	};`

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

// wayless are the cases of a call that somebody joins and that never has a
// connection.
func wayless() map[string]struct {
	code   event.Code
	stage  event.Stage
	server func(*config.Config)
	page   browser.PageOptions
} {
	return map[string]struct {
		code   event.Code
		stage  event.Stage
		server func(*config.Config)
		page   browser.PageOptions
	}{
		"no way": {event.NoRoute, event.StageICE, func(c *config.Config) {
			c.Media.Networks.Include = []string{"127.0.0.1/32"}
			c.Media.PublicAddresses, c.Media.OwnAddresses = []string{blackHole}, false // the relay's too
		}, browser.PageOptions{}},
		"credential refused": {event.TURNAuth, event.StageICE, func(c *config.Config) {
			c.TURN.TTL = time.Nanosecond // expired when it is used, as with a clock that is wrong
		}, browser.PageOptions{Relay: "tcp"}},
		// As a policy or an extension may have it: relays only, and there is none.
		"no candidates": {event.NoCandidates, event.StageICE, func(c *config.Config) {
			c.TURN.Enabled = false
		}, browser.PageOptions{Relay: "tcp"}},
		"server refuses": {event.DTLSFailed, event.StageDTLS, nil, browser.PageOptions{Script: forgedOffer}},
		"client refuses": {event.DTLSFailed, event.StageDTLS, nil, browser.PageOptions{Script: forgedAnswer}},
	}
}

func TestACallThatNeverConnectsIsNamed(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			b := browser.Start(t, browser.Options{Kind: kind})
			// All of them join before the first is looked at: the ten seconds
			// are waited once.
			var joined []func()
			for name, test := range wayless() {
				l, hook := startHooked(t, func(c *config.Config) {
					c.Media.Tunnel.Enabled = false // the last way
					if test.server != nil {
						test.server(c)
					}
				})
				test.page.AllowErrors = true // Firefox itself writes one when a connection fails
				identity := strings.ReplaceAll(name, " ", "-")
				p := l.openWith(b, identity, l.invite(l.url, identity, nil), test.page)
				p.agree()
				joined = append(joined, func() {
					e := wantCode(t, p, l, hook, identity, test.code)
					if e.Stage != test.stage {
						t.Errorf("%s: at %s, want %s", name, e.Stage, test.stage)
					}
					took := e.Time.Sub(l.answered(e.Call, identity))
					t.Logf("%s: %s after %v", name, e.Code, took)
					within(t, took)
					if n := l.metric(`consilium_turn_denied_total{reason="expired"}`); test.code == event.TURNAuth && n == 0 {
						t.Error("the server has counted no refusal")
					}
				})
			}
			for _, look := range joined {
				look()
			}
		})
	}
}

func TestMediaThatNeverComesIsNamed(t *testing.T) {
	t.Parallel()
	mute, muteHook := startHooked(t, nil)
	dark, darkHook := startHooked(t, nil)
	doctor := dark.bot("room", "doctor", auth.RoleDoctor, nil)
	b := browser.Start(t, browser.Options{})
	quiet := mute.openWith(b, "quiet", mute.invite(mute.url, "quiet", nil), browser.PageOptions{Script: silent})
	quiet.agree()
	blinded := dark.visit(b, "room", "blinded", auth.RolePatient, browser.PageOptions{Script: blind})
	blinded.join()
	dark.must(doctor.WaitFrames(dark.context(patience), "blinded", media.Camera, 5)) // he is seen

	e := wantTimeout(t, quiet, muteHook, event.NoMediaOut, event.StageFirstRTP, event.Out)
	within(t, e.Time.Sub(mute.answered(e.Call, "quiet")))
	e = wantTimeout(t, blinded, darkHook, event.NoMediaIn, event.StageFirstFrame, event.In)
	within(t, e.Time.Sub(dark.waitEvent(event.ICEConnected, "blinded", patience).Time))
}
