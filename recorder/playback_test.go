package recorder

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"consilium/internal/browser"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// player serves a page that can load a file of a recording, and the files with
// HTTP Range.
func player(t *testing.T, dir string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, playerPage)
	})
	mux.HandleFunc("GET /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		f, info, err := Open(dir, testCall, r.PathValue("name"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", map[string]string{".webm": "video/webm", ".mp4": "video/mp4"}[path.Ext(info.Name())])
		http.ServeContent(w, r, "", info.ModTime(), f)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// seek loads a file, seeks in it and says where it ended up and how bright the
// picture is there, from 0 to 255.
const playerPage = `<!doctype html><meta charset="utf-8"><title>player</title><script>
const once = (el, name) => new Promise((done, fail) => {
	el.addEventListener(name, done, {once: true});
	el.addEventListener('error', () => fail(new Error('media error ' + el.error?.message)), {once: true});
});
async function load(src) {
	const el = document.createElement('video');
	el.muted = true;
	el.preload = 'auto';
	el.src = src;
	document.body.replaceChildren(el);
	await once(el, 'loadedmetadata');
	return el;
}
async function seek(src, times) {
	const el = await load(src);
	const out = {duration: el.duration, seekable: el.seekable.length ? el.seekable.end(0) : 0, places: []};
	for (const t of times) {
		const seeked = once(el, 'seeked');
		el.currentTime = t;
		await seeked;
		const place = {time: el.currentTime, light: -1};
		if (el.videoWidth > 0) {
			const c = document.createElement('canvas');
			c.width = c.height = 8;
			const g = c.getContext('2d');
			g.drawImage(el, 0, 0, 8, 8);
			const d = g.getImageData(0, 0, 8, 8).data;
			place.light = d.reduce((sum, v, i) => i % 4 < 3 ? sum + v : sum, 0) / 192;
		}
		out.places.push(place);
	}
	return out;
}
async function playTail(src) {
	const el = await load(src);
	el.currentTime = el.duration - 1;
	await once(el, 'seeked');
	const ended = once(el, 'ended');
	await el.play();
	await ended;
	return el.currentTime;
}
</script><body>`

func TestBrowsersPlayAndSeekWhatWasRecorded(t *testing.T) {
	clean := t.TempDir()
	micT, camT := micTrack("anna"), camTrack("anna")
	mic, cam := newSource(t, testmedia.Beep), newSource(t, testmedia.Flash)
	sound := append(mic.between(0, 6*second), mic.between(12*second, 20*second)...) // muted for 6 s
	record(t, clean, map[*media.Track][]sent{&micT: sound, &camT: cam.between(0, 20*second)})
	torn, _ := crashed(t)
	restart(t, torn)

	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			b := browser.Start(t, browser.Options{Kind: kind})
			for name, dir := range map[string]string{"final": clean, "recovered": torn} {
				p := b.NewPage(t, name, browser.PageOptions{Width: 400, Height: 300})
				p.Goto(player(t, dir) + "/")
				m, err := Show(dir, testCall)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range m.Segments {
					length := float64(s.DurationMS) / 1000
					half := float64(int(length / 2))
					var got struct {
						Duration, Seekable float64
						Places             []struct{ Time, Light float64 }
					}
					p.Eval(fmt.Sprintf("seek('/files/%s', [%v, %v, %v])", s.File, length/2, half+0.55, half+0.25), &got)
					near(t, "duration of "+s.File, got.Duration, length, 0.1)
					near(t, "seekable end of "+s.File, got.Seekable, length, 0.1)
					for i, want := range []float64{length / 2, half + 0.55, half + 0.25} {
						near(t, "seek in "+s.File, got.Places[i].Time, want, 0.3)
					}
					// The picture is white from .5 to .6 and black at .25.
					if flash := name == "final" && s.Source == media.Camera; flash && (got.Places[1].Light < 200 || got.Places[2].Light > 50) {
						t.Errorf("%s shows the wrong pictures: %+v", s.File, got.Places)
					}
					var end float64
					p.Eval(fmt.Sprintf("playTail('/files/%s')", s.File), &end)
					near(t, "end of "+s.File, end, length, 0.15)
				}
			}
		})
	}
}
