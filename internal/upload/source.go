package upload

import (
	"errors"
	"io"
)

// Source is where recordings lie. It is safe for concurrent use.
type Source interface {
	// Stamps returns a stamp for every recording there is; it is zero where
	// there is no manifest.
	Stamps() (map[string]Stamp, error)
	// Files lists what there is to keep of a recording, the manifest last. The
	// error wraps ErrNotFinal while the recording goes on.
	Files(recording string) ([]File, error)
	// Open opens one of them.
	Open(recording, name string) (Content, error)
	// Erased reports whether a recording was erased on purpose: then its copy
	// must go as well. One that is just not there any more is not erased.
	Erased(recording string) bool
	// Removable reports whether media files of the recording are on the disk
	// and may go once there is a copy.
	Removable(recording string) bool
	// Remove removes the media files of a recording, and nothing else of it.
	Remove(recording string) error
}

// ErrNotFinal says that files of a recording may still change.
var ErrNotFinal = errors.New("the recording is not final")

// Stamp changes with a recording's manifest.
type Stamp struct {
	Modified int64 `json:"modified"` // ns since 1970
	Bytes    int64 `json:"bytes"`
}

// File is one of a recording's.
type File struct {
	Name   string
	Bytes  int64
	SHA256 string // in hex
	// Unsealed: it holds sound or pictures, and is not sealed.
	Unsealed bool
}

// Content is an open file.
type Content interface {
	io.ReaderAt
	io.Closer
}
