package browser

import (
	"encoding/json"
	"fmt"
	"time"
)

// media.go looks at what a page plays. Elements are named by a CSS selector,
// since a test may want "the video in that tile".

// mediaScript defines window.__media once in a page. It observes and changes
// nothing that the page does.
const mediaScript = `(() => {
if (window.__media) return true;
const find = (selector) => {
	const e = document.querySelector(selector);
	if (!e) throw new Error('no element ' + selector);
	return e;
};
const pixels = (video) => {
	const c = document.createElement('canvas');
	c.width = 64; c.height = 36;
	const g = c.getContext('2d', {willReadFrequently: true});
	g.drawImage(video, 0, 0, c.width, c.height);
	return g.getImageData(0, 0, c.width, c.height).data;
};
const pause = (ms) => new Promise(r => setTimeout(r, ms));
const m = window.__media = {watched: {}};
// change: mean difference of two pictures a while apart, 0 to 255 a channel.
m.change = async (selector, ms) => {
	const video = find(selector);
	if (!video.videoWidth) return 0;
	const a = pixels(video);
	await pause(ms);
	const b = pixels(video);
	let sum = 0;
	for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i]);
	return sum / a.length;
};
// brightness: mean of the picture, 0 to 255.
m.brightness = (video) => {
	const p = pixels(video);
	let sum = 0;
	for (let i = 0; i < p.length; i += 4) sum += p[i] + p[i + 1] + p[i + 2];
	return sum / (p.length / 4 * 3);
};
// listen: an analyser on what an element plays.
m.listen = async (selector) => {
	const stream = find(selector).srcObject;
	if (!stream || !stream.getAudioTracks().length) throw new Error('no sound in ' + selector);
	m.context ??= new AudioContext();
	if (m.context.state !== 'running') await m.context.resume();
	const analyser = m.context.createAnalyser();
	analyser.fftSize = 512;
	const source = m.context.createMediaStreamSource(stream);
	source.connect(analyser);
	const data = new Float32Array(analyser.fftSize);
	return {
		level: () => {
			analyser.getFloatTimeDomainData(data);
			let sum = 0;
			for (const x of data) sum += x * x;
			return Math.sqrt(sum / data.length);
		},
		stop: () => source.disconnect(),
	};
};
// energy: the loudest level heard within ms, 0 to 1.
m.energy = async (selector, ms) => {
	const ear = await m.listen(selector);
	let loudest = 0;
	for (const end = performance.now() + ms; performance.now() < end; await pause(10)) {
		loudest = Math.max(loudest, ear.level());
	}
	ear.stop();
	return loudest;
};
// watch: counts frames and the longest wait between two, until unwatch.
m.watch = (selector) => {
	const video = find(selector);
	const w = m.watched[selector] = {frames: 0, last: performance.now(), gap: 0, on: true};
	const frame = (now) => {
		if (!w.on) return;
		w.frames++;
		w.gap = Math.max(w.gap, now - w.last);
		w.last = now;
		video.requestVideoFrameCallback(frame);
	};
	video.requestVideoFrameCallback(frame);
	return true;
};
m.unwatch = (selector) => {
	const w = m.watched[selector];
	w.on = false;
	return {frames: w.frames, gap: Math.max(w.gap, performance.now() - w.last)};
};
// onsets: when the picture turned white and when the beep began, in ms.
m.onsets = async (videoSelector, audioSelector, ms) => {
	const video = find(videoSelector), ear = await m.listen(audioSelector);
	const flashes = [], beeps = [];
	let bright = true, loud = true, on = true;
	const frame = (now, data) => {
		if (!on) return;
		const b = m.brightness(video) > 128;
		if (b && !bright) flashes.push(data.expectedDisplayTime || now);
		bright = b;
		video.requestVideoFrameCallback(frame);
	};
	video.requestVideoFrameCallback(frame);
	let quiet = 0;
	for (const end = performance.now() + ms; performance.now() < end; await pause(4)) {
		const l = ear.level() > 0.05;
		quiet = l ? 0 : quiet + 1;
		if (l && !loud) beeps.push(performance.now());
		if (l) loud = true; else if (quiet > 10) loud = false;
	}
	on = false;
	ear.stop();
	return {flashes, beeps};
};
return true;
})()`

// peersScript runs before the page's own scripts. relay is that of
// PageOptions.
func peersScript(relay string) string {
	return fmt.Sprintf(`
window.__peers = [];
window.RTCPeerConnection = ((relay) => {
	const only = (config = {}) => {
		if (!relay) return config;
		const wanted = (url) => relay === 'tls' ? url.startsWith('turns:')
			: relay !== 'none' && url.startsWith('turn:') && url.includes('transport=tcp') === (relay === 'tcp');
		const iceServers = (config.iceServers ?? [])
			.map((s) => ({...s, urls: [s.urls].flat().filter(wanted)})).filter((s) => s.urls.length);
		return {...config, iceServers, iceTransportPolicy: 'relay'};
	};
	return class extends window.RTCPeerConnection {
		constructor(config) { super(only(config)); window.__peers.push(this); }
		setConfiguration(config) { super.setConfiguration(only(config)); }
	};
})(%q);`, relay)
}

// Stats returns every report of a type that the page's living PeerConnections
// give (getStats of the W3C), for pages opened with Peers.
func (p *Page) Stats(kind string) (reports []map[string]any) {
	p.t.Helper()
	p.Eval(fmt.Sprintf(`(async () => {
		const all = [];
		for (const peer of window.__peers) {
			if (peer.connectionState === 'closed') continue;
			for (const [, report] of await peer.getStats()) if (report.type === %q) all.push(report);
		}
		return all;
	})()`, kind), &reports)
	return reports
}

func (p *Page) media(out any, call string, args ...any) {
	p.t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		p.t.Fatalf("%s: encode arguments: %v", p.name, err)
	}
	p.Eval(fmt.Sprintf("(%s) && window.__media.%s(...%s)", mediaScript, call, list), out)
}

// WaitPicture returns when the picture of a video element changes: when frames
// are decoded and are not one still picture.
func (p *Page) WaitPicture(selector string) {
	p.t.Helper()
	quoted, err := json.Marshal(selector)
	if err != nil {
		p.t.Fatal(err)
	}
	p.WaitFor("picture in "+selector, fmt.Sprintf("(%s) && await window.__media.change(%s, 200) > 0.5", mediaScript, quoted))
}

// WaitSound returns when an element plays something that can be heard.
func (p *Page) WaitSound(selector string) {
	p.t.Helper()
	quoted, err := json.Marshal(selector)
	if err != nil {
		p.t.Fatal(err)
	}
	p.WaitFor("sound in "+selector, fmt.Sprintf("(%s) && await window.__media.energy(%s, 1200) > 0.01", mediaScript, quoted))
}

// Change is the mean difference of two pictures d apart, 0 to 255.
func (p *Page) Change(selector string, d time.Duration) (change float64) {
	p.t.Helper()
	p.media(&change, "change", selector, d.Milliseconds())
	return change
}

// Energy is the loudest level heard within d, 0 to 1.
func (p *Page) Energy(selector string, d time.Duration) (level float64) {
	p.t.Helper()
	p.media(&level, "energy", selector, d.Milliseconds())
	return level
}

// WatchFrames counts the decoded frames of a video element until FrameGap.
func (p *Page) WatchFrames(selector string) {
	p.t.Helper()
	p.media(nil, "watch", selector)
}

// FrameGap returns how many frames were decoded since WatchFrames, and the
// longest wait for one.
func (p *Page) FrameGap(selector string) (frames int, longest time.Duration) {
	p.t.Helper()
	var result struct {
		Frames int
		Gap    float64
	}
	p.media(&result, "unwatch", selector)
	return result.Frames, time.Duration(result.Gap * float64(time.Millisecond))
}

// LipSync plays testmedia's Flash and Beep for d and returns by how much each
// beep was heard before its flash was seen (negative: after). Beeps without a
// flash within half a second are left out. It is exact to about 15 ms.
func (p *Page) LipSync(video, audio string, d time.Duration) []time.Duration {
	p.t.Helper()
	flashes, beeps := p.Onsets(video, audio, d)
	var offsets []time.Duration
	for _, beep := range beeps {
		for _, flash := range flashes {
			if diff := flash.Sub(beep); diff.Abs() < 500*time.Millisecond {
				offsets = append(offsets, diff)
				break
			}
		}
	}
	return offsets
}

// Onsets plays testmedia's Flash and Beep for d and returns when each flash was
// seen and each beep heard, on this machine's clock, to about 15 ms.
func (p *Page) Onsets(video, audio string, d time.Duration) (flashes, beeps []time.Time) {
	p.t.Helper()
	var onsets struct{ Flashes, Beeps []float64 }
	p.media(&onsets, "onsets", video, audio, d.Milliseconds())
	var origin float64 // ms since 1970
	p.Eval("Date.now() - performance.now()", &origin)
	times := func(list []float64) (all []time.Time) {
		for _, ms := range list {
			all = append(all, time.UnixMicro(int64((origin+ms)*1000)))
		}
		return all
	}
	return times(onsets.Flashes), times(onsets.Beeps)
}
