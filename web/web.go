package web

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed static
var embedded embed.FS

// Config is what Handler needs. The zero value is usable.
type Config struct {
	// Files replaces the embedded client, for development
	// (os.DirFS("web/static")). It is read once. Nil: the embedded client.
	Files fs.FS
	// RecordingOff says that calls are not recorded: the join page then does
	// not ask for consent.
	RecordingOff bool
	// PeerAbsent is how long a person is alone in a call before the page says
	// that nobody has come (PEER_ABSENT). 0: two minutes.
	PeerAbsent time.Duration
}

// peerAbsent is the default of Config.PeerAbsent.
const peerAbsent = 2 * time.Minute

// roomName is what a room may be called, as in join tokens.
var roomName = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,64}$`)

// Handler serves the pages "/", "/r/{room}", "/admin", "/selftest" and
// "/recordings/{id}", and their assets under "/assets/<hash of the whole tree>/", which may be cached
// for ever. It reads and compresses every file once, here; an error means that
// the tree is not complete. The handler is safe for concurrent use and answers
// only GET and HEAD.
func Handler(c Config) (http.Handler, error) {
	files := c.Files
	if files == nil {
		sub, err := fs.Sub(embedded, "static")
		if err != nil {
			return nil, fmt.Errorf("opening the embedded client: %w", err)
		}
		files = sub
	}
	assets, err := loadAssets(files)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+assets.prefix, assets)
	pages := map[string]string{
		"GET /{$}":      "index.html",
		"GET /r/{room}": "call.html",
		"GET /admin":    "admin.html",
		"GET /selftest": "selftest.html",

		"GET /recordings/{id}": "playback.html",
	}
	for pattern, name := range pages {
		p, err := newPage(files, name, c.placeholders(assets.prefix))
		if err != nil {
			return nil, err
		}
		mux.Handle(pattern, p)
	}
	return secured(mux), nil
}

// placeholders are what pages have filled in.
func (c Config) placeholders(prefix string) *strings.Replacer {
	recording := "on"
	if c.RecordingOff {
		recording = "off"
	}
	absent := cmp.Or(c.PeerAbsent, peerAbsent).Seconds()
	return strings.NewReplacer("%ASSETS%/", prefix, "%RECORDING%", recording,
		"%PEER_ABSENT%", strconv.FormatFloat(absent, 'f', -1, 64))
}

// page is one HTML document, filled in and compressed once for each language.
type page struct{ bodies map[string]content }

func newPage(files fs.FS, name string, fill *strings.Replacer) (*page, error) {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("reading page of the client: %w", err)
	}
	if !bytes.Contains(text, []byte("%ASSETS%")) {
		return nil, errors.New("page " + name + " of the client names no assets")
	}
	p := &page{map[string]content{}}
	for _, lang := range languages {
		filled, err := preload(files, text, "i18n/"+lang+".json")
		if err != nil {
			return nil, err
		}
		p.bodies[lang] = newContent([]byte(fill.Replace(string(filled))), "text/html; charset=utf-8")
	}
	return p, nil
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if room := r.PathValue("room"); room != "" && !roomName.MatchString(room) {
		http.NotFound(w, r)
		return
	}
	// A page names the assets of this very binary and may stand for a call:
	// no copy of it is kept anywhere.
	w.Header().Set("Cache-Control", "no-store")
	p.bodies[language(r.Header.Get("Accept-Language"))].serve(w, r)
}

// contentSecurityPolicy allows what the client needs and nothing else: no
// inline code, no foreign origin, no frame around it. 'self' in connect-src
// covers ws: and wss: of the same host (CSP3 section 6.7.2.8).
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
	"img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// secured sets the headers that every answer of the client carries.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), "+
			"speaker-selection=(self), screen-wake-lock=(self), geolocation=()")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
