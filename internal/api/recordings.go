package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"consilium/internal/audit"
	"consilium/internal/auth"
	"consilium/internal/catalog"
	"consilium/internal/media"
	"consilium/internal/problem"
)

// maxFileName of a recording's file, in bytes.
const maxFileName = 128

// Recordings are the recordings that are kept. An unknown recording or file is
// an error that wraps fs.ErrNotExist, one that was erased may be a problem of
// status 410 in words for who may see it. Ids and names are checked before: they are
// never empty, never begin with a dot and have no slash.
type Recordings interface {
	// List returns a page of the index, the latest first, and where the next
	// one begins.
	List(ctx context.Context, f catalog.Filter) (page []catalog.Recording, next string, err error)
	// Show returns one manifest, as a value for JSON.
	Show(ctx context.Context, id string) (any, error)
	// Attendance says who took part, by the manifest.
	Attendance(ctx context.Context, id string) (Attendance, error)
	// Open opens a file of a recording.
	Open(ctx context.Context, id, name string) (File, error)
	// Verify reads every file and compares it with the signed manifest.
	Verify(ctx context.Context, id string) (Verification, error)
}

// File is an open file of a recording.
type File struct {
	Content  io.ReadSeekCloser
	Modified time.Time
	// Type is the media type; if empty the name's ending decides.
	Type string
}

// listRecordings answers summaries, the latest first, like all lists.
func (a *API) listRecordings(w http.ResponseWriter, r *request) error {
	filter, err := readRecordingQuery(r.URL.Query())
	if err != nil {
		return err
	}
	page, next := []catalog.Recording{}, ""
	if a.config.Recordings != nil {
		page, next, err = a.config.Recordings.List(r.Context(), filter)
		if errors.Is(err, catalog.ErrBadAfter) {
			return badRequest("after: the value of next of the page before")
		}
		if err != nil {
			return fmt.Errorf("list recordings: %w", err)
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"recordings": page, "next": next})
}

// recordingStates that a list may be asked for.
func recordingStates() []string {
	return []string{"", "live", "final", "recovered", "failed", "locked", "erased"}
}

func readRecordingQuery(query url.Values) (f catalog.Filter, err error) {
	f.Room, f.ExternalID, f.Participant = query.Get("room"), query.Get("external_id"), query.Get("participant")
	f.State, f.After = query.Get("state"), query.Get("after")
	if !slices.Contains(recordingStates(), f.State) {
		return f, badRequest("state: live, final, recovered, failed, locked or erased")
	}
	if f.Limit, err = pageLimit(query.Get("limit")); err != nil {
		return f, err
	}
	for name, into := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		if text := query.Get(name); text != "" {
			if *into, err = time.Parse(time.RFC3339, text); err != nil {
				return f, badRequest(name + ": a time such as 2026-11-23T08:00:00Z")
			}
		}
	}
	return f, nil
}

// showRecording answers a manifest. It holds names, so who reads it is noted.
func (a *API) showRecording(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	claims, cookie, err := a.viewer(w, r, id)
	if err != nil {
		return err
	}
	manifest, err := a.manifest(r, id)
	if err != nil {
		return err
	}
	access, err := a.view(r, id, "manifest.json", claims, cookie)
	if err != nil {
		return err
	}
	defer access.Close()
	return writeJSON(w, http.StatusOK, manifest)
}

// manifest returns a recording's manifest for somebody who may see it.
func (a *API) manifest(r *request, id string) (any, error) {
	if a.config.Recordings == nil || !safeName(id, maxFileName) {
		return nil, notFound("there is no recording with this id")
	}
	manifest, err := a.config.Recordings.Show(r.Context(), id)
	if err != nil {
		return nil, noRecording(err)
	}
	return manifest, nil
}

// serveFile answers a file or a range of it (RFC 9110, section 14): a browser
// seeks by ranges. With ?download=1 it is to be kept as a file.
func (a *API) serveFile(w http.ResponseWriter, r *request) error {
	id, name := r.PathValue("id"), r.PathValue("name")
	claims, cookie, err := a.viewer(w, r, id)
	if err != nil {
		return err
	}
	if a.config.Recordings == nil || !safeName(id, maxFileName) || !safeName(name, maxFileName) {
		return notFound("there is no such recording or file")
	}
	file, err := a.config.Recordings.Open(r.Context(), id, name)
	if err != nil {
		return noRecording(err)
	}
	// It was only read: closing loses nothing.
	defer func() { _ = file.Content.Close() }()
	download := r.URL.Query().Has("download")
	access, err := a.view(r, id, name, claims, cookie && !download)
	if err != nil {
		return err
	}
	defer access.Close()
	header := w.Header()
	header.Set("Content-Type", file.Type)
	if file.Type == "" {
		header.Set("Content-Type", typeByName(name))
	}
	if download {
		header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": id + "-" + name}))
	}
	// Medical data: not even the viewer's own machine keeps it.
	header.Set("Cache-Control", "private, no-store")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if !file.Modified.IsZero() {
		header.Set("Etag", fmt.Sprintf(`"%x"`, file.Modified.UnixNano()))
	}
	content := &watchedContent{ReadSeeker: file.Content, access: access}
	if ranges := r.Header.Get("Range"); ranges != "" {
		r.Header.Set("Range", withoutEmpty(ranges))
	}
	http.ServeContent(w, r.Request, "", file.Modified, content)
	return nil
}

// withoutEmpty makes the last zero bytes of a file a range beyond its end, which
// is what they are (RFC 9110, section 14.1.2); net/http would answer 206.
func withoutEmpty(ranges string) string {
	unit, set, found := strings.Cut(ranges, "=")
	if !found {
		return ranges
	}
	specs := strings.Split(set, ",")
	for i, spec := range specs {
		if spec = strings.TrimSpace(spec); len(spec) > 1 && spec[0] == '-' && strings.Trim(spec[1:], "0") == "" {
			specs[i] = strconv.FormatInt(math.MaxInt64, 10) + "-"
		}
	}
	return unit + "=" + strings.Join(specs, ",")
}

// view notes that a viewer is about to get a file. player says that a page
// plays it; all else is a download.
func (a *API) view(r *request, id, name string, claims auth.Claims, player bool) (noter, error) {
	if a.config.Audit == nil {
		return unwatched{}, nil
	}
	e := audit.Entry{
		Action: audit.Downloaded, Actor: claims.Subject, Role: string(claims.Role),
		Address: clientAddress(r.Request), Recording: id, File: name,
	}
	if player {
		e.Action = audit.Played
	}
	noted, err := a.config.Audit.View(r.Context(), e)
	if err != nil {
		return nil, a.notAudited(err)
	}
	return noted, nil
}

// noter takes what is noted of one request for a file; *audit.Access is one.
type noter interface {
	Read(first, last int64)
	Fail(err error)
	Close()
}

// unwatched is the noter where there is no audit log: in tests.
type unwatched struct{}

func (unwatched) Read(int64, int64) {}
func (unwatched) Fail(error)        {}
func (unwatched) Close()            {}

// watchedContent tells which bytes were read.
type watchedContent struct {
	io.ReadSeeker
	access noter
	at     int64
}

// Read implements io.Reader.
func (c *watchedContent) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	if n > 0 {
		c.access.Read(c.at, c.at+int64(n)-1)
		c.at += int64(n)
	}
	if err != nil && err != io.EOF {
		c.access.Fail(err)
	}
	return n, err
}

// Seek implements io.Seeker.
func (c *watchedContent) Seek(offset int64, whence int) (int64, error) {
	at, err := c.ReadSeeker.Seek(offset, whence)
	if err == nil {
		c.at = at
	}
	return at, err
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
	case ".mp4":
		return "video/mp4"
	case ".mkv":
		return "video/x-matroska"
	case ".json":
		return "application/json"
	default:
		return "application/octet-stream"
	}
}
