package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"consilium/internal/compose"
	"consilium/internal/export"
	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/recorder"
)

// workDir, in the data directory, is where files are composed unless the
// configuration names another place. It is emptied at every start.
const workDir = "work"

// newExports makes the queue of exports. sealer may be nil: nothing is sealed.
func (s *Server) newExports(sealer seal.Sealer) error {
	maker := &exportMaker{dir: s.cfg.Data, work: s.cfg.Recording.Work, sealer: sealer}
	if maker.work == "" {
		maker.work = filepath.Join(s.cfg.Data, workDir)
	}
	if err := maker.clean(); err != nil {
		return fmt.Errorf("exports: %w", err)
	}
	if s.cfg.Recording.FFmpeg != "off" {
		var err error
		maker.composer, err = compose.New(compose.Config{FFmpeg: s.cfg.Recording.FFmpeg, Log: s.log.With("part", "compose")})
		if err != nil {
			return err
		}
		if _, err := maker.composer.Program(); err != nil && s.cfg.Recording.FFmpeg != "" {
			s.log.Warn("no call can be composed: recording.ffmpeg names no program", "ffmpeg", s.cfg.Recording.FFmpeg)
		}
	}
	var err error
	s.exports, err = export.New(export.Config{
		Dir: s.cfg.Data, Maker: maker, Space: s.exportSpace, Metrics: s.metrics, Log: s.log.With("part", "export"),
	})
	return err
}

// exportSpace refuses exports while the disk is low: calls come first.
func (s *Server) exportSpace() error {
	if space := s.recorder.Space(); space.Level >= recorder.LevelLow || space.Err != nil || space.Stalled {
		return export.ErrDiskLow
	}
	return nil
}

// exportMaker makes exports out of recordings.
type exportMaker struct {
	dir      string
	work     string            // where files are composed, in the clear
	sealer   seal.Sealer       // nil: nothing is sealed
	composer *compose.Composer // nil: switched off
}

// workPattern is the name of a file that is being composed.
const workPattern = "compose-*.tmp"

// clean removes what a killed server left of a composition.
func (m *exportMaker) clean() error {
	left, err := filepath.Glob(filepath.Join(m.work, workPattern))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Check implements export.Maker.
func (m *exportMaker) Check(_ context.Context, recording string, r export.Request) error {
	manifest, err := m.manifest(recording)
	if err != nil {
		return err
	}
	if r.Kind == export.Composed {
		if m.composer == nil {
			return &export.Refusal{Words: "composing is switched off on this server (recording.ffmpeg)", Err: export.ErrNoProgram}
		}
		if _, err := m.composer.Program(); err != nil {
			return &export.Refusal{Words: err.Error(), Err: export.ErrNoProgram}
		}
	}
	if r.Participant != "" && !slices.ContainsFunc(manifest.Participants, func(p recorder.Participant) bool { return p.Identity == r.Participant }) {
		return &export.Refusal{Words: "participant: nobody of that identity was in the call", Err: export.ErrUnusable}
	}
	// Before it waits for hours: can the files be read at all?
	if r.Kind == export.Composed {
		_, err = recorder.Streams(manifest, m.opener(recording))
	} else {
		_, err = m.merges(manifest, recording, r)
	}
	return m.refused(err)
}

// manifest returns that of a recording that is complete.
func (m *exportMaker) manifest(recording string) (recorder.Manifest, error) {
	manifest, err := recorder.Show(m.dir, recording)
	if err != nil {
		return manifest, err
	}
	switch manifest.State {
	case recorder.Live:
		return manifest, export.ErrNotFinal
	case recorder.Locked: // a part of it would pass for the whole
		return manifest, export.ErrSealed
	}
	return manifest, nil
}

// refused puts errors of the recorder in words for who asks.
func (m *exportMaker) refused(err error) error {
	switch {
	case errors.Is(err, seal.ErrNoIdentity):
		return export.ErrSealed
	case errors.Is(err, compose.ErrNoSpace), errors.Is(err, syscall.ENOSPC):
		return &export.Refusal{Words: compose.ErrNoSpace.Error(), Err: export.ErrDiskLow}
	case errors.Is(err, recorder.ErrNothing):
		return &export.Refusal{Words: recorder.ErrNothing.Error(), Err: export.ErrUnusable}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, seal.ErrDamaged), errors.Is(err, recorder.ErrDamaged):
		return &export.Refusal{Words: "a file of the recording is missing or damaged: `consilium recordings verify` names it", Err: export.ErrUnusable}
	case errors.Is(err, compose.ErrNoProgram), errors.Is(err, compose.ErrNoEncoder),
		errors.Is(err, compose.ErrTooLarge), errors.Is(err, compose.ErrFailed):
		return &export.Refusal{Words: err.Error(), Err: err}
	}
	return err
}

func (m *exportMaker) opener(recording string) recorder.Opener {
	return func(file string) (io.ReadSeekCloser, error) {
		return recorder.OpenMedia(m.dir, recording, file, m.sealer)
	}
}

// Make implements export.Maker.
func (m *exportMaker) Make(ctx context.Context, recording string, r export.Request, progress func(float64)) ([]export.File, error) {
	manifest, err := m.manifest(recording)
	if err != nil {
		return nil, err
	}
	var files []export.File
	if r.Kind == export.Composed {
		files, err = m.compose(ctx, manifest, recording, r, progress)
	} else {
		files, err = m.merge(ctx, manifest, recording, r, progress)
	}
	return files, m.refused(err)
}

// Remove implements export.Maker.
func (m *exportMaker) Remove(recording, name string) error {
	return recorder.RemoveExport(m.dir, recording, name)
}

// merges plans the files of a request: of one participant, or of all.
func (m *exportMaker) merges(manifest recorder.Manifest, recording string, r export.Request) ([]recorder.Merge, error) {
	if r.Participant != "" {
		return recorder.Merges(manifest, r.Participant, media.Source(r.Source), m.opener(recording))
	}
	var all []recorder.Merge
	for _, p := range manifest.Participants {
		merges, err := recorder.Merges(manifest, p.Identity, media.Source(r.Source), m.opener(recording))
		if err != nil && !errors.Is(err, recorder.ErrNothing) {
			return nil, err
		}
		all = append(all, merges...)
	}
	if len(all) == 0 {
		return nil, recorder.ErrNothing
	}
	return all, nil
}

func (m *exportMaker) merge(ctx context.Context, manifest recorder.Manifest, recording string, r export.Request, progress func(float64)) ([]export.File, error) {
	merges, err := m.merges(manifest, recording, r)
	if err != nil {
		return nil, err
	}
	files := make([]export.File, 0, len(merges))
	for i, g := range merges {
		progress(float64(i) / float64(len(merges)))
		var merged recorder.Merged
		e, err := recorder.PlaceExport(m.dir, recording, g.Name, m.sealer, func(w io.Writer) (err error) {
			merged, err = g.Write(ctx, w, m.opener(recording))
			return err
		})
		if err != nil {
			return nil, err
		}
		files = append(files, export.File{
			Name: g.Name, Bytes: e.Bytes, SHA256: e.SHA256, Participant: g.Participant, T0MS: g.T0MS, DurationMS: merged.DurationMS,
		})
	}
	return files, nil
}

// composedShare is how much of the work is done when ffmpeg is: the rest is to
// put the file in its place.
const composedShare = 0.98

// compose makes the picture of the whole call. ffmpeg needs a file it can go
// back in; that lies in the work directory, in the clear, until it is done.
func (m *exportMaker) compose(ctx context.Context, manifest recorder.Manifest, recording string, r export.Request, progress func(float64)) ([]export.File, error) {
	if m.composer == nil {
		return nil, compose.ErrNoProgram
	}
	streams, err := recorder.Streams(manifest, m.opener(recording))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(m.work, 0o700); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	work, err := os.CreateTemp(m.work, workPattern)
	if err != nil {
		return nil, fmt.Errorf("make work file: %w", err)
	}
	defer func() {
		_ = work.Close() // it was only read
		_ = os.Remove(work.Name())
	}()
	job, cells := m.job(streams, manifest, recording)
	job.Format, job.Output = compose.Format(r.Format), work.Name()
	if err := m.composer.Run(ctx, job, func(p float64) { progress(p * composedShare) }); err != nil {
		return nil, err
	}
	name := recorder.ComposedName(r.Format)
	e, err := recorder.PlaceExport(m.dir, recording, name, m.sealer, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(work, 0, 1<<62))
		return err
	})
	if err != nil {
		return nil, err
	}
	return []export.File{{
		Name: name, Bytes: e.Bytes, SHA256: e.SHA256, DurationMS: job.Duration.Milliseconds(), Cells: cells,
	}}, nil
}

// job gives every camera and screen a cell, in order of participants.
func (m *exportMaker) job(streams []recorder.Stream, manifest recorder.Manifest, recording string) (compose.Job, []export.Cell) {
	type place struct {
		number int
		source media.Source
	}
	var places []place
	var job compose.Job
	for _, s := range streams {
		in := compose.Input{Picture: s.Source != media.Microphone, Write: func(ctx context.Context, w io.Writer) error {
			return s.Write(ctx, w, m.opener(recording))
		}}
		for _, i := range s.Shown {
			in.Shown = append(in.Shown, compose.Interval{From: milliseconds(i.FromMS), To: milliseconds(i.ToMS)})
			job.Duration = max(job.Duration, milliseconds(i.ToMS))
		}
		if in.Picture {
			p := place{s.Number, s.Source}
			if in.Cell = slices.Index(places, p); in.Cell < 0 {
				in.Cell = len(places)
				places = append(places, p)
			}
		}
		job.Inputs = append(job.Inputs, in)
	}
	job.Cells = max(len(places), 1)
	var cells []export.Cell
	for i, r := range m.composer.Grid(len(places)) {
		c := export.Cell{Source: string(places[i].source), X: r.X, Y: r.Y, Width: r.Width, Height: r.Height}
		for _, p := range manifest.Participants {
			if p.Number == places[i].number {
				c.Participant = p.Identity
			}
		}
		cells = append(cells, c)
	}
	return job, cells
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
