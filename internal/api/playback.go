package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"consilium/internal/audit"
	"consilium/internal/auth"
)

const (
	playbackCookie = "consilium_playback"
	// playbackTTL is how long a cookie is good; one that is used is renewed,
	// so it ends ten minutes after the last use.
	playbackTTL = 10 * time.Minute
	// playbackLongest is how long it is renewed after its owner showed who he
	// is, unless his token ends before.
	playbackLongest = 4 * time.Hour
	// playbackRenew is how much time may be left when it is renewed.
	playbackRenew = 8 * time.Minute
)

// playbackKey signs the cookies that open one recording for one viewer. It is
// made anew at each start: a page then asks for another cookie.
type playbackKey struct{ key []byte }

// playbackGrant is what a cookie says: who may see which recording until when.
type playbackGrant struct {
	Recording string `json:"r"`
	Viewer    string `json:"v"`
	Role      string `json:"o"`
	Expires   int64  `json:"e"` // seconds since 1970
	Last      int64  `json:"l"` // it is not renewed beyond
}

func newPlaybackKey() *playbackKey {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &playbackKey{key}
}

// sign returns "PAYLOAD.SIGNATURE".
func (k *playbackKey) sign(g playbackGrant) string {
	text, _ := json.Marshal(g) // strings and numbers: it can't fail
	payload := base64.RawURLEncoding.EncodeToString(text)
	return payload + "." + k.mac(payload)
}

func (k *playbackKey) mac(payload string) string {
	mac := hmac.New(sha256.New, k.key)
	_, _ = mac.Write([]byte(payload)) // a Hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// grant returns what a cookie of the request says, if one is for this recording
// and good.
func (k *playbackKey) grant(r *http.Request, id string) (playbackGrant, bool) {
	for _, cookie := range r.CookiesNamed(playbackCookie) {
		payload, signature, _ := strings.Cut(cookie.Value, ".")
		if !hmac.Equal([]byte(signature), []byte(k.mac(payload))) {
			continue
		}
		text, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			continue
		}
		var g playbackGrant
		if json.Unmarshal(text, &g) == nil && g.Recording == id && time.Now().Unix() < g.Expires {
			return g, true
		}
	}
	return playbackGrant{}, false
}

// allowPlayback sets the cookie for the page of a recording and for its files:
// a media element can send no Authorization header, and a token in a query
// would end up in logs.
func (a *API) allowPlayback(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	claims, err := a.credentials(r, id)
	if err != nil {
		return err
	}
	if _, err := a.manifest(r, id); err != nil {
		return err
	}
	now := time.Now()
	last := now.Add(playbackLongest)
	if !claims.Expires.IsZero() && claims.Expires.Before(last) {
		last = claims.Expires
	}
	g := playbackGrant{Recording: id, Viewer: claims.Subject, Role: string(claims.Role), Last: last.Unix()}
	err = a.audit(r, audit.Entry{Action: audit.Allowed, Recording: id, Actor: g.Viewer, Role: g.Role})
	if err != nil {
		return err
	}
	g.Expires = now.Add(playbackTTL).Unix()
	base := a.publicURL(r.Request)
	a.setPlayback(w, base, g)
	return writeJSON(w, http.StatusOK, map[string]any{
		"url": base + "/recordings/" + id, "expires": formatTime(time.Unix(g.Expires, 0)),
	})
}

func (a *API) setPlayback(w http.ResponseWriter, base string, g playbackGrant) {
	for _, path := range []string{"/recordings/" + g.Recording, "/v1/recordings/" + g.Recording} {
		http.SetCookie(w, &http.Cookie{
			Name: playbackCookie, Value: a.playback.sign(g), Path: path,
			MaxAge: int(playbackTTL / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode,
			Secure: strings.HasPrefix(base, "https://"),
		})
	}
}

// renew gives a viewer who goes on watching a fresh cookie: a film is longer
// than ten minutes.
func (a *API) renew(w http.ResponseWriter, r *request, g playbackGrant) {
	now := time.Now()
	until := min(now.Add(playbackTTL).Unix(), g.Last)
	if g.Expires-now.Unix() > int64(playbackRenew/time.Second) || until <= g.Expires {
		return
	}
	g.Expires = until
	a.setPlayback(w, a.publicURL(r.Request), g)
}

// claims of who has a cookie.
func (g playbackGrant) claims() auth.Claims {
	return auth.Claims{Subject: g.Viewer, Role: auth.Role(g.Role)}
}
