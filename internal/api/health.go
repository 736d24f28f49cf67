package api

import (
	_ "embed" // openapi.json
	"net/http"

	"consilium/internal/problem"
)

// openapi is the description of this interface (OpenAPI 3.1).
//
//go:embed openapi.json
var openapi []byte

func (a *API) description(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(openapi) // a client that has gone can't be told
	return nil
}

func (a *API) showMetrics(w http.ResponseWriter, r *request) error {
	a.config.Metrics.ServeHTTP(w, r.Request)
	return nil
}

// healthy says that the process answers, nothing more.
func (a *API) healthy(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ready says whether the server takes calls.
func (a *API) ready(w http.ResponseWriter, _ *request) error {
	if a.config.Ready != nil {
		if err := a.config.Ready(); err != nil {
			return problem.New(http.StatusServiceUnavailable, problem.Unavailable, err.Error())
		}
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
