// Package export makes files out of recordings when somebody asks for them:
// one job at a time, in a bounded queue that survives a restart. What a job
// makes is derived data; how it is made is behind Maker.
//
// The package is a leaf: it imports nothing of ours but other leaves.
package export

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind of an export.
type Kind string

// Kinds.
const (
	// Merged is sound and pictures of one participant, not transcoded.
	Merged Kind = "merged"
	// Composed is everybody in one picture with one sound, transcoded.
	Composed Kind = "composed"
)

// Kinds returns every kind.
func Kinds() []Kind { return []Kind{Merged, Composed} }

// Request is what somebody asks for.
type Request struct {
	Kind Kind `json:"kind"`
	// Format is webm or, composed only, mp4. Empty means webm.
	Format string `json:"format"`
	// Participant is an identity; merged only. Empty means everybody, a file
	// each.
	Participant string `json:"participant,omitempty"`
	// Source of the pictures of a merged file, cam or screen. Empty means cam.
	Source string `json:"source,omitempty"`
}

// Check returns the request with what was left out, or an error whose words
// are for who asks.
func (r Request) Check() (Request, error) {
	if r.Format == "" {
		r.Format = "webm"
	}
	switch r.Kind {
	case Merged:
		if r.Source == "" {
			r.Source = "cam"
		}
		if r.Source != "cam" && r.Source != "screen" {
			return r, errors.New("source: cam or screen")
		}
		if r.Format != "webm" {
			return r, errors.New("format: a merged file is not transcoded, so it is webm; ask for kind composed to get mp4")
		}
	case Composed:
		if r.Participant != "" || r.Source != "" {
			return r, errors.New("participant and source are for kind merged: a composed file shows everybody")
		}
		if r.Format != "webm" && r.Format != "mp4" {
			return r, errors.New("format: webm or mp4")
		}
	default:
		return r, fmt.Errorf("kind: one of %v", Kinds())
	}
	return r, nil
}

// State of a job.
type State string

// States.
const (
	Queued  State = "queued"
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// Ended reports whether the job will not change any more.
func (s State) Ended() bool { return s == Done || s == Failed }

// Job is one request and what became of it.
type Job struct {
	ID      string `json:"id"`
	Request        // as it was checked
	State   State  `json:"state"`
	// Progress is from 0 to 1.
	Progress float64 `json:"progress"`
	// Reason says, in English, why the job failed.
	Reason  string     `json:"reason,omitempty"`
	Created time.Time  `json:"created"`
	Ended   *time.Time `json:"ended,omitempty"`
	Files   []File     `json:"files"`
}

// File is what a job made. It plays under its name among the files of the
// recording.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Participant whose file it is; empty for a composed one.
	Participant string `json:"participant,omitempty"`
	// T0MS is the session time of the file's first moment.
	T0MS       float64 `json:"t0_ms"`
	DurationMS int64   `json:"duration_ms"`
	// Cells say whom a composed picture shows where.
	Cells []Cell `json:"cells,omitempty"`
}

// Cell is a place in a composed picture, in pixels.
type Cell struct {
	Participant string `json:"participant"`
	Source      string `json:"source"`
	X           int    `json:"x"`
	Y           int    `json:"y"`
	Width       int    `json:"width"`
	Height      int    `json:"height"`
}

// Errors of a Queue. Their words, and those of a Refusal that wraps one, are
// for who asks.
var (
	// ErrFull says that too many jobs wait.
	ErrFull = errors.New("too many exports are waiting: try again when one is done")
	// ErrStopped says that the server stops.
	ErrStopped = errors.New("the server is stopping")
	// ErrNotFound says that there is no such job.
	ErrNotFound = errors.New("there is no export of that id")
	// ErrDiskLow says that the disk is needed for calls.
	ErrDiskLow = errors.New("the disk is almost full: nothing is exported until there is space again")
	// ErrUnusable says that the request makes no sense.
	ErrUnusable = errors.New("the request can't be met")
	// ErrNotFinal says that the recording is not complete.
	ErrNotFinal = errors.New("the call is still being recorded: export it when its recording is final")
	// ErrSealed says that the recording can't be read here.
	ErrSealed = errors.New("the recording is sealed and this server has no key for it: export it where the archive's key is")
	// ErrNoProgram says that what the job needs is not installed.
	ErrNoProgram = errors.New("a program is missing")
)

// Refusal is an error in words that may be shown to who asked: the request
// can't be met, or the job can't be done.
type Refusal struct {
	Words string // English
	Err   error  // one of the errors above, or nil
}

// Error implements error.
func (r *Refusal) Error() string { return r.Words }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// clone returns a copy that shares nothing that changes.
func (j Job) clone() Job {
	j.Files = slices.Clone(j.Files)
	return j
}
