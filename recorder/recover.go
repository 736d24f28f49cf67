package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
)

// left is a call that an earlier run did not finish.
type left struct {
	call  string
	files []string
	last  time.Time // when its spools were last written
}

// findLeft lists the calls that have a directory in the spool: it is made when
// a call is armed and removed when its manifest is final.
func (r *Recorder) findLeft() ([]left, error) {
	dirs, err := fs.ReadDir(r.root.FS(), spoolDir)
	if err != nil {
		return nil, fmt.Errorf("list spool: %w", err)
	}
	var all []left
	for _, dir := range dirs {
		if !dir.IsDir() || !validCall(dir.Name()) {
			continue
		}
		l := left{call: dir.Name()}
		files, err := fs.ReadDir(r.root.FS(), path.Join(spoolDir, l.call))
		if err != nil {
			return nil, fmt.Errorf("list spool of a call: %w", err)
		}
		for _, f := range files {
			if info, err := f.Info(); err == nil && info.Mode().IsRegular() {
				l.files = append(l.files, f.Name())
				if info.ModTime().After(l.last) {
					l.last = info.ModTime()
				}
			}
		}
		all = append(all, l)
	}
	return all, nil
}

// recover finalises what findLeft found, one call after the other.
func (r *Recorder) recover(all []left) {
	for _, l := range all {
		if r.work.Err() != nil {
			return
		}
		if err := r.recoverCall(l); err != nil {
			r.log.Error("recording not recovered", "call", l.call, "error", err)
		}
	}
}

func (r *Recorder) recoverCall(l left) error {
	manifest := path.Join(recordingsDir, l.call, manifestName)
	if _, err := r.root.Lstat(manifest); errors.Is(err, fs.ErrNotExist) && len(l.files) == 0 {
		// It died while it was being armed. There may be no directory yet.
		if err := destroyKeys(r.root, path.Join(recordingsDir, l.call)); err != nil {
			return err
		}
		_ = r.root.Remove(path.Join(recordingsDir, l.call))
		return r.root.Remove(path.Join(spoolDir, l.call))
	}
	if err := r.root.MkdirAll(path.Join(recordingsDir, l.call), dirMode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	fresh := r.newManifest(media.Call{ID: l.call, Started: l.last})
	b, err := r.acquire(l.call, nil, fresh)
	if err != nil {
		return err
	}
	for _, file := range l.files {
		if r.work.Err() != nil {
			break
		}
		if err := r.recoverFile(b, l.call, file); err != nil {
			r.log.Error("segment not recovered", "call", l.call, "file", file, "error", err)
			r.emit(b, event.RecordingFailed, func(e *event.Event) {
				e.Code = codeOf(err)
				e.Data["reason"], e.Data["file"] = reason(err), file
			})
		}
	}
	b.update(func(m *Manifest) {
		end := m.Started
		for i := range m.Segments {
			s := &m.Segments[i]
			if s.State == Live && !l.has(s.File) {
				s.State = Failed // it never got to the disk
			}
			if at := m.Started.Add(time.Duration(s.T0MS+float64(s.DurationMS)) * time.Millisecond); at.After(end) {
				end = at
			}
		}
		if m.Ended == nil {
			m.Ended = &end
		}
	})
	r.conclude(l.call, b, nil, Recovered)
	return nil
}

// has reports whether there is a spool of a file.
func (l left) has(file string) bool {
	return slices.Contains(l.files, file) || slices.Contains(l.files, spoolName(file, true))
}

// recoverFile finalises one spool, or puts it aside when it can't be read.
func (r *Recorder) recoverFile(b *book, call, spool string) error {
	file := strings.TrimSuffix(spool, sealedExtension)
	err := r.finalise(b, call, spool, Recovered)
	if err == nil || r.work.Err() != nil {
		return err
	}
	if errors.Is(err, seal.ErrNoIdentity) {
		b.update(func(m *Manifest) { m.locked(file) })
		return err
	}
	if !errors.Is(err, ErrDamaged) {
		return err // the disk's fault: the next start tries again
	}
	aside := path.Join(quarantineDir, call)
	if e := r.root.MkdirAll(aside, dirMode); e != nil {
		return fmt.Errorf("%w; put aside: %w", err, e)
	}
	if e := r.root.Rename(spoolPath(call, spool), path.Join(aside, spool)); e != nil {
		return fmt.Errorf("%w; put aside: %w", err, e)
	}
	b.update(func(m *Manifest) {
		if s := m.segment(file); s != nil {
			s.State, s.Error = Failed, event.RecorderFailed
		}
	})
	return err
}

// locked notes that a file's spool is whole and waits for a key. All that is
// known of one that the manifest does not list is its name.
func (m *Manifest) locked(file string) {
	if s := m.segment(file); s != nil {
		s.State = Locked
		return
	}
	if validFileName(file) {
		m.Segments = append(m.Segments, Segment{File: file, State: Locked, Gaps: []Gap{}})
	}
}
