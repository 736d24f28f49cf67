package browser

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"consilium/internal/leak"
)

// loopback is a page that calls itself: what the fake camera sees comes out of
// a second PeerConnection.
const loopback = `<!doctype html><meta charset=utf-8><title>loopback</title>
<button data-testid=start>start</button> <button data-testid=off disabled>off</button>
<p data-testid=state>new</p><p data-testid=hidden hidden>hidden</p>
<video id=far data-testid=far autoplay playsinline width=320></video>
<script>
const say = (s) => document.querySelector('[data-testid=state]').textContent = s;
document.querySelector('[data-testid=start]').onclick = async () => {
	try {
		const media = await navigator.mediaDevices.getUserMedia({audio: true, video: true});
		const a = new RTCPeerConnection(), b = new RTCPeerConnection();
		a.onicecandidate = e => b.addIceCandidate(e.candidate);
		b.onicecandidate = e => a.addIceCandidate(e.candidate);
		b.ontrack = e => { document.getElementById('far').srcObject = e.streams[0]; };
		b.onconnectionstatechange = () => say(b.connectionState);
		media.getTracks().forEach(t => a.addTrack(t, media));
		await a.setLocalDescription();
		await b.setRemoteDescription(a.localDescription);
		await b.setLocalDescription();
		await a.setRemoteDescription(b.localDescription);
	} catch (e) { say(e.name); }
};
</script>`

func serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if _, err := w.Write([]byte(loopback)); err != nil {
			t.Log(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

func each(t *testing.T, test func(t *testing.T, kind Kind)) {
	for _, kind := range []Kind{Chromium, Firefox} {
		t.Run(string(kind), func(t *testing.T) { test(t, kind) })
	}
}

func TestPagesSeeAndHearWhatWasSent(t *testing.T) {
	each(t, func(t *testing.T, kind Kind) {
		leak.Check(t)
		url := serve(t)
		b := Start(t, Options{Kind: kind})
		for _, name := range []string{"first", "second"} {
			p := b.NewPage(t, name, PageOptions{Width: 800, Height: 600, Peers: true})
			p.Goto(url)
			p.Click("start")
			p.WaitFor("connection", `document.querySelector('[data-testid=state]').textContent === 'connected'`)
			p.WaitPicture("#far")
			p.WaitSound("#far")
			p.WatchFrames("#far")
			if change, energy := p.Change("#far", 300*time.Millisecond), p.Energy("#far", time.Second); change <= 0 || energy <= 0 {
				t.Errorf("%s: change %v, energy %v; want both above 0", name, change, energy)
			}
			if frames, gap := p.FrameGap("#far"); frames == 0 || gap <= 0 {
				t.Errorf("%s: %d frames, longest gap %v", name, frames, gap)
			}
			if reports := p.Stats("transport"); len(reports) == 0 || reports[0]["srtpCipher"] == "" {
				t.Errorf("%s: transport stats: %v", name, reports)
			}
			picture := filepath.Join(t.TempDir(), "picture.png")
			p.Screenshot(picture)
			if data, err := os.ReadFile(picture); err != nil || !strings.HasPrefix(string(data), "\x89PNG") {
				t.Errorf("%s: screenshot is no PNG: %v", name, err)
			}
		}
	})
}

func TestWindowsShareNoStorage(t *testing.T) {
	each(t, func(t *testing.T, kind Kind) {
		url := serve(t)
		b := Start(t, Options{Kind: kind})
		first, second := b.NewPage(t, "first", PageOptions{}), b.NewPage(t, "second", PageOptions{})
		first.Goto(url)
		second.Goto(url)
		first.Eval(`(localStorage.a = 'local', sessionStorage.a = 'session')`, nil)
		first.Reload()
		var got []string
		first.Eval(`[localStorage.a, sessionStorage.a]`, &got)
		if len(got) != 2 || got[0] != "local" || got[1] != "session" {
			t.Errorf("after a reload: %q", got)
		}
		var other bool
		second.Eval(`localStorage.a !== undefined || sessionStorage.a !== undefined`, &other)
		if other {
			t.Error("the second window sees the first one's storage")
		}
	})
}

func TestWhatThePageSaysIsHeard(t *testing.T) {
	each(t, func(t *testing.T, kind Kind) {
		url := serve(t)
		p := Start(t, Options{Kind: kind}).NewPage(t, "page", PageOptions{AllowErrors: true})
		p.Goto(url)
		p.Eval(`(console.warn('watch', 'out'), setTimeout(() => { throw new Error('nobody catches me') }, 0), 1)`, nil)
		if err := p.TryEval(`Promise.reject(new Error('on purpose'))`, nil); err == nil || !strings.Contains(err.Error(), "on purpose") {
			t.Errorf("rejected promise gave %v", err)
		}
		p.WaitFor("the error to be thrown", `new Promise(r => setTimeout(() => r(true), 50))`)
		if errs := p.Uncaught(); len(errs) != 1 || !strings.Contains(errs[0], "nobody catches me") {
			t.Errorf("uncaught: %q", errs)
		}
		if !strings.Contains(p.Console(), "watch out") {
			t.Errorf("console: %s", p.Console())
		}
		p.WaitVisible("start")
		p.WaitGone("hidden")
		if text := p.Text("state"); text != "new" {
			t.Errorf("text is %q, want new", text)
		}
		p.Key("Tab")
		p.Key("Enter")
		p.WaitFor("the button to be pressed", `document.querySelector('[data-testid=state]').textContent !== 'new'`)
	})
}

func TestRefusalAndAbsenceOfDevices(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"chromium denied":    {Options{DenyPermissions: true}, "NotAllowedError"},
		"chromium no device": {Options{NoDevices: true}, "NotFoundError"},
		"firefox denied":     {Options{Kind: Firefox, DenyPermissions: true}, "NotAllowedError"},
		"firefox no device":  {Options{Kind: Firefox, NoDevices: true}, "NotFoundError"},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t)
			p := Start(t, test.options).NewPage(t, "page", PageOptions{})
			p.Goto(url)
			p.Click("start")
			p.WaitFor("an answer", `document.querySelector('[data-testid=state]').textContent !== 'new'`)
			if got := p.Text("state"); got != test.want {
				t.Errorf("getUserMedia: %s, want %s", got, test.want)
			}
		})
	}
}

func TestAMissingBrowserNamesItsPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for kind, pkg := range map[Kind]string{Chromium: "chromium", Firefox: "firefox-esr"} {
		_, err := Open(t.Context(), Options{Kind: kind})
		if err == nil || !strings.Contains(err.Error(), "apt-get install "+pkg) {
			t.Errorf("%s: got %v, want the package to be named", kind, err)
		}
	}
}
