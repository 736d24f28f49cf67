package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"consilium/internal/api"
	"consilium/internal/audit"
	"consilium/internal/catalog"
	"consilium/internal/problem"
	"consilium/internal/seal"
	"consilium/internal/upload"
	"consilium/recorder"
)

// databaseName is the file of journal and index; the audit log has its own.
const databaseName = "consilium.db"

// openAudit opens the audit log: before anything can be done that it must tell.
func (s *Server) openAudit() (err error) {
	s.audit, err = audit.New(audit.Config{
		Path: filepath.Join(s.cfg.Data, audit.FileName), Metrics: s.metrics, Log: s.log.With("part", "audit"),
	})
	return err
}

// openCatalog opens the index of recordings. The journal has made the file.
func (s *Server) openCatalog() (err error) {
	s.catalog, err = catalog.New(catalog.Config{
		Path: filepath.Join(s.cfg.Data, databaseName), Source: manifests{s.cfg.Data},
		Metrics: s.metrics, Log: s.log.With("part", "catalog"),
	})
	return err
}

// Reindex makes the index of the recordings under a data directory again and
// returns how many there are. A server may run there.
func Reindex(ctx context.Context, dir string) (int, error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, fmt.Errorf("data directory: %w", err)
	}
	return catalog.Reindex(ctx, filepath.Join(dir, databaseName), manifests{dir})
}

// recordings answers the API's questions from the index and the data directory.
type recordings struct {
	dir    string
	index  *catalog.Catalog
	sealer seal.Sealer
}

func (r recordings) List(ctx context.Context, f catalog.Filter) ([]catalog.Recording, string, error) {
	return r.index.List(ctx, f)
}

func (r recordings) Show(_ context.Context, id string) (any, error) {
	m, err := recorder.Show(r.dir, id)
	return m, r.gone(id, err)
}

// gone puts into words what is left of a recording that was erased.
func (r recordings) gone(id string, err error) error {
	if !errors.Is(err, recorder.ErrErased) {
		return err
	}
	stone, e := recorder.ReadTombstone(r.dir, id)
	if e != nil {
		return err
	}
	return problem.New(http.StatusGone, problem.Erased,
		fmt.Sprintf("erased at %s by %s: %s", stone.At.UTC().Format(time.RFC3339), stone.By, stone.Reason))
}

func (r recordings) Attendance(_ context.Context, id string) (api.Attendance, error) {
	m, err := recorder.Show(r.dir, id)
	if err != nil {
		return api.Attendance{}, err
	}
	at := api.Attendance{Room: m.Room}
	for _, p := range m.Participants {
		at.Identities = append(at.Identities, p.Identity)
	}
	return at, nil
}

func (r recordings) Open(_ context.Context, id, name string) (api.File, error) {
	f, err := recorder.OpenMedia(r.dir, id, name, r.sealer)
	if errors.Is(err, fs.ErrNotExist) && upload.LocalRemoved(r.dir, id) {
		return api.File{}, problem.New(http.StatusConflict, problem.Conflict,
			"the files lie in the object store only: `consilium recordings fetch` brings them back")
	}
	if err != nil {
		return api.File{}, r.gone(id, err)
	}
	return api.File{Content: f, Modified: f.Modified()}, nil
}

func (r recordings) Verify(ctx context.Context, id string) (api.Verification, error) {
	report, err := recorder.Verify(ctx, r.dir, recorder.VerifyOptions{
		IDs: []string{id}, Sealer: r.sealer, Away: func(id string) bool { return upload.LocalRemoved(r.dir, id) },
	})
	if err != nil {
		return api.Verification{}, err
	}
	if len(report.Erased) > 0 {
		return api.Verification{}, r.gone(id, fmt.Errorf("%w: %w", recorder.ErrErased, fs.ErrNotExist))
	}
	v := api.Verification{
		State: api.Intact, Files: report.Files, Bytes: report.Bytes, Away: report.Away, Key: report.Key, Findings: []api.VerifyFinding{},
	}
	for _, f := range report.Findings {
		v.Findings = append(v.Findings, api.VerifyFinding{File: f.File, Problem: f.Problem})
	}
	switch {
	case len(v.Findings) > 0:
		v.State = api.Changed
	case len(report.Unfinished) > 0:
		v.State = api.Unfinished
	}
	return v, nil
}

// manifests is where the index comes from.
type manifests struct{ dir string }

// stamp of a tombstone or, before there is one, of a manifest; zero if there is
// neither that can be looked at.
func (m manifests) stamp(id string) catalog.Stamp {
	for _, name := range []string{"tombstone.json", "manifest.json"} {
		info, err := os.Stat(filepath.Join(m.dir, "recordings", id, name))
		if err == nil {
			return catalog.Stamp{Modified: info.ModTime().UnixNano(), Bytes: info.Size()}
		}
	}
	return catalog.Stamp{}
}

// Stamps implements catalog.Source.
func (m manifests) Stamps() (map[string]catalog.Stamp, error) {
	ids, err := recorder.IDs(m.dir)
	if err != nil {
		return nil, err
	}
	stamps := make(map[string]catalog.Stamp, len(ids))
	for _, id := range ids {
		stamps[id] = m.stamp(id)
	}
	return stamps, nil
}

// Read implements catalog.Source.
func (m manifests) Read(id string) (catalog.Recording, catalog.Stamp, error) {
	stamp := m.stamp(id)
	s, people, err := recorder.Summarize(m.dir, id)
	if errors.Is(err, fs.ErrNotExist) {
		return catalog.Recording{}, stamp, err
	}
	if err != nil { // one that can't be opened must not keep all others off the list; the next comparison tries again
		s, stamp = recorder.Summary{ID: id, Problem: err.Error()}, catalog.Stamp{}
	}
	r := catalog.Recording{
		ID: s.ID, Room: s.Room, ExternalID: s.ExternalID, State: string(s.State), Started: s.Started, Ended: s.Ended,
		Participants: []catalog.Participant{}, Files: s.Files, Bytes: s.Bytes, Problem: s.Problem,
	}
	for _, p := range people {
		r.Participants = append(r.Participants, catalog.Participant{Identity: p.Identity, Role: p.Role})
	}
	return r, stamp, nil
}
