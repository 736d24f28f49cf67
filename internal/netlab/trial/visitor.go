package trial

import (
	"context"
	"fmt"
	"strings"
	"time"

	"consilium/internal/browser"
	"consilium/internal/netlab"
)

// visitor is a person in a real browser.
type visitor struct {
	window *browser.Window
}

// startBrowser runs a browser in the client's namespace.
func startBrowser(ctx context.Context, l *netlab.Lab, kind browser.Kind, trust string) (*browser.Browser, error) {
	o := browser.Options{Kind: kind, Netns: string(l.Client), Trust: trust, Width: 800, Height: 600}
	if kind == browser.Chromium {
		// The lab's IPv6 addresses are of the range for documentation, which
		// Chromium takes for a local network, and its IPv4 addresses for public
		// ones. A page that came over one may open no WebSocket over the other.
		o.Args = []string{"--ip-address-space-overrides=[" + netlab.ServerIPv6 + "]:443=public"}
	}
	if l.Profile.Proxy {
		host, port, _ := strings.Cut(netlab.ProxyAddress, ":")
		if kind == browser.Chromium {
			o.Args = append(o.Args, "--proxy-server=http://"+netlab.ProxyAddress)
		} else {
			o.Prefs = map[string]any{
				"network.proxy.type": 1, "network.proxy.http": host, "network.proxy.http_port": portNumber(port),
				"network.proxy.ssl": host, "network.proxy.ssl_port": portNumber(port), "network.proxy.share_proxy_settings": true,
			}
		}
	}
	return browser.Open(ctx, o)
}

func portNumber(text string) (n int) {
	for _, digit := range text {
		n = 10*n + int(digit-'0')
	}
	return n
}

// enter opens a join link, accepts what is asked and joins.
func enter(ctx context.Context, b *browser.Browser, link string) (*visitor, error) {
	window, err := b.OpenWindow(ctx, browser.PageOptions{})
	if err != nil {
		return nil, err
	}
	v := &visitor{window}
	if err := window.Goto(ctx, link); err != nil {
		return v, err
	}
	var problem string
	if err := window.Eval(ctx, joinScript, &problem); err != nil {
		return v, fmt.Errorf("join: %w", err)
	}
	if problem != "" {
		return v, fmt.Errorf("join: %s", problem)
	}
	return v, nil
}

// joinScript waits for the page to be ready, joins, and from then on notes
// every 50 ms what has been decoded and which failures are shown.
const joinScript = `(async () => {
	const find = (id) => document.querySelector('[data-testid=' + id + ']');
	const pause = (ms) => new Promise((r) => setTimeout(r, ms));
	const end = performance.now() + 20000;
	for (;;) {
		const box = find('consent-accept');
		if (box && !box.checked) box.click();
		const join = find('join');
		if (join && !join.disabled) break;
		if (performance.now() > end) return 'no join button: ' + document.body.innerText.slice(0, 300);
		await pause(20);
	}
	const lab = window.__lab = {
		began: Date.now(), answered: 0, state: '', path: '',
		video: {count: 0, first: 0}, audio: {count: 0, first: 0}, told: [], carried: [0, 0], last: [0, 0], pc: null,
	};
	const note = (stream, n, i) => {
		if (n < lab.last[i]) lab.carried[i] += lab.last[i]; // another connection counts from zero
		lab.last[i] = n;
		stream.count = Math.round(lab.carried[i] + n);
		if (n > 0 && !stream.first) stream.first = Date.now();
	};
	const throughTunnel = async (call) => { // there is no PeerConnection to ask
		const tracks = new Map();
		for (const [i, seat] of call.roster.seats.peek().entries()) {
			tracks.set(seat.audio, 'audio ' + i).set(seat.video, 'video ' + i);
		}
		const {decoded} = await call.peer.collect(tracks);
		const sum = (what) => Object.values(decoded).reduce((n, d) => n + (d[what] ?? 0), 0);
		lab.path = 'websocket';
		note(lab.video, sum('frames'), 0);
		note(lab.audio, sum('samples'), 1);
	};
	const look = async () => {
		const call = window.consilium?.call, pc = window.consilium?.pc;
		for (const f of call?.failures.list.peek() ?? []) {
			if (!lab.told.some((o) => o.code === f.code && o.participant === f.participant)) {
				lab.told.push({code: f.code, participant: f.participant, type: f.stage, time: Date.now()});
			}
		}
		lab.state = pc?.connectionState ?? '';
		if (call?.tunnelled.peek() && call.peer && !pc) {
			await throughTunnel(call);
			return;
		}
		if (!pc) return;
		if (!lab.answered && pc.currentRemoteDescription) lab.answered = Date.now();
		let frames = 0, samples = 0, selected = '';
		const stats = await pc.getStats();
		for (const s of stats.values()) {
			if (s.type === 'inbound-rtp' && s.kind === 'video') frames += s.framesDecoded ?? 0;
			if (s.type === 'inbound-rtp' && s.kind === 'audio' && (s.totalAudioEnergy ?? 0) > 0) samples += s.totalSamplesReceived ?? 0;
			if (s.type === 'transport' && s.selectedCandidatePairId) selected = s.selectedCandidatePairId;
		}
		for (const s of stats.values()) {
			if (s.type !== 'candidate-pair' || (selected ? s.id !== selected : !(s.selected || s.nominated && s.state === 'succeeded'))) continue;
			const c = stats.get(s.localCandidateId);
			if (c) lab.path = c.candidateType + ' ' + (c.candidateType === 'relay' ? c.relayProtocol : c.protocol);
		}
		note(lab.video, frames, 0);
		note(lab.audio, samples, 1);
	};
	(async () => { for (;;) { try { await look(); } catch { /* closed under us */ } await pause(50); } })();
	find('join').click();
	return '';
})()`

func (v *visitor) status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	var page struct {
		Began, Answered float64
		State, Path     string
		Video, Audio    struct {
			Count uint64
			First float64
		}
		Told []struct {
			Code, Participant, Type string
			Time                    float64
		}
	}
	if err := v.window.Eval(ctx, "window.__lab", &page); err != nil {
		return Status{}, fmt.Errorf("ask page: %w", err)
	}
	s := Status{
		Began: moment(page.Began), Answered: moment(page.Answered), State: page.State, Path: pathOf(page.Path),
		Video: Stream{page.Video.Count, moment(page.Video.First)}, Audio: Stream{page.Audio.Count, moment(page.Audio.First)},
	}
	for _, t := range page.Told {
		s.note(Told{Type: t.Type, Code: t.Code, Participant: t.Participant, Time: moment(t.Time)})
	}
	return s, nil
}

// moment is a time of JavaScript, in ms since 1970; 0 is none.
func moment(ms float64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(ms * 1000))
}

func (v *visitor) networkChanged() error { return nil }

// quietScript takes the tracks from the senders, which then send no RTP at all:
// a muted microphone would go on with silence.
const quietScript = `(async () => {
	const senders = window.consilium.pc.getSenders();
	window.__quiet = senders.map((s) => s.track);
	await Promise.all(senders.map((s) => s.replaceTrack(null)));
})()`

const loudScript = `(async () => {
	const senders = window.consilium.pc.getSenders();
	await Promise.all(window.__quiet.map((t, i) => t && senders[i].replaceTrack(t)));
})()`

func (v *visitor) quiet(ctx context.Context, on bool) error {
	script := loudScript
	if on {
		script = quietScript
	}
	if err := v.window.Eval(ctx, script, nil); err != nil {
		return fmt.Errorf("stop or start sending: %w", err)
	}
	return nil
}

func (v *visitor) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	_ = v.window.Eval(ctx, "window.consilium?.call?.leave()", nil) // the page may be gone
	return v.window.Close(ctx)
}
