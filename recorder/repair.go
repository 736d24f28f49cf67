package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Repaired is what Repair did for one call.
type Repaired struct {
	Recording string `json:"recording"`
	State     State  `json:"state"`
	// Problem says why it is not finished, or what could not be saved.
	Problem string `json:"problem,omitempty"`
}

// Repair finishes what a crash left in the data directory, as a server does
// when it starts; of a sealed spool it needs a private key in c.Sealer. It may be
// interrupted and run again. No server may use the directory meanwhile: the
// caller holds its lock. ids chooses calls; none means all. The error says why
// nothing could be done; an id that was not left unfinished is no error.
func Repair(ctx context.Context, c Config, ids ...string) ([]Repaired, error) {
	r, err := New(c)
	if err != nil {
		return nil, err
	}
	return r.repair(ctx, ids)
}

func (r *Recorder) repair(ctx context.Context, ids []string) ([]Repaired, error) {
	if err := r.openData(); err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	defer r.root.Close()
	r.work, r.tries = ctx, 1 // nobody measures the disk, to say when to try again
	all, err := r.findLeft()
	if err != nil {
		return nil, fmt.Errorf("recorder: look for unfinished recordings: %w", err)
	}
	done := []Repaired{}
	for _, l := range all {
		if len(ids) > 0 && !slices.Contains(ids, l.call) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return done, err
		}
		done = append(done, r.repairCall(l))
	}
	return done, nil
}

func (r *Recorder) repairCall(l left) Repaired {
	result := Repaired{Recording: l.call}
	err := r.recoverCall(l)
	m, loadErr := loadManifest(r.root, path.Join(recordingsDir, l.call))
	switch {
	case err != nil:
		result.Problem = err.Error()
	case errors.Is(loadErr, fs.ErrNotExist):
		result.State, result.Problem = Failed, "it ended before anything was recorded"
	case loadErr != nil:
		result.Problem = loadErr.Error()
	case m.State == Locked:
		result.Problem = "sealed: name the archive's private key with --identity FILE"
	default:
		for _, s := range m.Segments {
			switch {
			case s.State == Live:
				result.Problem = s.File + " could not be finished; repair it again when the disk is well"
			case s.State == Failed && s.Error != "":
				result.Problem = fmt.Sprintf("%s can't be read and lies in %s/%s", s.File, quarantineDir, l.call)
			}
		}
	}
	if loadErr == nil {
		result.State = m.State
	}
	return result
}
