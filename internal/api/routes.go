package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"consilium/internal/auth"
	"consilium/internal/problem"
)

// access says who may use a route.
type access uint8

const (
	open  access = iota // anybody
	admin               // an API key, or a token of role admin
	self                // the handler looks for itself
)

// request is what a handler gets: the request, and who asks.
type request struct {
	*http.Request
	caller auth.Claims // zero until it is known
	body   []byte      // of a POST
}

// handler answers a request, or returns an error and has written nothing.
type handler func(http.ResponseWriter, *request) error

// route is one line of the table.
type route struct {
	method, path string
	access       access
	handle       func(*API) handler
}

// routes is the whole interface. GET answers HEAD, too.
func routes() []route {
	return []route{
		{"POST", "/v1/calls", admin, func(a *API) handler { return a.createCall }},
		{"GET", "/v1/calls", admin, func(a *API) handler { return a.listCalls }},
		{"GET", "/v1/calls/{id}", admin, func(a *API) handler { return a.showCall }},
		{"DELETE", "/v1/calls/{id}", admin, func(a *API) handler { return a.endCall }},
		{"GET", "/v1/calls/{id}/journal", admin, func(a *API) handler { return a.showJournal }},
		{"GET", "/v1/calls/{id}/participants/{identity}", admin, func(a *API) handler { return a.showParticipant }},
		{"DELETE", "/v1/calls/{id}/participants/{identity}", admin, func(a *API) handler { return a.removeParticipant }},
		{"POST", "/v1/calls/{id}/participants/{identity}/mute", admin, func(a *API) handler { return a.muteParticipant }},
		{"POST", "/v1/calls/{id}/participants/{identity}/admit", admin, func(a *API) handler { return a.admitParticipant }},
		{"GET", "/v1/events", admin, func(a *API) handler { return a.listEvents }},
		{"GET", "/v1/turn", self, func(a *API) handler { return a.turnCredentials }},
		{"POST", "/v1/diag", self, func(a *API) handler { return a.takeDiagnostics }},
		{"POST", "/v1/precheck", self, func(a *API) handler { return a.openPrecheck }},
		{"GET", "/v1/recordings", admin, func(a *API) handler { return a.listRecordings }},
		{"GET", "/v1/recordings/{id}", self, func(a *API) handler { return a.showRecording }},
		{"DELETE", "/v1/recordings/{id}", admin, func(a *API) handler { return a.eraseRecording }},
		{"POST", "/v1/recordings/{id}/hold", admin, func(a *API) handler { return a.holdRecording }},
		{"DELETE", "/v1/recordings/{id}/hold", admin, func(a *API) handler { return a.releaseRecording }},
		{"GET", "/v1/recordings/{id}/files/{name}", self, func(a *API) handler { return a.serveFile }},
		{"POST", "/v1/recordings/{id}/exports", self, func(a *API) handler { return a.startExport }},
		{"GET", "/v1/recordings/{id}/exports", self, func(a *API) handler { return a.listExports }},
		{"GET", "/v1/recordings/{id}/exports/{job}", self, func(a *API) handler { return a.showExport }},
		{"DELETE", "/v1/recordings/{id}/exports/{job}", self, func(a *API) handler { return a.deleteExport }},
		{"POST", "/v1/recordings/{id}/playback", self, func(a *API) handler { return a.allowPlayback }},
		{"POST", "/v1/recordings/{id}/verify", self, func(a *API) handler { return a.verifyRecording }},
		{"GET", "/v1/audit", admin, func(a *API) handler { return a.listAudit }},
		{"GET", "/openapi.json", open, func(a *API) handler { return a.description }},
		{"GET", "/metrics", admin, func(a *API) handler { return a.showMetrics }},
		{"GET", "/healthz", open, func(a *API) handler { return a.healthy }},
		{"GET", "/readyz", open, func(a *API) handler { return a.ready }},
	}
}

// Prefixes returns the patterns under which a server mounts the API.
func Prefixes() []string {
	return []string{"/v1/", "/recordings/", "/openapi.json", "/metrics", "/healthz", "/readyz"}
}

// Paths returns the paths of all routes, each once.
func Paths() []string {
	var paths []string
	for _, r := range routes() {
		if !slices.Contains(paths, r.path) {
			paths = append(paths, r.path)
		}
	}
	return paths
}

// mount builds the mux. A path that exists answers other methods with 405, and
// everything else is 404, both as problem details.
func (a *API) mount() {
	methods := make(map[string][]string)
	for _, r := range routes() {
		a.mux.Handle(r.method+" "+r.path, a.serve(r.path, r.access, r.handle(a)))
		methods[r.path] = append(methods[r.path], r.method)
		if r.method == http.MethodGet {
			methods[r.path] = append(methods[r.path], http.MethodHead)
		}
	}
	for path, allowed := range methods {
		slices.Sort(allowed)
		allow := strings.Join(allowed, ", ")
		a.mux.Handle(path, a.serve(path, open, func(_ http.ResponseWriter, r *request) error {
			return &problem.Problem{
				Status: http.StatusMethodNotAllowed, Code: problem.MethodNotAllowed,
				Detail: r.Method + " is not possible here", Allow: allow,
			}
		}))
	}
	a.mux.Handle("/", a.serve("", open, func(http.ResponseWriter, *request) error {
		return problem.New(http.StatusNotFound, problem.NotFound, "there is nothing at this path")
	}))
}

// serve wraps a handler in what all have in common.
func (a *API) serve(path string, access access, handle handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		watched := &watchedWriter{ResponseWriter: w}
		watched.Header().Set("X-Content-Type-Options", "nosniff")
		watched.Header().Set("Cache-Control", "no-store")
		asked := &request{Request: r}
		if err := a.answer(watched, asked, access, handle); err != nil {
			a.fail(watched, asked, err)
		}
		a.requests.With(path, strconv.Itoa(watched.status()/100)+"xx").Inc()
		a.duration.Observe(time.Since(begun).Seconds())
	})
}

// answer finds out who asks, reads the body of a POST and calls the handler.
func (a *API) answer(w http.ResponseWriter, r *request, access access, handle handler) error {
	if access == admin {
		caller, err := a.config.Auth.APICredentials(r.Request)
		if err != nil {
			return err
		}
		r.caller = caller
	}
	if r.Method != http.MethodPost || access == open {
		return handle(w, r)
	}
	body, refused := problem.ReadBody(w, r.Request, maxBody, problem.BadJSON)
	if refused != nil {
		return refused
	}
	r.body = body
	if access == admin {
		return a.once(w, r, handle)
	}
	return handle(w, r)
}

// fail writes an error. What is not the client's doing is logged here, once.
func (a *API) fail(w *watchedWriter, r *request, err error) {
	p := Of(err)
	a.auditRefusal(r, p)
	if p.Status == http.StatusInternalServerError {
		a.log.Error("request failed", "method", r.Method, "path", r.Pattern, "error", err)
	}
	if w.code == 0 {
		p.Write(w)
	}
}

// watchedWriter remembers the status.
type watchedWriter struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (w *watchedWriter) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *watchedWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watchedWriter) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}
