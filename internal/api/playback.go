package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"consilium/internal/problem"
)

const (
	playbackCookie = "consilium_playback"
	playbackTTL    = 10 * time.Minute
)

// playbackKey signs the cookies that open one recording for a browser. It is
// made anew at each start: a cookie lives ten minutes at most anyway.
type playbackKey struct{ key []byte }

func newPlaybackKey() *playbackKey {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &playbackKey{key}
}

// value is "EXPIRES.SIGNATURE" for a recording.
func (k *playbackKey) value(id string, expires time.Time) string {
	unix := strconv.FormatInt(expires.Unix(), 10)
	mac := hmac.New(sha256.New, k.key)
	_, _ = mac.Write([]byte(unix + "." + id)) // a Hash never fails
	return unix + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// allows reports whether the request has a cookie for this recording.
func (k *playbackKey) allows(r *http.Request, id string) bool {
	for _, cookie := range r.CookiesNamed(playbackCookie) {
		unix, _, _ := strings.Cut(cookie.Value, ".")
		seconds, err := strconv.ParseInt(unix, 10, 64)
		if err != nil || time.Now().Unix() >= seconds {
			continue
		}
		if hmac.Equal([]byte(cookie.Value), []byte(k.value(id, time.Unix(seconds, 0)))) {
			return true
		}
	}
	return false
}

// allowPlayback sets the cookie for the page of a recording and for its files:
// a media element can send no Authorization header, and a token in a query
// would end up in logs.
func (a *API) allowPlayback(w http.ResponseWriter, r *request) error {
	id, err := a.recording(r)
	if err != nil {
		return err
	}
	if _, err := a.config.Recordings.Show(r.Context(), id); err != nil {
		return noRecording(err)
	}
	base := a.publicURL(r.Request)
	expires := time.Now().Add(playbackTTL)
	for _, path := range []string{"/recordings/" + id, "/v1/recordings/" + id} {
		http.SetCookie(w, &http.Cookie{
			Name: playbackCookie, Value: a.playback.value(id, expires), Path: path,
			MaxAge: int(playbackTTL / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode,
			Secure: strings.HasPrefix(base, "https://"),
		})
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"url": base + "/recordings/" + id, "expires": formatTime(expires),
	})
}

// playbackPage is not built yet.
func (a *API) playbackPage(http.ResponseWriter, *request) error {
	return problem.New(http.StatusNotImplemented, problem.NotImplemented,
		"the playback page is not built yet; the files are under /v1/recordings/{id}/files/")
}
