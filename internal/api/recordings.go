package api

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"consilium/internal/media"
	"consilium/internal/problem"
)

// maxFileName of a recording's file, in bytes.
const maxFileName = 128

// listRecordings answers summaries, the latest first, like all lists.
func (a *API) listRecordings(w http.ResponseWriter, r *request) error {
	list := []any{}
	if a.config.Recordings != nil {
		found, err := a.config.Recordings.List(r.Context())
		if err != nil {
			return fmt.Errorf("list recordings: %w", err)
		}
		list = append(list, found...)
		slices.Reverse(list)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"recordings": list})
}

func (a *API) showRecording(w http.ResponseWriter, r *request) error {
	id, err := a.recording(r)
	if err != nil {
		return err
	}
	manifest, err := a.config.Recordings.Show(r.Context(), id)
	if err != nil {
		return noRecording(err)
	}
	return writeJSON(w, http.StatusOK, manifest)
}

// serveFile answers a file or a range of it (RFC 9110, section 14): a browser
// seeks by ranges.
func (a *API) serveFile(w http.ResponseWriter, r *request) error {
	id, err := a.recording(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	if !safeName(name, maxFileName) {
		return notFound("the recording has no such file")
	}
	file, err := a.config.Recordings.Open(r.Context(), id, name)
	if err != nil {
		return noRecording(err)
	}
	// It was only read: closing loses nothing.
	defer func() { _ = file.Content.Close() }()
	contentType := file.Type
	if contentType == "" {
		contentType = typeByName(name)
	}
	w.Header().Set("Content-Type", contentType)
	// A recording may be kept by the player of who may see it, nobody else.
	w.Header().Set("Cache-Control", "private, no-cache")
	if !file.Modified.IsZero() {
		w.Header().Set("Etag", fmt.Sprintf(`"%x"`, file.Modified.UnixNano()))
	}
	http.ServeContent(w, r.Request, "", file.Modified, file.Content)
	return nil
}

// recording checks who asks (an admin, or who has the cookie of this very
// recording) and that the id can be one.
func (a *API) recording(r *request) (string, error) {
	id := r.PathValue("id")
	if !a.playback.allows(r.Request, id) {
		if _, err := a.config.Auth.APICredentials(r.Request); err != nil {
			return "", err
		}
	}
	if a.config.Recordings == nil || !safeName(id, maxFileName) {
		return "", notFound("there is no recording with this id")
	}
	return id, nil
}

// noRecording keeps the server's paths out of a 404.
func noRecording(err error) error {
	if p := Of(err); p.Status == http.StatusNotFound {
		return problem.New(p.Status, p.Code, "there is no such recording or file")
	}
	return err
}

// safeName reports whether a name is one path element that hides nothing.
func safeName(name string, limit int) bool {
	if name == "" || len(name) > limit || name[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !alnum && !strings.ContainsRune("._~-", c)
	})
}

// typeByName is the media type by a file's ending and, because WebM is one
// ending for two types, by the source in its name.
func typeByName(name string) string {
	switch path.Ext(name) {
	case ".webm":
		if strings.Contains(name, "-"+string(media.Microphone)+"-") {
			return "audio/webm"
		}
		return "video/webm"
	case ".mkv":
		return "video/x-matroska"
	case ".json":
		return "application/json"
	default:
		return "application/octet-stream"
	}
}
