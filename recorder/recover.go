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
	b, err := r.acquire(l.call, r.newManifest(media.Call{ID: l.call, Started: l.last}))
	if err != nil {
		return err
	}
	if done, err := r.reopenLeft(l, b); done {
		r.release(l.call, nil)
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
			if s.State == Live && !b.ours[s.File] && !l.has(s.File) {
				s.State = Failed // it never got to the disk
			}
			if at := m.Started.Add(time.Duration(s.T0MS+float64(s.DurationMS)) * time.Millisecond); at.After(end) {
				end = at
			}
		}
		if m.Ended == nil && !b.goesOn {
			m.Ended = &end
		}
	})
	r.conclude(l.call, b, nil, Recovered)
	return nil
}

// reopenLeft makes the book of a call that was left one that can be written. It
// is done with one that died while it was being armed: nothing is left of that.
func (r *Recorder) reopenLeft(l left, b *book) (done bool, err error) {
	b.concludeMu.Lock()
	defer b.concludeMu.Unlock()
	_, err = r.root.Lstat(path.Join(b.dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) && len(l.files) == 0 {
		err := r.removeEmpty(l.call)
		if !errors.Is(err, errNotEmpty) {
			return true, err
		}
		// The manifest is lost, and the files are there.
	}
	if err := makeDir(r.root, b.dir); err != nil {
		return true, err
	}
	b.reopen(func(*Manifest) {})
	return false, nil
}

// has reports whether there is a spool of a file.
func (l left) has(file string) bool {
	return slices.Contains(l.files, file) || slices.Contains(l.files, spoolName(file, true))
}

// recoverFile finalises one spool. One that no key opens stays where it is.
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
	return err // the disk's fault, or it lies aside: the next start tries again what it can
}

// putAside moves a spool that can't be read to where nothing ever deletes it but
// the erasing of its recording.
func (r *Recorder) putAside(b *book, call, spool string) error {
	aside := path.Join(quarantineDir, call)
	err := r.root.MkdirAll(aside, dirMode)
	if err == nil {
		err = r.root.Rename(spoolPath(call, spool), path.Join(aside, spool))
	}
	if err != nil {
		return fmt.Errorf("put aside: %w", err)
	}
	b.update(func(m *Manifest) {
		if s := m.segment(strings.TrimSuffix(spool, sealedExtension)); s != nil {
			s.State, s.Error = Failed, event.RecorderFailed
		}
	})
	return nil
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
