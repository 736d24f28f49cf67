package api

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"consilium/internal/audit"
	"consilium/internal/export"
	"consilium/internal/problem"
)

// Exports makes files out of recordings; *export.Queue is one. Errors are
// those of package export, or wrap fs.ErrNotExist.
type Exports interface {
	Start(ctx context.Context, recording string, r export.Request) (export.Job, error)
	Jobs(recording string) ([]export.Job, error)
	Job(recording, id string) (export.Job, error)
	Delete(recording, id string) error
}

// startExport puts a job into the queue. Who may see the recording may have it
// in another form; it is audited before anything is made.
func (a *API) startExport(w http.ResponseWriter, r *request) error {
	id, err := a.exporter(w, r)
	if err != nil {
		return err
	}
	var ask export.Request
	if err := decode(r.body, &ask); err != nil {
		return err
	}
	if ask, err = ask.Check(); err != nil {
		return unusable(err.Error())
	}
	entry := audit.Entry{
		Action: audit.Exported, Recording: id, Actor: r.caller.Subject, Role: string(r.caller.Role),
		Data: map[string]any{"kind": string(ask.Kind), "format": ask.Format, "participant": ask.Participant},
	}
	if err := a.audit(r, entry); err != nil {
		return err
	}
	job, err := a.config.Exports.Start(r.Context(), id, ask)
	if err != nil {
		err = noExport(err)
		entry.Outcome = audit.Failed
		return errors.Join(a.audit(r, entry), err)
	}
	w.Header().Set("Location", "/v1/recordings/"+id+"/exports/"+job.ID)
	return writeJSON(w, http.StatusAccepted, job)
}

func (a *API) listExports(w http.ResponseWriter, r *request) error {
	id, err := a.exporter(w, r)
	if err != nil {
		return err
	}
	jobs, err := a.config.Exports.Jobs(id)
	if err != nil {
		return noExport(err)
	}
	if jobs == nil {
		jobs = []export.Job{}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"exports": jobs})
}

func (a *API) showExport(w http.ResponseWriter, r *request) error {
	id, err := a.exporter(w, r)
	if err != nil {
		return err
	}
	job, err := a.config.Exports.Job(id, r.PathValue("job"))
	if err != nil {
		return noExport(err)
	}
	return writeJSON(w, http.StatusOK, job)
}

// deleteExport stops a job that has not ended and removes what it made. A
// patient who may look must not take a file from under a doctor.
func (a *API) deleteExport(w http.ResponseWriter, r *request) error {
	id, err := a.exporter(w, r)
	if err != nil {
		return err
	}
	if patientsSide(r.caller.Role) {
		return problem.New(http.StatusForbidden, problem.Forbidden, "exported files are removed by doctors and administrators")
	}
	err = a.audit(r, audit.Entry{
		Action: audit.ExportDeleted, Recording: id, Actor: r.caller.Subject, Role: string(r.caller.Role),
		Data: map[string]any{"export": r.PathValue("job")},
	})
	if err != nil {
		return err
	}
	if err := a.config.Exports.Delete(id, r.PathValue("job")); err != nil {
		return noExport(err)
	}
	return noContent(w)
}

// exporter returns the id of the recording if who asks may see it.
func (a *API) exporter(w http.ResponseWriter, r *request) (string, error) {
	id := r.PathValue("id")
	if _, _, err := a.viewer(w, r, id); err != nil {
		return "", err
	}
	if a.config.Exports == nil || !safeName(id, maxFileName) {
		return "", notFound("there is no recording with this id")
	}
	return id, nil
}

// noExport keeps the server's paths out of an answer.
func noExport(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return notFound("there is no such recording")
	}
	return err
}
